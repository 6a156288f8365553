package fsm

import "iter"

// View is the configuration as it was after one command. It never changes;
// safe for concurrent use.
type View struct {
	tables      []*table // by Definition.number
	index       uint64
	configIndex uint64
	clusterID   string
	defs        map[string]*Definition
	history     history
	staged      stage
	open        *txn               // of a Draft, whose view changes with it
	keep        func(*Entity) bool // what of it is seen; nil: everything
}

// read gives an index of a kind as it is now.
func (v *View) read(def *Definition, number int) index {
	if v.open != nil {
		return v.open.index(def, number)
	}
	return v.tables[def.number].indexes[number]
}

// Only is the view of somebody who sees only what keep is true of. keep may look into
// the view itself, and must not keep entities of it: a Draft's view changes.
func (v *View) Only(keep func(*Entity) bool) *View {
	only := *v
	only.keep = keep
	return &only
}

// seen gives an entity if it is seen.
func (v *View) seen(e *Entity) *Entity {
	if e == nil || v.keep != nil && !v.keep(e) {
		return nil
	}
	return e
}

// walk walks what is seen of what is under a key of an index, or of all from there on.
func (v *View) walk(def *Definition, number int, key string, of func(index, string) iter.Seq[*Entity]) iter.Seq[*Entity] {
	return func(yield func(*Entity) bool) {
		for e := range of(v.read(def, number), key) {
			if (v.keep == nil || v.keep(e)) && !yield(e) {
				return
			}
		}
	}
}

func nothing(func(*Entity) bool) {}

// Index is the log index of the last command applied, ConfigIndex of the last
// one that changed entities.
func (v *View) Index() uint64       { return v.index }
func (v *View) ConfigIndex() uint64 { return v.configIndex }

// Version says whether a kind has changed: two views of one Machine that have the
// same Version of a kind have the same entities of it. It means nothing to another
// Machine, nor of views that the Machine has not had itself: drafts, and the past.
func (v *View) Version(kind string) uint64 {
	if def := v.defs[kind]; def != nil {
		return v.tables[def.number].version
	}
	return 0
}

// ClusterID is "" before the first command of a cluster.
func (v *View) ClusterID() string { return v.clusterID }

// Get gives the entity of an id, or nil.
func (v *View) Get(kind, id string) *Entity {
	def := v.defs[kind]
	if def == nil {
		return nil
	}
	return v.seen(first(v.read(def, byID), id))
}

// Lookup gives the entity whose endpoint key (Definition.Key: a service's
// name, a credential's key) is key, or nil.
func (v *View) Lookup(kind, key string) *Entity {
	def := v.defs[kind]
	if def == nil || def.Key == "" || key == "" {
		return nil
	}
	return v.seen(first(v.read(def, def.uniqueIndex(0)), key))
}

// LookupNested gives the entity that a key names (Definition.NestedKey: a target's
// "host:port", an ACL's group) among those that belong to an owner, or nil.
func (v *View) LookupNested(kind, ownerID, key string) *Entity {
	def := v.defs[kind]
	if def == nil || def.NestedKey == "" || ownerID == "" || key == "" {
		return nil
	}
	return v.seen(first(v.read(def, def.uniqueIndex(0)), ownerID+uniqueSeparator+key))
}

// LookupUnique gives the entity whose i-th unique set (Definition.Unique) has a key
// (Definition.UniqueKey; of a set of one field it is the value), or nil.
func (v *View) LookupUnique(kind string, i int, value string) *Entity {
	def := v.defs[kind]
	if def == nil || i >= len(def.Unique) || value == "" {
		return nil
	}
	return v.seen(first(v.read(def, def.uniqueIndex(i)), value))
}

// All walks a kind in the order of ids.
func (v *View) All(kind string) iter.Seq[*Entity] { return v.From(kind, "") }

// From walks a kind in the order of ids, from the first id not below the
// given one.
func (v *View) From(kind, id string) iter.Seq[*Entity] {
	def := v.defs[kind]
	if def == nil {
		return nothing
	}
	return v.walk(def, byID, id, since)
}

// Entities is all entities of a kind as they were in one view, and keeps nothing else of
// it. The zero value is none. Safe for concurrent use.
type Entities struct{ all index }

// Entities gives those of a kind, also such as the view does not show (see Only).
func (v *View) Entities(kind string) Entities {
	def := v.defs[kind]
	if def == nil {
		return Entities{}
	}
	return Entities{v.read(def, byID)}
}

// Since walks, in the order of ids, the entities that are not what they were: each with
// what it was, nil if it is new, and what it is, nil if it is gone. It takes time for
// those, and not for all that have stayed, if both are of one Machine.
func (e Entities) Since(old Entities) iter.Seq2[*Entity, *Entity] {
	return func(yield func(was, is *Entity) bool) {
		for was, is := range e.all.Since(old.all, func(a, b entry) bool { return a.of == b.of }) {
			if !yield(was.entity(), is.entity()) {
				return
			}
		}
	}
}

// Referencing walks the entities of a kind whose foreign field names an id, in
// the order of their own ids.
func (v *View) Referencing(kind, field, id string) iter.Seq[*Entity] {
	def := v.defs[kind]
	if def == nil {
		return nothing
	}
	number, ok := def.refIndex(field)
	if !ok {
		return nothing
	}
	return v.walk(def, number, id, under)
}

// Tagged walks the entities of a kind that have a tag, in the order of ids.
func (v *View) Tagged(kind, tag string) iter.Seq[*Entity] {
	def := v.defs[kind]
	if def == nil {
		return nothing
	}
	return v.walk(def, byTag, tag, under)
}

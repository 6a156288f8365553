package fsm

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"

	"github.com/hashicorp/go-memdb"
)

// The names of the indexes of every table. Unique sets are "unique0",
// "unique1", ... and foreign fields "ref_<field>".
const (
	indexID      = "id"
	indexTags    = "tags"
	indexExpires = "expires"
)

func uniqueIndex(i int) string     { return "unique" + strconv.Itoa(i) }
func refIndex(field string) string { return "ref_" + field }
func stringKey(s string) []byte    { return append([]byte(s), 0) }
func expiryKey(at int64) []byte    { return binary.BigEndian.AppendUint64(nil, uint64(at)) }
func entityOf(obj any) (*Entity, error) {
	e, ok := obj.(*Entity)
	if !ok {
		return nil, fmt.Errorf("state holds a %T", obj)
	}
	return e, nil
}

// single is an index of at most one key an entity, read by a function.
type single func(*Entity) []byte

func (f single) FromObject(obj any) (bool, []byte, error) {
	e, err := entityOf(obj)
	if err != nil {
		return false, nil, err
	}
	key := f(e)
	return key != nil, key, nil
}

func (f single) FromArgs(args ...any) ([]byte, error) { return fromArgs(args) }

// PrefixFromArgs lets LowerBound start at a bare value.
func (f single) PrefixFromArgs(args ...any) ([]byte, error) {
	key, err := fromArgs(args)
	if err != nil || len(key) == 0 {
		return nil, err
	}
	return key[:len(key)-1], nil
}

// several is an index of any number of keys an entity, read by a function.
type several func(*Entity) []string

func (f several) FromObject(obj any) (bool, [][]byte, error) {
	e, err := entityOf(obj)
	if err != nil {
		return false, nil, err
	}
	values := f(e)
	keys := make([][]byte, len(values))
	for i, value := range values {
		keys[i] = stringKey(value)
	}
	return len(keys) > 0, keys, nil
}

func (f several) FromArgs(args ...any) ([]byte, error) { return fromArgs(args) }

func fromArgs(args []any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("an index takes one value, not %d", len(args))
	}
	switch v := args[0].(type) {
	case string:
		return stringKey(v), nil
	case int64:
		return expiryKey(v), nil
	}
	return nil, fmt.Errorf("an index takes a string or a time, not %T", args[0])
}

// newDB makes an empty database with a table for each kind.
func newDB(defs []*Definition) (*memdb.MemDB, error) {
	tables := make(map[string]*memdb.TableSchema, len(defs))
	for _, def := range defs {
		tables[def.Kind] = table(def)
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: tables})
	if err != nil {
		return nil, fmt.Errorf("make state: %w", err)
	}
	return db, nil
}

func table(def *Definition) *memdb.TableSchema {
	t := &memdb.TableSchema{Name: def.Kind, Indexes: map[string]*memdb.IndexSchema{
		indexID:   {Name: indexID, Unique: true, Indexer: single(func(e *Entity) []byte { return stringKey(e.ID) })},
		indexTags: {Name: indexTags, AllowMissing: true, Indexer: several(func(e *Entity) []string { return e.tags })},
	}}
	if def.TTL {
		t.Indexes[indexExpires] = &memdb.IndexSchema{Name: indexExpires, AllowMissing: true, Indexer: single(func(e *Entity) []byte {
			if e.ExpiresAt == 0 {
				return nil
			}
			return expiryKey(e.ExpiresAt)
		})}
	}
	for i := range def.Unique {
		t.Indexes[uniqueIndex(i)] = &memdb.IndexSchema{Name: uniqueIndex(i), Unique: true, AllowMissing: true,
			Indexer: single(func(e *Entity) []byte {
				if e.uniques[i] == "" {
					return nil
				}
				return stringKey(e.uniques[i])
			})}
	}
	for _, f := range def.Foreign {
		t.Indexes[refIndex(f.Field)] = &memdb.IndexSchema{Name: refIndex(f.Field), AllowMissing: true,
			Indexer: several(func(e *Entity) []string { return e.Names(f) })}
	}
	return t
}

// first gives one entity, or nil. A table or index that does not exist is a
// mistake in the program and gives nil too: a reader can do nothing about it.
func first(txn *memdb.Txn, kind, index string, value any) *Entity {
	obj, err := txn.First(kind, index, value)
	if err != nil || obj == nil {
		return nil
	}
	return obj.(*Entity)
}

// each walks an iterator of the database.
func each(it memdb.ResultIterator, err error) iter.Seq[*Entity] {
	return func(yield func(*Entity) bool) {
		if err != nil {
			return
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if !yield(obj.(*Entity)) {
				return
			}
		}
	}
}

// View is the configuration as it was after one command. It never changes;
// safe for concurrent use.
type View struct {
	db          *memdb.MemDB
	index       uint64
	configIndex uint64
	clusterID   string
	defs        map[string]*Definition
	versions    map[string]uint64
	history     history
	staged      stage
	open        *memdb.Txn         // of a Draft, whose view changes with it
	keep        func(*Entity) bool // what of it is seen; nil: everything
}

// txn is what the view reads from.
func (v *View) txn() *memdb.Txn {
	if v.open != nil {
		return v.open
	}
	return v.db.Txn(false)
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

// each walks what is seen.
func (v *View) each(it memdb.ResultIterator, err error) iter.Seq[*Entity] {
	all := each(it, err)
	if v.keep == nil {
		return all
	}
	return func(yield func(*Entity) bool) {
		for e := range all {
			if v.keep(e) && !yield(e) {
				return
			}
		}
	}
}

// Index is the log index of the last command applied, ConfigIndex of the last
// one that changed entities.
func (v *View) Index() uint64       { return v.index }
func (v *View) ConfigIndex() uint64 { return v.configIndex }

// Version says whether a kind has changed: two views of one Machine that have the
// same Version of a kind have the same entities of it. It means nothing to
// another Machine.
func (v *View) Version(kind string) uint64 { return v.versions[kind] }

// ClusterID is "" before the first command of a cluster.
func (v *View) ClusterID() string { return v.clusterID }

// Get gives the entity of an id, or nil.
func (v *View) Get(kind, id string) *Entity {
	return v.seen(first(v.txn(), kind, indexID, id))
}

// Lookup gives the entity whose endpoint key (Definition.Key: a service's
// name, a credential's key) is key, or nil.
func (v *View) Lookup(kind, key string) *Entity {
	def := v.defs[kind]
	if def == nil || def.Key == "" || key == "" {
		return nil
	}
	return v.seen(first(v.txn(), kind, uniqueIndex(0), key))
}

// LookupNested gives the entity that a key names (Definition.NestedKey: a target's
// "host:port", an ACL's group) among those that belong to an owner, or nil.
func (v *View) LookupNested(kind, ownerID, key string) *Entity {
	def := v.defs[kind]
	if def == nil || def.NestedKey == "" || ownerID == "" || key == "" {
		return nil
	}
	return v.seen(first(v.txn(), kind, uniqueIndex(0), ownerID+uniqueSeparator+key))
}

// LookupUnique gives the entity whose i-th unique set (Definition.Unique) has a key
// (Definition.UniqueKey; of a set of one field it is the value), or nil.
func (v *View) LookupUnique(kind string, i int, value string) *Entity {
	def := v.defs[kind]
	if def == nil || i >= len(def.Unique) || value == "" {
		return nil
	}
	return v.seen(first(v.txn(), kind, uniqueIndex(i), value))
}

// All walks a kind in the order of ids.
func (v *View) All(kind string) iter.Seq[*Entity] {
	return v.each(v.txn().Get(kind, indexID))
}

// From walks a kind in the order of ids, from the first id not below the
// given one.
func (v *View) From(kind, id string) iter.Seq[*Entity] {
	return v.each(v.txn().LowerBound(kind, indexID, id))
}

// Referencing walks the entities of a kind whose foreign field names an id, in
// no particular order of ids.
func (v *View) Referencing(kind, field, id string) iter.Seq[*Entity] {
	return v.each(v.txn().Get(kind, refIndex(field), id))
}

// Tagged walks the entities of a kind that have a tag.
func (v *View) Tagged(kind, tag string) iter.Seq[*Entity] {
	return v.each(v.txn().Get(kind, indexTags, tag))
}

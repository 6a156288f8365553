package fsm

import (
	"iter"
	"slices"

	"github.com/sluicegate/sluice/internal/ordered"
)

// A transaction of packFrom operations or more, and of one for packShare entities that
// there are, packs the indexes that it wrote: an import would leave them spread among
// their own copies, which costs more than what is in them. It adds to an operation the
// copying of some packShare items.
const (
	packFrom  = 1000
	packShare = 16
)

// txn is changes of tables that nobody else sees. What is not kept of it is just
// forgotten. Not safe for concurrent use.
type txn struct {
	tables []*table // as they were
	edits  [][]*ordered.Edit[entry]
	done   []done

	old, new []place // of one operation, for the next
}

// done is what one operation found and left, nil where it was not there.
type done struct {
	def           *Definition
	before, after *Entity
}

func newTxn(tables []*table) *txn {
	return &txn{tables: tables, edits: make([][]*ordered.Edit[entry], len(tables))}
}

// index gives an index of a kind as it is now. After the next change it is of no use.
func (t *txn) index(def *Definition, number int) index {
	if edits := t.edits[def.number]; edits != nil && edits[number] != nil {
		return edits[number].Peek()
	}
	return t.tables[def.number].indexes[number]
}

// get gives an entity by its id, or nil.
func (t *txn) get(def *Definition, id string) *Entity { return first(t.index(def, byID), id) }

// referencing walks the entities of a kind whose foreign field names an id. Nothing may
// be changed meanwhile.
func (t *txn) referencing(def *Definition, f Foreign, id string) iter.Seq[*Entity] {
	number, ok := def.refIndex(f.Field)
	if !ok {
		return nothing
	}
	return under(t.index(def, number), id)
}

func (t *txn) edit(def *Definition, number int) *ordered.Edit[entry] {
	edits := t.edits[def.number]
	if edits == nil {
		edits = make([]*ordered.Edit[entry], len(t.tables[def.number].indexes))
		t.edits[def.number] = edits
	}
	if edits[number] == nil {
		edits[number] = t.tables[def.number].indexes[number].Edit()
	}
	return edits[number]
}

// put inserts an entity, or replaces the one of its id.
func (t *txn) put(def *Definition, e *Entity) {
	was, _ := t.edit(def, byID).Put(entry{e.ID, e})
	t.move(def, was.of, e)
}

// delete takes out the entity of an id; false if there is none.
func (t *txn) delete(def *Definition, id string) bool {
	old := t.get(def, id)
	if old == nil {
		return false
	}
	t.edit(def, byID).Delete(entry{id, old})
	t.move(def, old, nil)
	return true
}

// move takes an entity out of the indexes and puts another one in its place, either of
// which may be nil.
func (t *txn) move(def *Definition, old, new *Entity) {
	t.old, t.new = t.old[:0], t.new[:0]
	if old != nil {
		t.old = def.places(t.old, old)
	}
	if new != nil {
		t.new = def.places(t.new, new)
	}
	for _, at := range t.old {
		if !slices.Contains(t.new, at) { // or it is replaced
			t.edit(def, at.index).Delete(entry{at.key, old})
		}
	}
	for _, at := range t.new {
		t.edit(def, at.index).Put(entry{at.key, new})
	}
	t.done = append(t.done, done{def, old, new})
}

// changes gives what was done, in order. Of an entity to which several things were done,
// it is only what was before them all and after them all, at the place of the last; and
// nothing if it was and is not there.
func (t *txn) changes() []done {
	if len(t.done) < 2 {
		return t.done
	}
	type which struct {
		kind int
		id   string
	}
	type span struct {
		last   int
		before *Entity
	}
	spans := make(map[which]span, len(t.done))
	for i := range t.done {
		d := &t.done[i]
		w := which{d.def.number, d.entity().ID}
		s, again := spans[w]
		if s.last = i; !again {
			s.before = d.before
		}
		spans[w] = s
	}
	if len(spans) == len(t.done) {
		return t.done
	}
	net := make([]done, 0, len(spans))
	for i, d := range t.done {
		s := spans[which{d.def.number, d.entity().ID}]
		if d.before = s.before; s.last == i && (d.before != nil || d.after != nil) {
			net = append(net, d)
		}
	}
	t.done = net
	return net
}

func (d *done) entity() *Entity {
	if d.after != nil {
		return d.after
	}
	return d.before
}

// result gives the tables as they are now, which the transaction does not change any
// more. Those of kinds that were not written are the same ones.
func (t *txn) result() []*table {
	tables := make([]*table, len(t.tables))
	for i, old := range t.tables {
		if tables[i] = old; t.edits[i] == nil {
			continue
		}
		next := &table{version: old.version, indexes: append([]index(nil), old.indexes...)}
		for number, edit := range t.edits[i] {
			if edit == nil {
				continue
			}
			next.indexes[number] = edit.Set()
			if n := len(t.done); n >= packFrom && n >= edit.Peek().Len()/packShare {
				next.indexes[number] = edit.Peek().Packed()
			}
		}
		tables[i] = next
	}
	return tables
}

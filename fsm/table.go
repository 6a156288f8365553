package fsm

import (
	"encoding/binary"
	"iter"
	"strings"

	"github.com/sluicegate/sluice/internal/ordered"
)

// entry is an entity in an index: by its key there, and by its id among those that have
// the same one.
type entry struct {
	key string
	of  *Entity // nil only in what is looked for: before all entities of the key
}

func (a entry) Compare(b entry) int {
	if c := strings.Compare(a.key, b.key); c != 0 {
		return c
	}
	return strings.Compare(a.id(), b.id())
}

func (a entry) id() string {
	if a.of == nil {
		return ""
	}
	return a.of.ID
}

// entity gives the entity of an entry, nil of none.
func (a *entry) entity() *Entity {
	if a == nil {
		return nil
	}
	return a.of
}

type index = ordered.Set[entry]

// The indexes of every table, by number. Those of the unique sets follow in the order
// of Definition.Unique, and those of the foreign fields in that of Definition.Foreign.
const (
	byID = iota
	byTag
	byExpiry
	firstUnique
)

func (d *Definition) uniqueIndex(i int) int { return firstUnique + i }

// refIndex gives the number of a foreign field's index, false if the kind has no such
// field.
func (d *Definition) refIndex(field string) (int, bool) {
	for i, f := range d.Foreign {
		if f.Field == field {
			return firstUnique + len(d.Unique) + i, true
		}
	}
	return 0, false
}

// place is where an entity is in the indexes of its table.
type place struct {
	index int
	key   string
}

// places appends all places of an entity but that by its id.
func (d *Definition) places(list []place, e *Entity) []place {
	for _, tag := range e.Tags() {
		list = append(list, place{byTag, tag})
	}
	if d.TTL && e.ExpiresAt != 0 {
		list = append(list, place{byExpiry, expiryKey(e.ExpiresAt)})
	}
	for i, set := range d.Unique {
		if key := e.unique(set); key != "" {
			list = append(list, place{d.uniqueIndex(i), key})
		}
	}
	for i, f := range d.Foreign {
		if !f.List {
			if id := e.Ref(f.Field); id != "" {
				list = append(list, place{firstUnique + len(d.Unique) + i, id})
			}
			continue
		}
		for _, id := range e.Names(f) {
			list = append(list, place{firstUnique + len(d.Unique) + i, id})
		}
	}
	return list
}

// expiryKey is in the order of times, but for those before 1970.
func expiryKey(at int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(at)))
}

// table is the entities of one kind. It never changes once it is in a view.
type table struct {
	version uint64  // another one whenever the machine has changed the kind
	indexes []index // by number
}

func newTables(defs []*Definition) []*table {
	tables := make([]*table, len(defs))
	for i, def := range defs {
		tables[i] = &table{indexes: make([]index, firstUnique+len(def.Unique)+len(def.Foreign))}
	}
	return tables
}

// first gives the entity that is first under a key, or nil.
func first(in index, key string) *Entity {
	if found, ok := in.Seek(entry{key: key}); ok && found.key == key {
		return found.of
	}
	return nil
}

// under walks the entities under a key, in the order of ids.
func under(in index, key string) iter.Seq[*Entity] {
	return func(yield func(*Entity) bool) {
		for found := range in.From(entry{key: key}) {
			if found.key != key || !yield(found.of) {
				return
			}
		}
	}
}

// since walks the entities from a key on, in the order of keys.
func since(in index, key string) iter.Seq[*Entity] {
	return func(yield func(*Entity) bool) {
		for found := range in.From(entry{key: key}) {
			if !yield(found.of) {
				return
			}
		}
	}
}

package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// expiredPerWrite bounds how many entities whose time is over one write
// removes: more wait for the next write, and readers skip them meanwhile.
const expiredPerWrite = 64

// write applies a write command to an open transaction. A non-nil error means
// the transaction must be aborted.
func (m *Machine) write(t *txn, index uint64, w *Write) ([]*Entity, *Error) {
	m.removeExpired(t, w.Now)
	if w.Whole {
		return m.whole(t, index, w)
	}
	stored := make([]*Entity, len(w.Ops))
	for i := range w.Ops {
		e, err := m.op(t, index, w.Now, &w.Ops[i])
		if err != nil {
			return nil, err
		}
		stored[i] = e
	}
	return stored, nil
}

func (m *Machine) removeExpired(t *txn, now int64) {
	for _, def := range m.defs {
		if !def.TTL {
			continue
		}
		var over []*Entity
		for e := range since(t.index(def, byExpiry), "") {
			if !e.Expired(now) || len(over) == expiredPerWrite {
				break
			}
			over = append(over, e)
		}
		for _, e := range over {
			t.delete(def, e.ID)
		}
	}
}

func (m *Machine) op(t *txn, index uint64, now int64, op *Op) (*Entity, *Error) {
	old, refusal := m.target(t, op)
	switch {
	case refusal != nil, op.Verb == Delete && old == nil:
		return nil, refusal
	case op.Verb == Delete:
		if op.Alone && m.accompanied(t, m.byKind[op.Kind], old, now) {
			return nil, conflict(op.Kind, op.ID, op.IfIndex, old.ModifyIndex)
		}
		return nil, m.remove(t, m.byKind[op.Kind], old)
	}
	e, refusal := m.made(op, old, index)
	if refusal != nil {
		return nil, refusal
	}
	return e, m.store(t, m.byKind[op.Kind], e, now)
}

// target gives the entity that an operation is about, nil if there is none, or
// refuses the operation because of that.
func (m *Machine) target(t *txn, op *Op) (*Entity, *Error) {
	def := m.byKind[op.Kind]
	if def == nil {
		return nil, refused(fmt.Errorf("%w: kind %q", ErrUnknownCommand, op.Kind))
	}
	old := t.get(def, op.ID)
	switch {
	case op.IfIndex != 0 && old == nil:
		return nil, notFound(op.Kind, op.ID)
	case op.IfIndex != 0 && old.ModifyIndex != op.IfIndex:
		return nil, conflict(op.Kind, op.ID, op.IfIndex, old.ModifyIndex)
	case op.Verb == Delete:
	case old != nil && (op.Verb == Create || op.IfAbsent):
		return nil, primaryKeyViolation(op.ID)
	case old == nil && op.Verb == Update:
		return nil, notFound(op.Kind, op.ID)
	case op.Verb != Create && op.Verb != Put && op.Verb != Update:
		return nil, refused(fmt.Errorf("%w: verb %q", ErrUnknownCommand, op.Verb))
	}
	return old, nil
}

// made makes the entity that an operation stores in the place of old.
func (m *Machine) made(op *Op, old *Entity, index uint64) (*Entity, *Error) {
	e, err := newEntity(m.byKind[op.Kind], op, index)
	if err != nil {
		return nil, refused(err)
	}
	if old != nil {
		e.CreateIndex, e.CreateStamp = old.CreateIndex, old.CreateStamp
	} else {
		e.CreateStamp = m.Limits().Settled()
	}
	return e, nil
}

// store inserts or replaces an entity after the checks that only the state can
// make.
func (m *Machine) store(t *txn, def *Definition, e *Entity, now int64) *Error {
	if err := m.references(t, e); err != nil {
		return err
	}
	if err := m.unique(t, def, e, now); err != nil {
		return err
	}
	t.put(def, e)
	return nil
}

// references checks that what an entity names is there.
func (m *Machine) references(t *txn, e *Entity) *Error {
	for _, f := range m.byKind[e.Kind].Foreign {
		for _, id := range e.Names(f) {
			if t.get(m.byKind[f.Kind], id) == nil {
				return foreignKeyViolation(f, id)
			}
		}
	}
	return nil
}

// unique checks that nobody has a name of the entity's. Who has, and whose time is
// over, makes room.
func (m *Machine) unique(t *txn, def *Definition, e *Entity, now int64) *Error {
	for i, set := range def.Unique {
		key := e.unique(set)
		if key == "" {
			continue
		}
		other := first(t.index(def, def.uniqueIndex(i)), key)
		if other == nil || other.ID == e.ID {
			continue
		}
		if !other.Expired(now) || now == 0 {
			return uniqueViolation(set, e)
		}
		t.delete(def, other.ID)
	}
	return nil
}

// remove deletes an entity and what its references cascade to.
func (m *Machine) remove(t *txn, def *Definition, e *Entity) *Error {
	if err := m.release(t, def, e); err != nil {
		return err
	}
	t.delete(def, e.ID) // a cascade along two fields may meet an entity twice
	return nil
}

// accompanied says whether something whose time is not over would be deleted with an
// entity.
func (m *Machine) accompanied(t *txn, def *Definition, e *Entity, now int64) bool {
	for _, from := range m.defs {
		for _, f := range from.Foreign {
			if f.Kind != def.Kind || f.OnDelete != Cascade {
				continue
			}
			for r := range t.referencing(from, f, e.ID) {
				if !r.Expired(now) {
					return true
				}
			}
		}
	}
	return false
}

// release deletes what refers to an entity and goes with it, or refuses that.
func (m *Machine) release(t *txn, def *Definition, e *Entity) *Error {
	for _, from := range m.defs {
		for _, f := range from.Foreign {
			if f.Kind != def.Kind {
				continue
			}
			referencing := slices.Collect(t.referencing(from, f, e.ID))
			if len(referencing) > 0 && f.OnDelete == Restrict {
				if f.List {
					return listedViolation(def.Kind, e.ID, referencing[0])
				}
				return referencedViolation(from.Kind, def.Kind)
			}
			for _, r := range referencing {
				if err := m.remove(t, from, r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func notFound(kind, id string) *Error {
	return &Error{Code: CodeNotFound, Name: "not found",
		Message: fmt.Sprintf("could not find the entity with primary key '{id=%q}'", id),
		Fields:  map[string]any{"id": id}}
}

func primaryKeyViolation(id string) *Error {
	return &Error{Code: CodePrimaryKey, Name: "primary key violation",
		Message: fmt.Sprintf("primary key violation on key '{id=%q}'", id),
		Fields:  map[string]any{"id": id}}
}

func foreignKeyViolation(f Foreign, id string) *Error {
	return &Error{Code: CodeForeignKey, Name: "foreign key violation",
		Message: fmt.Sprintf("the foreign key '{id=%q}' does not reference an existing '%s' entity.", id, f.Kind),
		Fields:  map[string]any{f.Field: map[string]any{"id": id}}}
}

func referencedViolation(from, to string) *Error {
	return &Error{Code: CodeForeignKey, Name: "foreign key violation",
		Message: fmt.Sprintf("an existing '%s' entity references this '%s' entity", from, to),
		Fields:  map[string]any{"@referenced_by": from}}
}

// listedViolation is Kong's error for an authority that is still in a list.
func listedViolation(kind, id string, by *Entity) *Error {
	what := strings.ReplaceAll(strings.TrimSuffix(kind, "s"), "_", " ") // ca certificate
	return &Error{Code: CodeReferenced, Name: "referenced by others",
		Message: fmt.Sprintf("%s %s is still referenced by %s (id = %s)", what, id, by.Kind, by.ID)}
}

func uniqueViolation(set []string, e *Entity) *Error {
	var all map[string]any
	if err := json.Unmarshal(e.Raw, &all); err != nil {
		return refused(err) // newEntity has read it already
	}
	fields := make(map[string]any, len(set))
	for _, name := range set {
		fields[name] = all[name]
	}
	return &Error{Code: CodeUnique, Name: "unique constraint violation",
		Message: fmt.Sprintf("UNIQUE violation detected on '%s'", luaTable(fields)),
		Fields:  fields}
}

// luaTable writes a table as Kong's messages do: {name="x",service={id="..."}}.
func luaTable(fields map[string]any) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	parts := make([]string, len(names))
	for i, name := range names {
		switch v := fields[name].(type) {
		case nil:
			parts[i] = name + "=null"
		case string:
			parts[i] = fmt.Sprintf("%s=\"%s\"", name, v)
		case map[string]any:
			parts[i] = name + "=" + luaTable(v)
		default:
			parts[i] = fmt.Sprintf("%s=%v", name, v)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

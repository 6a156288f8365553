package fsm

import "fmt"

// whole applies a write whose operations are one change: everything that is to be
// replaced or deleted goes first, then everything new comes, and only then is it
// looked at who refers to what. What is deleted takes those with it that refer to it
// and go with it, as any delete does.
func (m *Machine) whole(t *txn, index uint64, w *Write) ([]*Entity, *Error) {
	olds, err := m.clear(t, w)
	if err != nil {
		return nil, err
	}
	stored := make([]*Entity, len(w.Ops))
	for i := range w.Ops {
		op := &w.Ops[i]
		if op.Verb == Delete {
			continue
		}
		e, err := m.made(op, olds[i], index)
		if err != nil {
			return nil, err
		}
		if err := m.unique(t, m.byKind[e.Kind], e, w.Now); err != nil {
			return nil, err
		}
		t.put(m.byKind[e.Kind], e)
		stored[i] = e
	}
	for _, e := range stored {
		if e == nil {
			continue
		}
		if err := m.references(t, e); err != nil {
			return nil, err
		}
	}
	for i, e := range stored {
		if e == nil && olds[i] != nil {
			if op := &w.Ops[i]; op.Alone && m.accompanied(t, m.byKind[op.Kind], olds[i], w.Now) {
				return nil, conflict(op.Kind, op.ID, op.IfIndex, olds[i].ModifyIndex)
			}
			if err := m.release(t, m.byKind[olds[i].Kind], olds[i]); err != nil {
				return nil, err
			}
		}
	}
	return stored, nil
}

// clear takes out what the operations replace or delete, and gives it by operation.
func (m *Machine) clear(t *txn, w *Write) ([]*Entity, *Error) {
	olds := make([]*Entity, len(w.Ops))
	seen := make(map[[2]string]bool, len(w.Ops))
	for i := range w.Ops {
		op := &w.Ops[i]
		at := [2]string{op.Kind, op.ID}
		if seen[at] {
			return nil, refused(fmt.Errorf("%w: %s %s twice in one change", ErrMalformedCommand, op.Kind, op.ID))
		}
		seen[at] = true
		old, err := m.target(t, op)
		if err != nil {
			return nil, err
		}
		if olds[i] = old; old != nil {
			t.delete(m.byKind[op.Kind], op.ID)
		}
	}
	return olds, nil
}

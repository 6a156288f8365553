package fsm

import (
	"fmt"

	"github.com/hashicorp/go-memdb"
)

// whole applies a write whose operations are one change: everything that is to be
// replaced or deleted goes first, then everything new comes, and only then is it
// looked at who refers to what. What is deleted takes those with it that refer to it
// and go with it, as any delete does.
func (m *Machine) whole(txn *memdb.Txn, index uint64, w *Write) ([]*Entity, *Error) {
	olds, err := m.clear(txn, w)
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
		if err := m.unique(txn, m.byKind[e.Kind], e, w.Now); err != nil {
			return nil, err
		}
		if err := txn.Insert(e.Kind, e); err != nil {
			return nil, refused(err)
		}
		stored[i] = e
	}
	for _, e := range stored {
		if e == nil {
			continue
		}
		if err := m.references(txn, e); err != nil {
			return nil, err
		}
	}
	for i, e := range stored {
		if e == nil && olds[i] != nil {
			if op := &w.Ops[i]; op.Alone && m.accompanied(txn, m.byKind[op.Kind], olds[i], w.Now) {
				return nil, conflict(op.Kind, op.ID, op.IfIndex, olds[i].ModifyIndex)
			}
			if err := m.release(txn, m.byKind[olds[i].Kind], olds[i]); err != nil {
				return nil, err
			}
		}
	}
	return stored, nil
}

// clear takes out what the operations replace or delete, and gives it by operation.
func (m *Machine) clear(txn *memdb.Txn, w *Write) ([]*Entity, *Error) {
	olds := make([]*Entity, len(w.Ops))
	seen := make(map[[2]string]bool, len(w.Ops))
	for i := range w.Ops {
		op := &w.Ops[i]
		at := [2]string{op.Kind, op.ID}
		if seen[at] {
			return nil, refused(fmt.Errorf("%w: %s %s twice in one change", ErrMalformedCommand, op.Kind, op.ID))
		}
		seen[at] = true
		old, err := m.target(txn, op)
		if err != nil {
			return nil, err
		}
		if olds[i] = old; old == nil {
			continue
		}
		if err := txn.Delete(op.Kind, old); err != nil {
			return nil, refused(err)
		}
	}
	return olds, nil
}

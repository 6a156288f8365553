package fsm

import "bytes"

// Draft is a configuration that somebody works on: a view, and what was done to it
// since, which nobody else sees. Not safe for concurrent use.
type Draft struct {
	m    *Machine
	txn  *txn
	view *View
	now  int64
}

// Draft begins one on a view, at a time in unix seconds.
func (m *Machine) Draft(v *View, now int64) *Draft {
	next := *v
	next.open = newTxn(v.tables)
	return &Draft{m: m, txn: next.open, view: &next, now: now}
}

// View is the draft as it is now. It changes with the next Do, and must not be walked
// meanwhile.
func (d *Draft) View() *View { return d.view }

// Do carries out operations in order, as a write would. After an error the draft is
// of no use any more.
func (d *Draft) Do(ops ...Op) ([]*Entity, *Error) {
	entities := make([]*Entity, len(ops))
	for i := range ops {
		e, err := d.m.op(d.txn, d.view.index, d.now, &ops[i])
		if err != nil {
			return nil, err
		}
		entities[i] = e
	}
	return entities, nil
}

// Together carries out operations as one change of the configuration (Write.Whole). After
// an error the draft is of no use any more.
func (d *Draft) Together(ops ...Op) *Error {
	_, err := d.m.whole(d.txn, d.view.index, &Write{Now: d.now, Ops: ops, Whole: true})
	return err
}

// Try does a write as the log would if it came next: what is expired goes first. After
// an error the draft is of no use any more.
func (d *Draft) Try(w *Write) *Error {
	_, err := d.m.write(d.txn, d.view.index, w)
	return err
}

// Become makes the draft what another configuration is. After an error it is of no
// use any more.
func (d *Draft) Become(to *View) error {
	w := d.m.Difference(d.view, to, d.now)
	for i := range w.Ops {
		w.Ops[i].IfIndex, w.Ops[i].IfAbsent = 0, false
	}
	if _, err := d.m.whole(d.txn, d.view.index, w); err != nil {
		return err
	}
	return nil
}

// Changes is what the draft changes of its view. What is as it was is not in it.
func (d *Draft) Changes() []ChangedEntity {
	var list []ChangedEntity
	for _, c := range changeOf(0, &Write{}, d.txn.changes()).Entities {
		if c.Before == nil || c.After == nil || !c.Before.same(c.After) {
			list = append(list, c)
		}
	}
	return list
}

func (e *Entity) same(o *Entity) bool { return e.ExpiresAt == o.ExpiresAt && bytes.Equal(e.Raw, o.Raw) }

// Write is the change of the configuration that the draft is, refused if somebody
// else has changed what it changes. It has no operations if there is nothing to do.
func (d *Draft) Write() *Write {
	w := &Write{Now: d.now, Whole: true}
	for _, c := range d.Changes() {
		op := c.op()
		if c.Before != nil && c.Before.Expired(d.now) {
			op.IfIndex = 0 // the write itself may remove it first
		}
		w.Ops = append(w.Ops, op)
	}
	return w
}

// op makes what is Before into what is After.
func (c *ChangedEntity) op() Op {
	op := Op{Verb: Put, Kind: c.Entity().Kind, ID: c.Entity().ID}
	if c.Before == nil {
		op.IfAbsent = true
	} else {
		op.IfIndex = c.Before.ModifyIndex
	}
	if c.After == nil {
		op.Verb = Delete
		return op
	}
	op.Raw, op.ExpiresAt = c.After.Raw, c.After.ExpiresAt
	return op
}

// Difference is the write that makes of the configuration from that of to.
func (m *Machine) Difference(from, to *View, now int64) *Write {
	w := &Write{Now: now, Whole: true}
	for _, c := range m.Compare(from, to) {
		w.Ops = append(w.Ops, c.op())
	}
	return w
}

// Compare lists what differs between two configurations, by kinds, and what is new
// of one last. Entities whose time is over count as others. Kinds that decide about
// access are left out.
func (m *Machine) Compare(from, to *View) (list []ChangedEntity) {
	for _, def := range m.defs {
		if def.Access {
			continue
		}
		for e := range from.All(def.Kind) {
			switch o := to.Get(def.Kind, e.ID); {
			case o == nil:
				list = append(list, ChangedEntity{Before: e})
			case !e.same(o):
				list = append(list, ChangedEntity{e, o})
			}
		}
		for o := range to.All(def.Kind) {
			if from.Get(def.Kind, o.ID) == nil {
				list = append(list, ChangedEntity{After: o})
			}
		}
	}
	return list
}

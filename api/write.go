package api

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// create plans a POST to a collection.
func (a *API) create(q *request, c *collection, o *owner) planner {
	return func(v *fsm.View, now int64) (*plan, error) {
		in := q.body.typed(c.schema, nil)
		if o != nil {
			id, err := o.find(v, now)
			if err != nil {
				return nil, err
			}
			in[o.field] = map[string]any{"id": id}
		}
		entity, err := a.insert(v, c, in)
		if err != nil {
			return nil, err
		}
		p := &plan{coll: c, lost: o.gone}
		p.mint(entity)
		op, err := c.operation(fsm.Create, entity, now, 0, false)
		p.ops = []fsm.Op{op}
		return a.withRelated(v, entity, p, err)
	}
}

// put plans a PUT of one entity: an insert, or a replacement of all of it but its id and time of creation.
func (a *API) put(q *request, t target) planner {
	return func(v *fsm.View, now int64) (*plan, error) {
		f, err := t.locate(v, now)
		if err != nil && (t.owner != nil || !errors.Is(err, errSNINotFound)) {
			return nil, err
		}
		if err := q.matches(f.entity); err != nil {
			return nil, err
		}
		in := q.body.typed(t.coll.schema, nil)
		t.prepare(in, true)
		if t.owner != nil {
			in[t.owner.field] = map[string]any{"id": f.parentID}
		}
		if f.entity != nil {
			return a.replace(v, &t, f.entity, in, now)
		}
		p, err := a.putNew(v, &t, in, now)
		if err != nil || f.from == nil {
			return p, err
		}
		return p, a.associate(v, t.child, f.from, p, now)
	}
}

// replace plans the PUT of an entity that exists.
func (a *API) replace(v *fsm.View, t *target, old *fsm.Entity, in map[string]any, now int64) (*plan, error) {
	stored, err := fieldsOf(old)
	if err != nil {
		return nil, err
	}
	in["id"] = old.ID
	if field := t.keyField(); field != "" {
		in[field] = t.key
	}
	if _, given := in["created_at"]; !given {
		in["created_at"] = stored["created_at"]
	}
	entity, err := a.insert(v, t.coll, in)
	if err != nil {
		return nil, err
	}
	maps.Copy(entity, t.coll.takePrivate(stored))
	op, err := t.coll.operation(fsm.Put, entity, now, 0, false)
	op.IfIndex = old.ModifyIndex
	return a.withRelated(v, entity, &plan{ops: []fsm.Op{op}, coll: t.coll, lost: t.lost}, err)
}

// putNew plans the PUT of an entity that does not exist. Another writer may make it first; then the loser
// looks again and replaces.
func (a *API) putNew(v *fsm.View, t *target, in map[string]any, now int64) (*plan, error) {
	if schema.IsUUID(t.key) {
		in["id"] = strings.ToLower(t.key)
	} else if field := t.keyField(); field != "" {
		in[field] = t.key
	}
	entity, err := a.insert(v, t.coll, in)
	if err != nil {
		return nil, err
	}
	p := &plan{coll: t.coll, lost: t.lost}
	p.mint(entity)
	op, err := t.coll.operation(fsm.Put, entity, now, 0, false)
	op.IfAbsent = true
	p.ops = []fsm.Op{op}
	return a.withRelated(v, entity, p, err)
}

// lost says that a PUT was refused because another writer was faster. It does not depend on what was
// planned: a write that is repeated under its id is planned on a newer view, and gets its old refusals.
func (t *target) lost(e *fsm.Error) bool {
	switch {
	case movedOn(e), t.owner.gone(e):
		return true
	case schema.IsUUID(t.key):
		return e.Code == fsm.CodePrimaryKey
	}
	return t.keyTaken(e)
}

// associate adds to a plan that makes a parent the operation that makes the child reference it.
func (a *API) associate(v *fsm.View, c *child, from *fsm.Entity, p *plan, now int64) error {
	stored, err := fieldsOf(from)
	if err != nil {
		return err
	}
	entity, err := a.update(v, c.coll, stored, map[string]any{c.field: map[string]any{"id": p.ops[0].ID}})
	if err != nil {
		return err
	}
	op, err := c.coll.operation(fsm.Update, entity, now, from.ExpiresAt, true)
	op.IfIndex = from.ModifyIndex
	p.ops = append(p.ops, op)
	return err
}

// patch plans a PATCH of one entity. It is a compare-and-set: a change that another writer made in between
// is read and merged, never overwritten.
func (a *API) patch(q *request, t target) planner {
	return func(v *fsm.View, now int64) (*plan, error) {
		f, err := t.locate(v, now)
		if err != nil {
			return nil, err
		}
		if err := q.matches(f.entity); err != nil {
			return nil, err
		}
		if f.entity == nil {
			return nil, t.missing()
		}
		stored, err := fieldsOf(f.entity)
		if err != nil {
			return nil, err
		}
		private := t.coll.takePrivate(stored)
		changes := q.body.typed(t.coll.schema, stored)
		if t.owner != nil {
			changes[t.owner.field] = map[string]any{"id": f.parentID}
		}
		t.prepare(changes, false)
		_, ttl := changes["ttl"]
		entity, err := a.update(v, t.coll, stored, changes)
		if err != nil {
			return nil, err
		}
		maps.Copy(entity, private)
		op, err := t.coll.operation(fsm.Update, entity, now, f.entity.ExpiresAt, !ttl)
		op.IfIndex = f.entity.ModifyIndex
		return a.withRelated(v, entity, &plan{ops: []fsm.Op{op}, coll: t.coll, lost: movedOn}, err)
	}
}

func (t *target) prepare(in map[string]any, put bool) {
	if t.coll.hooks.prepare != nil {
		t.coll.hooks.prepare(in, t, put)
	}
}

// withRelated adds to the plan that stores an entity the operations on others that its kind brings along.
func (a *API) withRelated(v *fsm.View, entity map[string]any, p *plan, err error) (*plan, error) {
	h := p.coll.hooks
	if err != nil || h.related == nil {
		return p, err
	}
	ops, err := h.related(a, v, entity)
	if err != nil {
		return nil, err
	}
	p.ops = append(p.ops, ops...)
	if lost := p.lost; h.lost != nil {
		p.lost = func(e *fsm.Error) bool { return h.lost(e) || lost != nil && lost(e) }
	}
	return p, nil
}

// missing is the error of a PATCH of what is not there; only top-level paths tell more than "Not found".
func (t *target) missing() error {
	if t.owner != nil || t.child != nil {
		return errNotFound
	}
	if schema.IsUUID(t.key) {
		id := strings.ToLower(t.key)
		return kongError(fsm.CodeNotFound, "not found",
			fmt.Sprintf("could not find the entity with primary key '{id=\"%s\"}'", id), map[string]any{"id": id})
	}
	if t.coll.Key == "" {
		return errNotFound
	}
	return kongError(fsm.CodeNotFound, "not found",
		fmt.Sprintf("could not find the entity with '{%s=\"%s\"}'", t.coll.Key, t.key), map[string]any{t.coll.Key: t.key})
}

// delete plans a DELETE of one entity. On a top-level path it is idempotent.
func (a *API) delete(q *request, t target) planner {
	return func(v *fsm.View, now int64) (*plan, error) {
		f, err := t.locate(v, now)
		if err == nil {
			err = q.matches(f.entity)
		}
		switch {
		case err != nil:
			return nil, err
		case t.child != nil && f.entity != nil:
			return nil, errMethodNotAllowed
		case f.entity == nil && (t.child != nil || t.owner != nil):
			return nil, errNotFound
		case f.entity == nil:
			return &plan{}, nil
		}
		if leave := t.coll.hooks.leave; leave != nil {
			if err := leave(v, f.entity); err != nil {
				return nil, err
			}
		}
		op := fsm.Op{Verb: fsm.Delete, Kind: t.coll.Kind, ID: f.entity.ID, IfIndex: f.entity.ModifyIndex}
		return &plan{ops: []fsm.Op{op}, lost: movedOn}, nil
	}
}

// movedOn says that an entity was changed or removed between being read and being written.
func movedOn(e *fsm.Error) bool { return e.Code == fsm.CodeConflict || e.Code == fsm.CodeNotFound }

package api

import (
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// target is the one entity that a path names.
type target struct {
	coll  *collection
	key   string // id or endpoint key; "" until a child gives it
	owner *owner // of /P/{p}/E/{e}: the entity must belong to p
	child *child // of /E/{e}/F: the entity is the one that e references by F
}

// owner is the parent in a nested path.
type owner struct {
	coll  *collection
	key   string
	field string // the foreign field by which the entities below name the parent
}

// child is the entity whose reference a path follows.
type child struct {
	coll  *collection
	key   string
	field string
}

// found is what a target is in one view.
type found struct {
	entity   *fsm.Entity // nil if there is none
	parentID string      // of target.owner
	from     *fsm.Entity // of target.child
}

// find gives the owner's id.
func (o *owner) find(v *fsm.View, now int64) (string, error) {
	parent, err := o.coll.find(v, o.key, now)
	if err != nil {
		return "", err
	}
	if parent == nil {
		return "", errNotFound
	}
	return parent.ID, nil
}

// gone says that a write was refused because the owner, which is not looked at in the body, is not there
// any more. A nil owner is never gone.
func (o *owner) gone(e *fsm.Error) bool {
	if o == nil || e.Code != fsm.CodeForeignKey {
		return false
	}
	_, named := e.Fields[o.field]
	return named
}

// locate looks a target up. A missing owner or child is errNotFound, a missing entity is none.
func (t *target) locate(v *fsm.View, now int64) (found, error) {
	var f found
	var err error
	if t.child != nil {
		return t.follow(v, now)
	}
	if t.owner != nil {
		if f.parentID, err = t.owner.find(v, now); err != nil {
			return f, err
		}
	}
	if t.owner != nil && t.coll.NestedKey != "" && !schema.IsUUID(t.key) {
		f.entity = t.coll.findNested(v, f.parentID, t.key, now)
		return f, nil
	}
	if f.entity, err = t.coll.find(v, t.key, now); err != nil {
		return f, err
	}
	if f.entity != nil && t.owner != nil && f.entity.Ref(t.owner.field) != f.parentID {
		return f, errNotFound
	}
	return f, nil
}

// keyField is the field that the path gives the value of, "" if that is an id or nothing.
func (t *target) keyField() string {
	switch {
	case t.key == "" || schema.IsUUID(t.key):
		return ""
	case t.owner != nil && t.coll.NestedKey != "":
		return t.coll.NestedKey
	}
	return t.coll.Key
}

// keyTaken says that a write was refused because another entity has the value of keyField, and for nothing
// else.
func (t *target) keyTaken(e *fsm.Error) bool {
	field := t.keyField()
	_, taken := e.Fields[field]
	fields := 1
	if field == t.coll.NestedKey {
		fields = 2 // the owner's reference is the other one
	}
	return e.Code == fsm.CodeUnique && field != "" && taken && len(e.Fields) == fields
}

// follow finds the entity that the child references.
func (t *target) follow(v *fsm.View, now int64) (found, error) {
	from, err := t.child.coll.find(v, t.child.key, now)
	if err != nil {
		return found{}, err
	}
	if from == nil {
		return found{}, errNotFound
	}
	f := found{from: from}
	if id := from.Ref(t.child.field); id != "" {
		f.entity, err = t.coll.find(v, id, now)
	}
	return f, err
}

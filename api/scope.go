package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
)

// Which entities a token reaches. Neither paths nor handlers decide that, so that none of them can forget to:
//
//   - Whatever somebody reads, or plans a write on, is a view in which there is nothing else than what they may
//     see (fsm.View.Only). Lists, their pages, names in paths, references, tags, old states and entity tags come
//     from it.
//   - A write is tried on a draft of the real configuration before it is sent, and everything that would be
//     different is looked at: what goes with a deleted entity and what a certificate brings along as well.
//
// An entity is in the scope of tags if it carries one of them. What has no tags goes by what it belongs to.

// only is a view as the request's principal sees it.
func (q *request) only(v *fsm.View) *fsm.View {
	if q.who.free() {
		return v
	}
	return v.Only(func(e *fsm.Entity) bool { return q.a.sees(q.who, v, e) })
}

// sees says whether somebody may look at an entity of a view.
func (a *API) sees(p *principal, v *fsm.View, e *fsm.Entity) bool {
	c := a.byKind[e.Kind]
	if c == nil || c.Access {
		return false
	}
	for i := range p.permissions {
		m := &p.permissions[i]
		if (m.Grants(actionRead, c.Path) || m.Grants(actionUpdate, c.Path) || m.Grants(actionDelete, c.Path)) &&
			a.within(m, v, e) {
			return true
		}
	}
	return false
}

// within says whether an entity is in the scope of a permission.
func (a *API) within(m *fsm.Permission, v *fsm.View, e *fsm.Entity) bool {
	return len(m.Tags) == 0 || a.carries(m.Tags, v, e)
}

// carries says whether an entity has one of these tags, or, if it cannot have any, all that it belongs to have.
func (a *API) carries(tags []string, v *fsm.View, e *fsm.Entity) bool {
	c := a.byKind[e.Kind]
	if c == nil {
		return false
	}
	if c.tagged && (!c.hooks.part || len(e.Tags()) > 0) {
		return slices.ContainsFunc(e.Tags(), func(tag string) bool { return slices.Contains(tags, tag) })
	}
	owners := 0
	for _, f := range c.Foreign {
		id := e.Ref(f.Field)
		if f.OnDelete != fsm.Cascade || id == "" {
			continue
		}
		owner := v.Get(f.Kind, id)
		if owner == nil || !a.carries(tags, v, owner) {
			return false
		}
		owners++
	}
	return owners > 0
}

// judgement looks at a write before it is sent.
type judgement struct {
	a             *API
	who           *principal
	before, after *fsm.View
	now           int64
}

// changes says which of them is not allowed.
func (j *judgement) changes(changes []fsm.ChangedEntity) error {
	for i := range changes {
		c := &changes[i]
		if c.After == nil && c.Before.Expired(j.now) {
			continue // it goes with whatever write comes next
		}
		if err := j.change(c); err != nil {
			return err
		}
	}
	return nil
}

func (j *judgement) change(c *fsm.ChangedEntity) error {
	coll := j.a.byKind[c.Entity().Kind]
	if coll == nil || coll.Access {
		return forbidden("the token '%s' may not change %s", j.who.name, c.Entity().Kind)
	}
	action := actionUpdate
	switch {
	case c.Before == nil:
		action = actionCreate
	case c.After == nil:
		action = actionDelete
	}
	var tags []string
	var was, is bool
	for i := range j.who.permissions {
		m := &j.who.permissions[i]
		if !m.Grants(action, coll.Path) {
			continue
		}
		tags = append(tags, m.Tags...)
		was = was || c.Before == nil || j.a.within(m, j.before, c.Before)
		is = is || c.After == nil || j.reaches(m, coll, c)
	}
	switch {
	case was && is:
		return nil
	case len(tags) == 0:
		return forbidden("the token '%s' may not do this: it has no permission to %s %s", j.who.name, action, coll.Path)
	}
	return forbidden("the token '%s' may %s %s only within its tags (%s): the entity, and what it newly refers to, must carry one",
		j.who.name, action, coll.Path, strings.Join(tags, ", "))
}

// reaches says whether an entity may become what it would be: it is in the scope, and so is what it newly refers
// to. What is for everything at once, as a plugin without service, route and consumer is, is in nobody's scope.
func (j *judgement) reaches(m *fsm.Permission, coll *collection, c *fsm.ChangedEntity) bool {
	if len(m.Tags) == 0 {
		return true
	}
	if !j.a.carries(m.Tags, j.after, c.After) {
		return false
	}
	if h := coll.hooks.global; h != nil && h(c.After) && (c.Before == nil || !h(c.Before)) {
		return false
	}
	for _, f := range coll.Foreign {
		for _, id := range c.After.Names(f) {
			if c.Before != nil && slices.Contains(c.Before.Names(f), id) {
				continue
			}
			if to := j.after.Get(f.Kind, id); to == nil || !j.a.carries(m.Tags, j.after, to) {
				return false
			}
		}
	}
	return true
}

// unjudgedError is the error of a write that the configuration of this node refuses, so that nothing can be said of
// what it would do. A newer one may not refuse it.
type unjudgedError struct{ err error }

func (e *unjudgedError) Error() string { return fmt.Sprintf("as far as this node knows: %v", e.err) }
func (e *unjudgedError) Unwrap() error { return e.err }

// errInTheWay is given where a write meets what its writer cannot see.
var errInTheWay = &statusError{http.StatusForbidden, "an entity with this id or name is outside of what the token may see"}

// guarded is a planner that plans on what its principal sees, and only what that may do. id is that of the command:
// one that the cluster remembers is answered and not done again, so its plan is not looked at.
func (q *request) guarded(id string, planner planner) planner {
	if q.who.free() {
		return planner
	}
	return func(v *fsm.View, now int64) (*plan, error) {
		p, err := planner(q.only(v), now)
		if err != nil || len(p.ops) == 0 {
			return p, err
		}
		err = q.judge(v, now, p)
		if err != nil && q.a.cfg.Machine.Answered(id) {
			p.repeated, err = true, nil
		}
		return p, err
	}
}

// judge tries a plan on the real view. Deletes become such that nothing goes along that was not looked at.
func (q *request) judge(v *fsm.View, now int64, p *plan) error {
	d := q.a.cfg.Machine.Draft(v, now)
	if refused := d.Try(&fsm.Write{Now: now, Ops: p.ops}); refused != nil {
		if p.lost != nil && p.lost(refused) {
			return errInTheWay // the planner would have seen it otherwise
		}
		return &unjudgedError{discreet(refused)}
	}
	if err := q.judgeDraft(v, now, d); err != nil {
		return err
	}
	deletes := slices.ContainsFunc(p.ops, func(op fsm.Op) bool { return op.Verb == fsm.Delete })
	if deletes && p.coll == nil { // nothing but a delete: with what goes along
		p.ops, p.whole = slices.DeleteFunc(d.Write().Ops, func(op fsm.Op) bool {
			e := v.Get(op.Kind, op.ID)
			return e != nil && e.Expired(now) // the log has removed it before it comes to this
		}), true
	}
	alone(p.ops)
	return nil
}

// judgeDraft looks at what a draft of a view changes.
func (q *request) judgeDraft(v *fsm.View, now int64, d *fsm.Draft) error {
	if q.who.free() {
		return nil
	}
	j := judgement{a: q.a, who: q.who, before: v, after: d.View(), now: now}
	return j.changes(d.Changes())
}

// alone has the log refuse deletes that would take more with them than what was looked at.
func alone(ops []fsm.Op) {
	for i := range ops {
		ops[i].Alone = ops[i].Verb == fsm.Delete
	}
}

// discreet is a refusal without the id of an entity that the client may not be able to see.
func discreet(refused *fsm.Error) *fsm.Error {
	if refused.Code != fsm.CodeReferenced {
		return refused
	}
	text, _, _ := strings.Cut(refused.Message, " (id = ")
	return &fsm.Error{Code: refused.Code, Name: refused.Name, Message: text}
}

// isUnjudged says that another look may help.
func isUnjudged(err error) bool {
	var unjudged *unjudgedError
	return errors.As(err, &unjudged)
}

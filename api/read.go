package api

import (
	"cmp"
	"fmt"
	"iter"
	"net/http"
	"slices"

	"github.com/sluicegate/sluice/fsm"
)

// get answers GET of one entity.
func (a *API) get(q *request, t target) (*reply, error) {
	v, now := q.view(), a.now()
	f, err := t.locate(v, now)
	if err != nil {
		return nil, err
	}
	if f.entity == nil {
		if t.coll.hooks.tellsMissing {
			return nil, t.missing()
		}
		return nil, errNotFound
	}
	tag := etag(f.entity)
	if slices.Contains(tagsIn(q.Header.Get("If-None-Match")), tag) {
		return (&reply{status: http.StatusNotModified, index: v.ConfigIndex()}).set("ETag", tag), nil
	}
	return readReply(v, t.coll.appendEntity(nil, v, f.entity)).set("ETag", tag), nil
}

// list answers GET of a collection, in the order of ids.
func (a *API) list(q *request, c *collection, o *owner) (*reply, error) {
	if o == nil {
		return a.listAt(q, c, nil, "")
	}
	return a.listAt(q, c, o, c.nested(o.field))
}

// listAt is list at a path below the owner.
func (a *API) listAt(q *request, c *collection, o *owner, below string) (*reply, error) {
	v, now := q.view(), a.now()
	path, ownerID := "/"+c.Path, ""
	if o != nil {
		var err error
		if ownerID, err = o.find(v, now); err != nil {
			return nil, err
		}
		path = fmt.Sprintf("/%s/%s/%s", o.coll.Path, ownerID, below)
	} else {
		for argument, unique := range c.hooks.lookups {
			if q.query.Has(argument) {
				return a.lookup(q, c, argument, unique)
			}
		}
	}
	p, err := parsePage(q.query, 1, c.schema.Field("tags") != nil)
	if err != nil {
		return nil, err
	}
	entities, more := collect(source(v, c, o, ownerID, p), p, now)
	offset, next := "", ""
	if more {
		offset = formatOffset(entities[len(entities)-1].ID)
		next = p.next(path, offset, o == nil)
	}
	return readReply(v, appendPage(make([]byte, 0, pageBytes(entities)), next, offset, func(b []byte) []byte {
		for i, e := range entities {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.appendEntity(b, v, e)
		}
		return b
	})), nil
}

// lookup answers GET of a collection with an argument that selects by a unique field.
func (a *API) lookup(q *request, c *collection, argument string, unique int) (*reply, error) {
	value := q.query.Get(argument)
	if value == "" {
		return nil, badRequest("%s must be an unempty string", argument)
	}
	v, now := q.view(), a.now()
	e := v.LookupUnique(c.Kind, unique, value)
	return readReply(v, appendPage(nil, "", "", func(b []byte) []byte {
		if e == nil || e.Expired(now) {
			return b
		}
		return c.appendEntity(b, v, e)
	})), nil
}

// nested is the URL segment of the collection below what a foreign field names.
func (c *collection) nested(field string) string {
	for _, f := range c.Foreign {
		if f.Field == field {
			return f.Nested
		}
	}
	return c.Path
}

// source walks, in the order of ids, the entities that a page is taken from. Where an index gives them in
// another order they are collected first: that is as much work as there are matches, not as there are
// entities.
func source(v *fsm.View, c *collection, o *owner, ownerID string, p *page) iter.Seq[*fsm.Entity] {
	var matches []*fsm.Entity
	switch {
	case o != nil:
		matches = slices.Collect(v.Referencing(c.Kind, o.field, ownerID))
	case p.tags.any:
		for _, tag := range p.tags.tags {
			matches = slices.AppendSeq(matches, v.Tagged(c.Kind, tag))
		}
	case len(p.tags.tags) > 0:
		matches = slices.Collect(v.Tagged(c.Kind, p.tags.tags[0]))
	case p.after != nil:
		return v.From(c.Kind, p.after[0])
	default:
		return v.All(c.Kind)
	}
	return byID(matches)
}

// byID sorts entities and walks them without repeats.
func byID(entities []*fsm.Entity) iter.Seq[*fsm.Entity] {
	slices.SortFunc(entities, func(a, b *fsm.Entity) int { return cmp.Compare(a.ID, b.ID) })
	return slices.Values(slices.Compact(entities))
}

// collect takes a page from a source, and says whether more follow.
func collect(from iter.Seq[*fsm.Entity], p *page, now int64) (entities []*fsm.Entity, more bool) {
	for e := range from {
		switch {
		case p.after != nil && e.ID <= p.after[0], e.Expired(now), !p.tags.matches(e):
			continue
		case len(entities) == p.size:
			return entities, true
		}
		entities = append(entities, e)
	}
	return entities, false
}

// pageBytes guesses the size of a page, so that it is allocated once.
func pageBytes(entities []*fsm.Entity) int {
	n := 256
	for _, e := range entities {
		n += len(e.Raw) + 24
	}
	return n
}

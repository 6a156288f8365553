package api

import (
	"cmp"
	"iter"
	"net/url"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// tagged is one row of GET /tags.
type tagged struct {
	EntityName string `json:"entity_name"`
	EntityID   string `json:"entity_id"`
	Tag        string `json:"tag"`
}

// allTags answers GET /tags.
func (a *API) allTags(q *request) (*reply, error) { return a.tagPage(q, "/tags", "") }

// entitiesOfTag answers GET /tags/{tag}.
func (a *API) entitiesOfTag(q *request) (*reply, error) {
	tag := q.params[0]
	if err := schema.ValidTag(tag); err != nil {
		return nil, kongError(codeInvalidUnique, "invalid unique tag", err.Error(), map[string]any{"tag": err.Error()})
	}
	return a.tagPage(q, "/tags/"+url.PathEscape(tag), tag)
}

// tagPage answers a page of rows, those of one tag if only is not "".
func (a *API) tagPage(q *request, path, only string) (*reply, error) {
	p, err := parsePage(q.query, 3, false)
	if err != nil {
		return nil, err
	}
	var after tagged
	if p.after != nil {
		after = tagged{p.after[0], p.after[1], p.after[2]}
	}
	v, now := q.view(), a.now()
	rows := make([]tagged, 0, p.size)
	body := map[string]any{"next": nil}
	for row := range a.tagRows(v, now, after, only) {
		if len(rows) == p.size {
			last := rows[p.size-1]
			offset := formatOffset(last.EntityName, last.EntityID, last.Tag)
			body["offset"], body["next"] = offset, p.next(path, offset, true)
			break
		}
		rows = append(rows, row)
	}
	body["data"] = rows
	text, err := encodeJSON(body)
	if err != nil {
		return nil, err
	}
	return readReply(v, text), nil
}

// tagRows walks the rows behind a given one (the zero value: all rows) in the order of kinds, ids and tags.
func (a *API) tagRows(v *fsm.View, now int64, after tagged, only string) iter.Seq[tagged] {
	first := max(0, slices.IndexFunc(a.collections, func(c *collection) bool { return c.Kind == after.EntityName }))
	behind := func(row tagged) bool {
		return row.EntityName != after.EntityName ||
			cmp.Or(cmp.Compare(row.EntityID, after.EntityID), cmp.Compare(row.Tag, after.Tag)) > 0
	}
	return func(yield func(tagged) bool) {
		for _, c := range a.collections[first:] {
			from := ""
			if c.Kind == after.EntityName {
				from = after.EntityID
			}
			entities := v.From(c.Kind, from)
			if only != "" {
				entities = byID(slices.Collect(v.Tagged(c.Kind, only)))
			}
			for e := range entities {
				for _, tag := range slices.Sorted(slices.Values(e.Tags())) {
					row := tagged{c.Kind, e.ID, tag}
					if e.Expired(now) || only != "" && tag != only || !behind(row) {
						continue
					}
					if !yield(row) {
						return
					}
				}
			}
		}
	}
}

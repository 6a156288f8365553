package requesttransformer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/expr"
)

// changes are those of one part of a request.
type changes struct {
	remove                       []string
	rename, replace, add, append []edit
}

func (c *changes) empty() bool {
	return len(c.remove)+len(c.rename)+len(c.replace)+len(c.add)+len(c.append) == 0
}

// edit is one entry.
type edit struct {
	name string
	// text is the value, or the slot that it has among the values of templates.
	text  string
	slot  int
	fixed bool
	// bare says that the entry has no value.
	bare bool
}

// value gives the value for a request.
func (e *edit) value(values []string) string {
	if e.fixed {
		return e.text
	}
	return values[e.slot]
}

// errNoName is about an entry that begins with a colon, or is empty.
var errNoName = errors.New("must begin with a name")

// split takes an entry apart at its first colons.
func split(entry string) (name, value string, err error) {
	name, value, _ = strings.Cut(entry, ":")
	if name == "" {
		return "", "", errNoName
	}
	return name, strings.TrimLeft(value, ":"), nil
}

// compiler makes changes of entries. The first error stays.
type compiler struct {
	dynamic []*template
	err     error
}

func (c *compiler) template(text string) *template {
	t, err := expr.CompileTemplate(text, lookUp)
	if err != nil && c.err == nil {
		c.err = err
	}
	return t
}

func (c *compiler) changes(cfg Config, of func(lists) []string) changes {
	var all changes
	for _, entry := range of(cfg.Remove) {
		all.remove = append(all.remove, c.edit(entry).name)
	}
	all.rename, all.replace = c.edits(of(cfg.Rename)), c.edits(of(cfg.Replace.lists))
	all.add, all.append = c.edits(of(cfg.Add)), c.edits(of(cfg.Append))
	return all
}

func (c *compiler) edits(entries []string) []edit {
	list := make([]edit, len(entries))
	for i, entry := range entries {
		list[i] = c.edit(entry)
	}
	return list
}

func (c *compiler) edit(entry string) edit {
	name, value, err := split(entry)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("%q: %w", entry, err)
	}
	e := edit{name: name, bare: value == ""}
	t := c.template(value)
	if c.err != nil {
		return e
	}
	if e.text, e.fixed = t.Constant(); !e.fixed {
		e.slot = len(c.dynamic)
		c.dynamic = append(c.dynamic, t)
	}
	return e
}

// isHost says whether a field is Host, which is not among the fields that change.
func isHost(name string) bool { return strings.EqualFold(name, "host") }

// editHeaders changes the fields that go to the service.
func (c *changes) editHeaders(ex *plugin.Exchange, values []string) {
	h := ex.Request.Header
	for _, name := range c.remove {
		if !isHost(name) {
			h.Del(name)
		}
	}
	for i := range c.rename {
		e := &c.rename[i]
		if h.Has(e.name) {
			renameHeader(h, e.name, e.value(values))
		}
	}
	for i := range c.replace {
		e := &c.replace[i]
		switch value := e.value(values); {
		case e.bare:
		case isHost(e.name):
			if value != "" {
				ex.Upstream.HostHeader = value
			}
		case h.Has(e.name):
			h.Set(e.name, value)
		}
	}
	for i := range c.add {
		if e := &c.add[i]; !e.bare && !isHost(e.name) && !h.Has(e.name) {
			h.Add(e.name, e.value(values))
		}
	}
	for i := range c.append {
		if e := &c.append[i]; !e.bare && !isHost(e.name) {
			h.Add(e.name, e.value(values))
		}
	}
}

// renameHeader moves all values of a field to another name, or to another spelling
// of its own.
func renameHeader(h plugin.Header, from, to string) {
	if isHost(from) || isHost(to) || schema.ValidHeaderName(to) != nil {
		return // a template may give anything
	}
	var values []string
	h.Each(from, func(value string) bool {
		values = append(values, value)
		return true
	})
	h.Del(from)
	h.Del(to)
	for _, value := range values {
		h.Add(to, value)
	}
}

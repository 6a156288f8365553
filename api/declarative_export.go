package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/internal/yamldoc"
)

// exportVersion is of the format that is written.
const exportVersion = "3.0"

// keptTimes are the kinds whose created_at means something: it decides between routes that match alike, and a
// token's time is counted from it. Other times are left out, so that equal configurations have equal exports.
var keptTimes = []string{"routes", "oauth2_tokens"}

// export writes a configuration as a declarative file: flat, the kinds in their order, the entities of a kind by
// name. What is null by itself is left out, and references are by name where there is one. Read in again, it
// changes nothing, unless secrets are masked: such a file is refused.
func (a *API) export(v *fsm.View, secrets bool) (yamldoc.Object, error) {
	doc := yamldoc.Object{{Name: "_format_version", Value: exportVersion}, {Name: "_transform", Value: false}}
	x := &exporter{a: a, v: v, secrets: secrets, now: a.now(), names: make(map[[2]string]string)}
	for _, c := range a.declared() {
		list, err := x.kind(c)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			doc = append(doc, yamldoc.Member{Name: c.Kind, Value: list})
		}
	}
	return doc, nil
}

type exporter struct {
	a       *API
	v       *fsm.View
	secrets bool
	now     int64
	names   map[[2]string]string // of what is referred to, by kind and id
}

// exported is an entity with what it is sorted by.
type exported struct {
	name, id string
	object   yamldoc.Object
}

func (x *exporter) kind(c *collection) ([]yamldoc.Object, error) {
	var all []exported
	for e := range x.v.All(c.Kind) {
		if e.Expired(x.now) {
			continue
		}
		one, err := x.entity(c, e)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b exported) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
	})
	list := make([]yamldoc.Object, len(all))
	for i := range all {
		list[i] = all[i].object
	}
	return list, nil
}

func (x *exporter) entity(c *collection, e *fsm.Entity) (exported, error) {
	fields, err := fieldsOf(e)
	if err != nil {
		return exported{}, err
	}
	if !slices.Contains(keptTimes, c.Kind) {
		delete(fields, "created_at")
	}
	delete(fields, "updated_at")
	if !x.secrets {
		x.a.mask(c.Kind, fields)
	}
	c.schema.Brief(fields)
	for f := range c.schema.ForeignFields() {
		if id := referenceID(fields, f.Name); id != "" {
			fields[f.Name] = x.reference(f.Reference, id)
		}
	}
	if e.ExpiresAt != 0 {
		fields["ttl"] = json.Number(fmt.Sprint(e.ExpiresAt)) // a time, see takeExpiry
	}
	first := c.Key
	if c.Kind == "plugins" {
		first = "name"
	}
	one := exported{id: e.ID}
	one.name, _ = fields[first].(string)
	for _, name := range []string{first, "id"} {
		if value, ok := fields[name]; ok {
			one.object = append(one.object, yamldoc.Member{Name: name, Value: value})
			delete(fields, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		one.object = append(one.object, yamldoc.Member{Name: name, Value: fields[name]})
	}
	return one, nil
}

// reference names an entity: by its name if that can be taken for nothing else, or by its id.
func (x *exporter) reference(kind, id string) string {
	at := [2]string{kind, id}
	if name, known := x.names[at]; known {
		return name
	}
	name := ""
	if e := x.v.Get(kind, id); e != nil {
		name = x.a.nameOf(e)
	}
	if name == "" || schema.IsUUID(name) {
		name = id
	}
	x.names[at] = name
	return name
}

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

// exportForm says how an export is written.
type exportForm struct {
	secrets bool // not masked
	nested  bool // as decK writes files, and reads them
}

// export writes a configuration as a declarative file: flat or nested, the kinds in their order, the entities of a
// kind by name. What is null by itself is left out, and references are by name where there is one. Read in again,
// it changes nothing, unless secrets are masked: such a file is refused.
func (a *API) export(v *fsm.View, form exportForm) (yamldoc.Object, error) {
	doc := yamldoc.Object{{Name: "_format_version", Value: exportVersion}}
	if !form.nested || hasHashes(v) { // decK reads no files with it
		doc = append(doc, yamldoc.Member{Name: "_transform", Value: false})
	}
	x := &exporter{a: a, v: v, exportForm: form, now: a.now(), kinds: a.declared(),
		names: make(map[[2]string]string), within: make(map[place][]exported)}
	for _, c := range x.kinds {
		if err := x.kind(c); err != nil {
			return nil, err
		}
	}
	return x.members(doc, "", ""), nil
}

type exporter struct {
	exportForm
	a      *API
	v      *fsm.View
	now    int64
	kinds  []*collection        // in the order of the file
	names  map[[2]string]string // of what is referred to, by kind and id
	within map[place][]exported // what has been read, by where it is written
}

// place is where the entities of a kind are written: in another entity, or at the top, which has no kind.
type place struct{ kind, id, child string }

// exported is an entity with what it is sorted by.
type exported struct {
	name, id string
	object   yamldoc.Object
}

// kind reads the entities of a kind.
func (x *exporter) kind(c *collection) error {
	for e := range x.v.All(c.Kind) {
		if e.Expired(x.now) {
			continue
		}
		fields, err := fieldsOf(e)
		if err != nil {
			return err
		}
		at := place{child: c.Kind}
		if x.nested {
			at.kind, at.id = x.a.nest(c, fields)
		}
		x.within[at] = append(x.within[at], x.entity(c, e, fields))
	}
	return nil
}

// members appends to an object, or to the file, what is written in it.
func (x *exporter) members(to yamldoc.Object, kind, id string) yamldoc.Object {
	for _, c := range x.kinds {
		all := x.within[place{kind, id, c.Kind}]
		if len(all) == 0 {
			continue
		}
		slices.SortFunc(all, func(a, b exported) int {
			return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
		})
		list := make([]yamldoc.Object, len(all))
		for i := range all {
			if list[i] = all[i].object; x.nested {
				list[i] = x.members(list[i], c.Kind, all[i].id)
			}
		}
		to = append(to, yamldoc.Member{Name: c.Kind, Value: list})
	}
	return to
}

// hasHashes says whether there are secrets that are stored as hashes, and are not to be hashed once more when the
// file is read.
func hasHashes(v *fsm.View) bool {
	for range v.All("basicauth_credentials") {
		return true
	}
	for e := range v.All("oauth2_credentials") {
		if fields, err := fieldsOf(e); err != nil || fields["hash_secret"] == true {
			return true
		}
	}
	return false
}

// nest takes the reference out of an entity by which it belongs to another, and says to which: what belongs to one
// only is written there. keys stay at the top, where decK has them.
func (a *API) nest(c *collection, fields map[string]any) (kind, id string) {
	belongs := ""
	for _, f := range c.Foreign {
		if f.List || fields[f.Field] == nil {
			continue
		}
		owner := a.byKind[f.Kind]
		if belongs != "" || c.Kind == "keys" || f.OnDelete != fsm.Cascade && c.Kind != "routes" || owner == nil || keepsField(owner, c.Kind) {
			return "", ""
		}
		belongs, kind, id = f.Field, f.Kind, referenceID(fields, f.Field)
	}
	delete(fields, belongs)
	return kind, id
}

func (x *exporter) entity(c *collection, e *fsm.Entity, fields map[string]any) exported {
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
			fields[f.Name] = x.reference(c, f.Reference, id)
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
	return one
}

// reference is what c's entities say of one that they refer to: its name, or where decK wants that, an object with
// it.
func (x *exporter) reference(c *collection, kind, id string) any {
	name := x.name(kind, id)
	owner := x.a.byKind[kind]
	switch {
	case !x.nested || c.Kind == "plugins" || c.Kind == "services":
		return name
	case name == id || owner == nil:
		return yamldoc.Object{{Name: "id", Value: id}}
	}
	return yamldoc.Object{{Name: owner.Key, Value: name}}
}

// name names an entity: by its name if that can be taken for nothing else, or by its id.
func (x *exporter) name(kind, id string) string {
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

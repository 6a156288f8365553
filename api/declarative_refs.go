package api

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
)

// nobody stands for a reference that is refused already, so that the schema does not refuse it once more.
const nobody = "00000000-0000-0000-0000-000000000000"

// resolve puts ids in the place of references by name: of what is in the file, else of what stays of the
// configuration. It says whether all of them were found.
func (im *importer) resolve(w *wanted) bool {
	whole := true
	for f := range w.coll.schema.ForeignFields() {
		value := w.in[f.Name]
		if value == nil || w.parent != nil && f.Name == w.field {
			continue
		}
		name, set, ok := referred(im.a.byKind[f.Reference], value)
		if !ok {
			continue // for the schema to refuse
		}
		w.names[f.Name] = name
		id := im.find(f.Reference, set, name)
		if id == "" {
			im.missing(w, f.Name, f.Reference, value)
			id, whole = nobody, false
		}
		w.in[f.Name] = map[string]any{"id": id}
	}
	for _, f := range w.coll.Foreign {
		ids, _ := w.in[f.Field].([]any)
		for _, v := range ids {
			if id, ok := v.(string); f.List && ok && schema.IsUUID(id) && im.find(f.Kind, 0, id) == "" {
				im.missing(w, f.Field, f.Kind, id)
				whole = false
			}
		}
	}
	return whole
}

// referred reads a reference: an id or a name, or an object with one of them. set is the unique set that the name
// is of.
func referred(parent *collection, value any) (name string, set int, ok bool) {
	switch value := value.(type) {
	case string:
		return value, 0, true
	case map[string]any:
		if id, ok := value["id"].(string); ok {
			return id, 0, true
		}
		if parent == nil {
			return "", 0, false
		}
		for i, fields := range parent.Unique {
			if name, ok := value[fields[0]].(string); ok && len(fields) == 1 {
				return name, i, true
			}
		}
	}
	return "", 0, false
}

// find gives the id of what a reference names, or "".
func (im *importer) find(kind string, set int, name string) string {
	c := im.a.byKind[kind]
	if c == nil || name == "" {
		return ""
	}
	named := set < len(c.Unique) && len(c.Unique[set]) == 1
	if named {
		for _, known := range []map[uniqueOf]*wanted{im.byKey, im.broken} {
			if w := known[uniqueOf{kind, set, name}]; w != nil {
				return w.id
			}
		}
	}
	id := strings.ToLower(name)
	if im.byID[[2]string{kind, id}] != nil {
		return id
	}
	e := im.v.Get(kind, id)
	if e == nil && named {
		e = im.v.LookupUnique(kind, set, name)
	}
	if e == nil || im.byID[[2]string{kind, e.ID}] != nil || !im.stays(e) { // in the file it has another name
		return ""
	}
	return e.ID
}

// missing says that a reference names nothing, in Kong's words.
func (im *importer) missing(w *wanted, field, kind string, value any) {
	text, ok := value.(string)
	if !ok {
		data, err := json.Marshal(value)
		if err != nil {
			data = []byte("?")
		}
		text = string(data)
	}
	im.failed.missing = true
	key := w.called()
	if key == "" {
		key = fmt.Sprint(w.index + 1)
	}
	im.failed.put(problem{item: w.item, key: key,
		what: []any{fmt.Sprintf("invalid reference '%s: %s' (no such entry in '%s')", field, text, kind)}})
}

package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// Which entity an item of a document is. One with an id is that; one without is the entity that has its name
// (any of the kind's unique sets), so that nothing is removed to be made again; and if there is none its id is
// made of the name, as Kong makes it, or of its content.

// declaredNamespace is Kong's, for ids of declared entities (RFC 9562, section 5.5): a kind's own is the id of its
// name in it.
var declaredNamespace = uuid.MustParse("fd02801f-0957-4a15-a55a-c8d9606f30b5")

func declaredID(kind, key string) string {
	return uuid.NewSHA1(uuid.NewSHA1(declaredNamespace, []byte(kind)), []byte(key)).String()
}

// declaredKeys are the kinds whose ids Kong makes of several fields, or of a field behind a prefix. Credentials
// that are named by a secret are not among them: Kong gives those random ids.
var declaredKeys = map[string][]string{
	"plugins":               {"name", "route", "service", "consumer"},
	"targets":               {"upstream", "target"},
	"keys":                  {"kid", "set"},
	"vaults":                {"prefix"},
	"basicauth_credentials": {"username"},
	"hmacauth_credentials":  {"username"},
	"acls":                  {"consumer", "group"},
}

// identify gives every item of a kind its id.
func (im *importer) identify(c *collection, list []*wanted) {
	for _, w := range list {
		id, given := w.in["id"].(string)
		if !given || !schema.IsUUID(id) {
			continue
		}
		if id = strings.ToLower(id); im.byID[[2]string{c.Kind, id}] != nil {
			im.failed.add(w.item, fmt.Sprintf("uniqueness violation: '%s' entity with primary key set to '%s' already declared", c.Kind, id))
			w.id, w.entity = id, nil
			continue
		}
		im.claim(w, id)
	}
	for _, w := range list {
		if w.id == "" && w.entity != nil {
			if e := im.namesake(w); e != nil {
				im.claim(w, e.ID)
			}
		}
	}
	for _, w := range list {
		if w.id == "" {
			im.claim(w, im.newID(w))
		}
	}
}

// claim makes an item the entity of an id.
func (im *importer) claim(w *wanted, id string) {
	w.id = id
	im.byID[[2]string{w.coll.Kind, id}] = w
	if e := im.v.Get(w.coll.Kind, id); e != nil && !e.Expired(im.now) {
		w.old = e
	}
}

// namesake finds the entity of the configuration that an item without an id is.
func (im *importer) namesake(w *wanted) *fsm.Entity {
	free := func(e *fsm.Entity) bool {
		return e != nil && !e.Expired(im.now) && im.byID[[2]string{e.Kind, e.ID}] == nil
	}
	for i := range w.coll.Unique {
		if e := im.v.LookupUnique(w.coll.Kind, i, w.coll.UniqueKey(i, w.entity)); free(e) {
			return e
		}
	}
	if w.coll.Kind != "certificates" {
		return nil
	}
	for _, child := range w.children { // a certificate is named by its SNIs
		name, _ := child.fields["name"].(string)
		if sni := im.v.Lookup("snis", name); child.coll.Kind == "snis" && sni != nil {
			if e := im.v.Get("certificates", sni.Ref("certificate")); free(e) {
				return e
			}
		}
	}
	return nil
}

// newID makes the id of an item that is no entity of the configuration.
func (im *importer) newID(w *wanted) string {
	key, named := im.declaredKey(w)
	switch {
	case named && key == "":
		return im.a.cfg.NewID()
	case !named:
		key = im.content(w)
	}
	id := declaredID(w.coll.Kind, key)
	for {
		// An entity that has the id and another name was renamed since.
		taken := im.byID[[2]string{w.coll.Kind, id}] != nil || named && im.v.Get(w.coll.Kind, id) != nil
		if !taken {
			return id
		}
		at := [2]string{w.coll.Kind, key}
		im.repeats[at]++ // so that ten thousand of the same are not tried one after the other each time
		id = declaredID(w.coll.Kind, fmt.Sprintf("%s#%d", key, im.repeats[at]))
	}
}

// declaredKey is what Kong makes an item's id of. It is "" for one that is named by a secret, of which an id must
// tell nothing; named is false if the item has no name at all.
func (im *importer) declaredKey(w *wanted) (key string, named bool) {
	if fields := declaredKeys[w.coll.Kind]; fields != nil {
		parts := []string{w.coll.Kind, "*"}
		for _, name := range fields {
			part, _ := w.in[name].(string)
			if reference, ok := w.names[name]; ok {
				part = reference
			} else if name == w.field {
				part = im.wanted[w.parent].id
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ":"), true
	}
	switch w.coll.Kind {
	case "certificates", "ca_certificates":
		return "", false
	}
	for i, set := range w.coll.Unique {
		value, _ := w.in[set[0]].(string)
		switch {
		case value == "" || len(set) > 1:
		case isSecret(w.coll.Kind, set[0]) || w.coll.schema.Field(set[0]).Auto:
			return "", true
		case i > 0: // a consumer's custom_id; Kong gives it a random one
			return set[0] + "=" + value, true
		default:
			return value, true
		}
	}
	return "", false
}

// content is what an item without a name is told by: all of it but its secrets. Of a certificate that is the
// certificate.
func (im *importer) content(w *wanted) string {
	fields := maps.Clone(w.in)
	switch w.coll.Kind {
	case "certificates", "ca_certificates":
		fields = map[string]any{"cert": w.in["cert"]}
	default:
		for name := range fields {
			if isSecret(w.coll.Kind, name) {
				delete(fields, name)
			}
		}
	}
	text, err := json.Marshal(fields) // sorted by name
	if err != nil {
		return im.a.cfg.NewID() // what JSON cannot hold was refused before
	}
	return string(text)
}

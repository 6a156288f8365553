package api

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// importer plans what a document makes of a configuration. The kinds come one after the other, a referenced one
// before those that refer to it, so that a name is known when it is referred to.
type importer struct {
	a      *API
	doc    *document
	v      *fsm.View
	now    int64
	merge  bool // nothing is removed
	failed *declarativeError

	wanted  map[*item]*wanted
	order   []*wanted
	byID    map[[2]string]*wanted // by kind and id
	byKey   map[uniqueOf]*wanted
	broken  map[uniqueOf]*wanted // items that are refused, so that references to them are not refused too
	repeats map[[2]string]int    // how many ids were tried beyond the first one, by kind and what they are made of
}

// uniqueOf is a key of a kind's unique set.
type uniqueOf struct {
	kind string
	set  int
	key  string
}

// wanted is an item on its way to be an entity.
type wanted struct {
	*item
	in     map[string]any    // as the schema is given it
	names  map[string]string // what references are called in the file
	entity map[string]any    // nil if it is refused
	id     string
	old    *fsm.Entity    // of that id, nil if there is none
	stored map[string]any // its fields
	// expires is when the file says that the entity's time is over, 0 if it does not.
	expires int64
	op      fsm.Op // nothing if there is nothing to do
}

func (a *API) newImporter(doc *document, failed *declarativeError, merge bool, d *fsm.Draft) *importer {
	problems := *failed
	problems.fields, problems.problems = maps.Clone(failed.fields), slices.Clone(failed.problems)
	return &importer{a: a, doc: doc, v: d.View(), now: a.now(), merge: merge, failed: &problems,
		wanted: make(map[*item]*wanted), byID: make(map[[2]string]*wanted), byKey: make(map[uniqueOf]*wanted),
		broken: make(map[uniqueOf]*wanted), repeats: make(map[[2]string]int)}
}

// run makes of a draft what the document says.
func (im *importer) run(d *fsm.Draft) error {
	for _, c := range im.a.declared() {
		var list []*wanted
		for _, it := range im.doc.items[c.Kind] {
			if w := im.want(it); w != nil {
				list = append(list, w)
			}
		}
		im.identify(c, list)
		for _, w := range list {
			im.settle(w)
		}
		im.order = append(im.order, list...)
	}
	im.collisions()
	if err := im.failed.orNil(); err != nil {
		return err
	}
	if refused := d.Together(im.operations()...); refused != nil {
		if refused.Code == fsm.CodeRefused {
			return refused
		}
		im.failed.field("error", refused.Message)
		return im.failed
	}
	for _, w := range im.order {
		if check := w.coll.hooks.check; check != nil && w.op.Kind != "" {
			if err := check(im.a, d.View(), w.entity); err != nil {
				im.failed.refused(w.item, err)
			}
		}
	}
	return im.failed.orNil()
}

const msgMasked = "a secret is masked as '***' here: export with secrets (--with-secrets), or write it in"

// want makes the entity of an item but for its id, or says what is wrong with it. It is nil for one whose time
// is over.
func (im *importer) want(it *item) *wanted {
	w := &wanted{item: it, in: maps.Clone(it.fields), names: make(map[string]string)}
	if it.parent != nil {
		parent := im.wanted[it.parent]
		if parent == nil {
			return nil
		}
		im.nest(w, parent)
	}
	if im.takeExpiry(w); w.expires != 0 && w.expires <= im.now {
		return nil
	}
	im.wanted[it] = w
	c := it.coll
	im.addTags(w)
	whole := im.resolve(w)
	if place := maskedPlace(c, w.in); place != "" {
		im.failed.refused(it, schema.FieldViolation(place, msgMasked))
		return w
	}
	if err := im.a.admit(c, w.in, nil); err != nil {
		im.failed.refused(it, err)
		return w
	}
	schemas := im.a.schemas
	schemas.Sealed = im.doc.sealed
	entity, violation := c.schema.Insert(schemas, w.in)
	switch {
	case violation != nil:
		im.failed.refused(it, violation)
	case whole:
		if err := checkResolved(c.schema, entity); err != nil {
			im.failed.refused(it, err)
			return w
		}
		w.entity = entity
	}
	return w
}

// nest makes an item refer to the one that it is nested in. If it says itself what it belongs to, that must be the
// same.
func (im *importer) nest(w, parent *wanted) {
	given := w.in[w.field]
	w.in[w.field] = map[string]any{"id": parent.id}
	if given == nil {
		return
	}
	name, set, ok := referred(parent.coll, given)
	if ok && (strings.EqualFold(name, parent.id) || set < len(parent.coll.Unique) && parent.in[parent.coll.Unique[set][0]] == name) {
		return
	}
	im.missing(w, w.field, parent.coll.Kind, given)
}

// takeExpiry reads a ttl that is a time and no span: dumps have it, of Kong and of Sluice, as what is left at the
// time of the dump would mean nothing later.
func (im *importer) takeExpiry(w *wanted) {
	if !w.coll.TTL {
		return
	}
	if at, ok := wholeNumber(w.in["ttl"]); ok && at > schema.TTLMax {
		w.expires = at
		delete(w.in, "ttl")
	}
}

func wholeNumber(v any) (int64, bool) {
	number, ok := v.(interface{ Int64() (int64, error) }) // json.Number
	if !ok {
		n, isInt := v.(int64)
		return n, isInt
	}
	n, err := number.Int64()
	return n, err == nil
}

// addTags gives an entity the tags by which the file selects, as decK does.
func (im *importer) addTags(w *wanted) {
	if len(im.doc.selectTags) == 0 || w.coll.schema.Field("tags") == nil {
		return
	}
	tags, ok := texts(w.in["tags"])
	if !ok {
		return // the schema says it
	}
	for _, tag := range im.doc.selectTags {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	w.in["tags"] = schema.Strings(tags...)
}

// settle gives an entity its id, keeps of the one that is there what the file does not speak of, and makes the
// operation.
func (im *importer) settle(w *wanted) {
	if w.entity == nil {
		for i, set := range w.coll.Unique {
			if name, ok := w.in[set[0]].(string); ok && len(set) == 1 {
				im.broken[uniqueOf{w.coll.Kind, i, name}] = w
			}
		}
		return
	}
	w.entity["id"] = w.id
	if !im.declare(w) {
		return
	}
	var err error
	if w.old != nil {
		if w.stored, err = fieldsOf(w.old); err == nil {
			im.carry(w)
		}
	}
	if err == nil {
		err = im.operation(w)
	}
	if err != nil {
		im.failed.refused(w.item, err)
	}
}

// declare notes what the entity is called, and refuses a second one of that name.
func (im *importer) declare(w *wanted) bool {
	for i, set := range w.coll.Unique {
		key := w.coll.UniqueKey(i, w.entity)
		if key == "" {
			continue
		}
		at := uniqueOf{w.coll.Kind, i, key}
		if im.byKey[at] != nil {
			p := problem{item: w.item, what: im.notUnique(w, set) + " already declared"}
			if i > 0 {
				p.key = w.called()
			}
			im.failed.put(p)
			return false
		}
		im.byKey[at] = w
	}
	return true
}

// notUnique is the beginning of Kong's message.
func (im *importer) notUnique(w *wanted, set []string) string {
	values := make([]string, len(set))
	for i, name := range set {
		switch value := w.entity[name].(type) {
		case map[string]any:
			values[i] = fmt.Sprint(value["id"])
		case nil:
			values[i] = "null"
		default:
			values[i] = fmt.Sprint(value)
		}
		if isSecret(w.coll.Kind, name) {
			values[i] = mask
		}
	}
	return fmt.Sprintf("uniqueness violation: '%s' entity with %s set to '%s'", w.coll.Kind, strings.Join(set, ", "), strings.Join(values, ", "))
}

// called is what an item is called in messages.
func (w *wanted) called() string {
	if name, ok := w.in[w.coll.Key].(string); ok && name != "" && !isSecret(w.coll.Kind, w.coll.Key) {
		return name
	}
	if w.id != "" {
		return w.id
	}
	id, _ := w.in["id"].(string)
	return id
}

// carry keeps of a stored entity what was made up for it and is not in the file.
func (im *importer) carry(w *wanted) {
	if w.in["created_at"] == nil && w.stored["created_at"] != nil {
		w.entity["created_at"] = w.stored["created_at"]
	}
	carryDrawn(w.coll.schema.For(w.entity).Fields, w.in, w.entity, w.stored)
	if text, ok := w.in["client_secret"].(string); ok && w.coll.Kind == "oauth2_credentials" && !im.doc.sealed {
		if hash, ok := w.stored["client_secret"].(string); ok && schema.SameSecret(hash, text) {
			w.entity["client_secret"] = hash // another salt is no other secret
		}
	}
	if ttl, ok := w.entity["ttl"].(int64); ok && w.in["created_at"] == nil {
		if created, ok := wholeNumber(w.stored["created_at"]); ok {
			w.expires = created + ttl
		}
	}
}

// carryDrawn keeps keys and secrets that were drawn.
func carryDrawn(fields []schema.Field, given, entity, stored map[string]any) {
	for i := range fields {
		f := &fields[i]
		_, isGiven := given[f.Name]
		switch {
		case f.Auto && f.Type == schema.String && !f.UUID && !f.Derived:
			if !isGiven && stored[f.Name] != nil {
				entity[f.Name] = stored[f.Name]
			}
		case f.Type == schema.Record:
			in, _ := given[f.Name].(map[string]any)
			now, ok1 := entity[f.Name].(map[string]any)
			before, ok2 := stored[f.Name].(map[string]any)
			if ok1 && ok2 {
				carryDrawn(f.Fields, in, now, before)
			}
		}
	}
}

// operation makes the operation that stores an entity, none if that would change nothing.
func (im *importer) operation(w *wanted) error {
	touched, timed := w.entity["updated_at"]
	if w.old != nil && timed {
		w.entity["updated_at"] = w.stored["updated_at"]
	}
	op, err := w.coll.operation(fsm.Put, w.entity, im.now, w.expires, w.expires != 0)
	if err != nil {
		return err
	}
	if w.old != nil && op.ExpiresAt == w.old.ExpiresAt && bytes.Equal(op.Raw, appendPlain(nil, w.old.Raw)) {
		return nil
	}
	if w.old != nil && timed {
		w.entity["updated_at"] = touched
		if op.Raw, err = encodeJSON(w.coll.lasting(w.entity)); err != nil {
			return err
		}
	}
	w.op = op
	return nil
}

// collisions finds names that entities have which are not in the file and stay.
func (im *importer) collisions() {
	for _, w := range im.order {
		if w.entity == nil || w.op.Kind == "" {
			continue
		}
		for i, set := range w.coll.Unique {
			key := w.coll.UniqueKey(i, w.entity)
			e := im.v.LookupUnique(w.coll.Kind, i, key)
			if e == nil || e.ID == w.id || im.byID[[2]string{e.Kind, e.ID}] != nil || !im.stays(e) {
				continue
			}
			im.failed.add(w.item, im.notUnique(w, set)+" exists already, with the id "+e.ID)
			break
		}
	}
}

// stays says that an entity that is not in the file is left alone.
func (im *importer) stays(e *fsm.Entity) bool {
	return !e.Expired(im.now) && (im.merge || !im.selected(e))
}

// selected says that the file is about an entity of the configuration.
func (im *importer) selected(e *fsm.Entity) bool {
	for _, tag := range im.doc.selectTags {
		if !slices.Contains(e.Tags(), tag) {
			return false
		}
	}
	return true
}

// operations are all that is to be done.
func (im *importer) operations() (ops []fsm.Op) {
	for _, w := range im.order {
		if w.op.Kind != "" {
			ops = append(ops, w.op)
		}
	}
	if im.merge {
		return ops
	}
	for _, c := range im.a.declared() {
		for e := range im.v.All(c.Kind) {
			if im.byID[[2]string{c.Kind, e.ID}] == nil && !im.stays(e) && !e.Expired(im.now) {
				ops = append(ops, fsm.Op{Verb: fsm.Delete, Kind: c.Kind, ID: e.ID})
			}
		}
	}
	return ops
}

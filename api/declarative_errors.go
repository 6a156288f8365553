package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// codeDeclarative is Kong's code of a configuration that is wrong.
const codeDeclarative fsm.Code = 14

const (
	// maxProblems bounds how many problems of a configuration are told.
	maxProblems = 1000
	// maxHoles bounds the nulls in front of the first problem of a list; behind it, lists are objects by number.
	maxHoles = 1 << 15
)

// declarativeError is all that is wrong with a declarative configuration.
type declarativeError struct {
	fields   map[string]any // of the document itself
	problems []problem      // of entities
	more     int            // that are not told
	// missing says that something refers to what is not there, which this node may only not have seen yet.
	missing bool
	// flatten asks for Kong's list of errors by entity.
	flatten bool
}

// problem is what is wrong with an item: a message, or a tree of them by field.
type problem struct {
	item *item
	what any
	// key is set where Kong tells the item by its name or id, and not by its place.
	key string
}

func newDeclarativeError() *declarativeError {
	return &declarativeError{fields: make(map[string]any)}
}

// unreadable is the error of a text that is no configuration at all.
func unreadable(err error) error {
	e := newDeclarativeError()
	e.field("error", "failed parsing declarative configuration: "+err.Error())
	return e
}

func (e *declarativeError) field(name, message string) { e.fields[name] = message }

func (e *declarativeError) add(it *item, what any) { e.put(problem{item: it, what: what}) }

func (e *declarativeError) put(p problem) {
	if len(e.problems) == maxProblems {
		e.more++
		return
	}
	e.problems = append(e.problems, p)
}

// at adds a problem of a field of an item, or of the document if that is nil.
func (e *declarativeError) at(it *item, field, message string) {
	if it == nil {
		e.field(field, message)
		return
	}
	e.add(it, map[string]any{field: message})
}

// refused adds what a check said about an item.
func (e *declarativeError) refused(it *item, err error) {
	var violation *schema.Violation
	var kong *fsm.Error
	switch {
	case errors.As(err, &violation):
		e.add(it, violation.Fields)
	case errors.As(err, &kong):
		e.add(it, kong.Message)
	default:
		e.add(it, err.Error())
	}
}

// orNil gives the error if anything is wrong.
func (e *declarativeError) orNil() error {
	if len(e.fields) == 0 && len(e.problems) == 0 {
		return nil
	}
	return e
}

func (e *declarativeError) Error() string {
	return "declarative config is invalid: " + luaCompact(e.tree())
}

// tree is Kong's "fields": problems by kind and place in the file.
func (e *declarativeError) tree() map[string]any {
	root := maps.Clone(e.fields)
	if e.more > 0 {
		root["@more"] = fmt.Sprintf("and %d more problems", e.more)
	}
	if e.flatten {
		return root
	}
	if onlyKeyed(e.problems) {
		for _, p := range e.problems {
			kind, _ := root[p.item.coll.Kind].(map[string]any)
			if kind == nil {
				kind = make(map[string]any)
				root[p.item.coll.Kind] = kind
			}
			kind[p.key] = both(kind[p.key], p.what)
		}
		return root
	}
	nodes := make(map[*item]*problemNode)
	top := &problemNode{}
	for _, p := range e.problems {
		n := top.node(p.item, nodes)
		n.own = append(n.own, p.what)
	}
	maps.Copy(root, top.value().(map[string]any))
	return root
}

func onlyKeyed(problems []problem) bool {
	return !slices.ContainsFunc(problems, func(p problem) bool { return p.key == "" })
}

// both joins two lists of messages; of anything else the first one stays.
func both(first, second any) any {
	one, ok1 := first.([]any)
	two, ok2 := second.([]any)
	switch {
	case first == nil:
		return second
	case ok1 && ok2:
		return slices.Concat(one, two)
	}
	return first
}

// problemNode is what is wrong with an item and with what is nested in it.
type problemNode struct {
	own   []any
	lists map[string]map[int]*problemNode // by kind and index
}

func (top *problemNode) node(it *item, nodes map[*item]*problemNode) *problemNode {
	if it == nil {
		return top
	}
	if n := nodes[it]; n != nil {
		return n
	}
	parent := top.node(it.parent, nodes)
	if parent.lists == nil {
		parent.lists = make(map[string]map[int]*problemNode)
	}
	if parent.lists[it.coll.Kind] == nil {
		parent.lists[it.coll.Kind] = make(map[int]*problemNode)
	}
	n := &problemNode{}
	nodes[it] = n
	parent.lists[it.coll.Kind][it.index] = n
	return n
}

func (n *problemNode) value() any {
	if len(n.lists) == 0 && len(n.own) == 1 {
		return n.own[0]
	}
	value := make(map[string]any)
	for _, own := range n.own {
		if fields, ok := own.(map[string]any); ok {
			maps.Copy(value, fields)
			continue
		}
		list, _ := value["@entity"].([]any)
		value["@entity"] = append(slices.Clone(list), own)
	}
	for kind, list := range n.lists {
		value[kind] = sparse(list)
	}
	return value
}

// sparse gives a list with nulls where nothing is wrong, as Kong does, or an object if that would be many.
func sparse(list map[int]*problemNode) any {
	last := slices.Max(slices.Collect(maps.Keys(list)))
	if last > maxHoles {
		byNumber := make(map[string]any, len(list))
		for i, n := range list {
			byNumber[strconv.Itoa(i+1)] = n.value()
		}
		return byNumber
	}
	values := make([]any, last+1)
	for i, n := range list {
		values[i] = n.value()
	}
	return values
}

// declarativeReply answers it.
func (a *API) declarativeReply(e *declarativeError) *reply {
	body := struct {
		envelope
		Flattened *[]flattenedError `json:"flattened_errors,omitempty"`
	}{envelope: envelope{Code: codeDeclarative, Name: "invalid declarative configuration", Message: e.Error(), Fields: e.tree()}}
	if e.flatten {
		list := a.flattened(e)
		body.Flattened = &list
	}
	rep, err := jsonReply(http.StatusBadRequest, body)
	if err != nil {
		return messageReply(http.StatusBadRequest, e.Error())
	}
	return rep
}

// flattenedError is what is wrong with one entity, in the form that Kong gives to controllers.
type flattenedError struct {
	Name   string           `json:"entity_name,omitempty"`
	ID     string           `json:"entity_id,omitempty"`
	Tags   []string         `json:"entity_tags,omitempty"`
	Type   string           `json:"entity_type"`
	Entity map[string]any   `json:"entity"`
	Errors []flattenedField `json:"errors"`
}

type flattenedField struct {
	Type    string `json:"type"` // entity or field
	Field   string `json:"field,omitempty"`
	Message any    `json:"message"`
}

func (a *API) flattened(e *declarativeError) []flattenedError {
	list := []flattenedError{}
	places := make(map[*item]int)
	for _, p := range e.problems {
		i, known := places[p.item]
		if !known {
			i = len(list)
			places[p.item] = i
			list = append(list, a.flattenedItem(p.item))
		}
		list[i].Errors = categorized(list[i].Errors, "", p.what)
	}
	return list
}

func (a *API) flattenedItem(it *item) flattenedError {
	f := flattenedError{Type: strings.TrimSuffix(it.coll.Kind, "s"), Entity: a.maskedFields(it.coll, it.fields)}
	f.Name, _ = it.fields["name"].(string)
	if id, ok := it.fields["id"].(string); ok && schema.IsUUID(id) {
		f.ID = id
	}
	f.Tags, _ = texts(it.fields["tags"])
	if it.parent != nil {
		if id, ok := it.parent.fields["id"].(string); ok && schema.IsUUID(id) && f.Entity[it.field] == nil {
			f.Entity[it.field] = map[string]any{"id": id}
		}
	}
	return f
}

// categorized appends the messages of a tree with the paths of their fields.
func categorized(list []flattenedField, path string, what any) []flattenedField {
	switch what := what.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(what)) {
			below := name
			switch {
			case name == "@entity":
				below = ""
			case path != "":
				below = path + "." + name
			}
			list = categorized(list, below, what[name])
		}
	case []any:
		for i, part := range what {
			below := path
			if path != "" {
				below = path + "." + strconv.Itoa(i+1)
			}
			if part != nil {
				list = categorized(list, below, part)
			}
		}
	default:
		f := flattenedField{Type: "field", Field: path, Message: what}
		if path == "" {
			f.Type = "entity"
		}
		list = append(list, f)
	}
	return list
}

// luaName is what may be a key of a table without brackets.
var luaName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// luaCompact writes a tree of messages as the Lua table, on one line, that Kong has in its message.
func luaCompact(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			key := name
			if !luaName.MatchString(name) {
				key = `["` + name + `"]`
			}
			parts = append(parts, key+"="+luaCompact(v[name]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		hole := false
		for i, part := range v {
			switch {
			case part == nil:
				hole = true
			case hole:
				parts = append(parts, fmt.Sprintf("[%d]=%s", i+1, luaCompact(part)))
			default:
				parts = append(parts, luaCompact(part))
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

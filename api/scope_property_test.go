package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm"
)

// scopeWorld is an API that an administrator and somebody with a token for the tag a use in turns. What is outside
// of that scope is marked: its names and whatever else of it is shown contain the word secret, and a number that is
// never used twice.
type scopeWorld struct {
	h     *harness
	token string
	marks int
	said  strings.Builder // what the token's requests were
	saw   map[int]int     // how often there was which status
}

const scopeMark = "secret"

// scopeKinds are the collections that are used, with the fields that a body needs, in which # is something new.
var scopeKinds = map[string]map[string]any{
	"services":      {"name": "#", "host": "#"},
	"routes":        {"name": "#", "paths": []any{"/#"}},
	"consumers":     {"username": "#", "custom_id": "c#"},
	"plugins":       {"name": "echo", "instance_name": "#"},
	"upstreams":     {"name": "#"},
	"key-auths":     {"key": "#"},
	"acls":          {"group": "#"},
	"oauth2":        {"name": "#", "client_id": "#"},
	"oauth2_tokens": {"access_token": "#", "expires_in": 5},
	"key-sets":      {"name": "#"},
}

// kind is the collection of a path.
func (w *scopeWorld) kind(path string) *collection {
	for _, c := range w.h.api.collections {
		if c.Path == path {
			return c
		}
	}
	return nil
}

// body makes one for a kind. Of somebody outside the scope, what is new is marked.
func (w *scopeWorld) body(t *rapid.T, kind string, mark bool, partly bool) map[string]any {
	w.marks++
	word := fmt.Sprintf("n%d", w.marks)
	if mark {
		word = fmt.Sprintf("%s.%d", scopeMark, w.marks)
	}
	body := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(scopeKinds[kind])) {
		if partly && rapid.Bool().Draw(t, "leave out") {
			continue
		}
		text, err := json.Marshal(scopeKinds[kind][name])
		if err != nil {
			t.Fatal(err)
		}
		body[name] = json.RawMessage(strings.ReplaceAll(string(text), "#", word))
	}
	if partly && rapid.Bool().Draw(t, "take a name") && body["name"] != nil && kind != "plugins" {
		body["name"] = w.name(t, w.kind(kind).Kind)
	}
	for _, f := range w.kind(kind).Foreign {
		required := f.Field == "consumer" && kind != "plugins" || f.Field == "credential"
		if scopeKinds[w.h.api.byKind[f.Kind].Path] == nil || f.List || !required && rapid.Bool().Draw(t, "without") {
			continue
		}
		if rapid.Bool().Draw(t, "by id") {
			body[f.Field] = map[string]any{"id": w.id(t, f.Kind)}
		} else {
			body[f.Field] = map[string]any{w.h.api.byKind[f.Kind].Key: w.name(t, f.Kind)}
		}
	}
	switch tags := rapid.SampledFrom([]string{"", "a", "b", "a,b", "keep"}).Draw(t, "tags"); {
	case tags == "keep", kind == "oauth2_tokens":
	case mark:
		body["tags"] = []string{"b"}
	case tags == "":
		body["tags"] = nil
	default:
		body["tags"] = strings.Split(tags, ",")
	}
	return body
}

// id draws the id of an entity of a kind that is there, and name what names one; now and then of any kind.
func (w *scopeWorld) id(t *rapid.T, kind string) string {
	all := w.all(t, kind)
	if len(all) == 0 {
		return someID
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "entity")].ID
}

func (w *scopeWorld) name(t *rapid.T, kind string) string {
	all := w.all(t, kind)
	if len(all) == 0 {
		return "none"
	}
	e := all[rapid.IntRange(0, len(all)-1).Draw(t, "entity")]
	fields, err := fieldsOf(e)
	if err != nil {
		t.Fatal(err)
	}
	c := w.h.api.byKind[e.Kind]
	for _, key := range []string{c.Key, c.NestedKey} {
		if name, _ := fields[key].(string); name != "" {
			return name
		}
	}
	return e.ID
}

func (w *scopeWorld) all(t *rapid.T, kind string) (list []*fsm.Entity) {
	any := rapid.IntRange(0, 9).Draw(t, "of any kind") == 0
	inside := rapid.IntRange(0, 2).Draw(t, "inside") > 0
	for _, c := range w.h.api.collections {
		if scopeKinds[c.Path] == nil || !any && c.Kind != kind {
			continue
		}
		for e := range w.h.api.view().All(c.Kind) {
			if !inside || any || c.Path == "oauth2_tokens" || slices.Contains(e.Tags(), "a") {
				list = append(list, e)
			}
		}
	}
	return list
}

// path fills the segments of an endpoint.
func (w *scopeWorld) path(t *rapid.T, pattern string) string {
	return parameter.ReplaceAllStringFunc(pattern, func(kind string) string {
		kind = strings.Trim(kind, "{}")
		if rapid.Bool().Draw(t, "by id") {
			return w.id(t, kind)
		}
		return w.name(t, kind)
	})
}

// populate has the administrator make something, inside of the scope or outside.
func (w *scopeWorld) populate(t *rapid.T, kind string, outside bool) {
	body := w.body(t, kind, outside, false)
	if !outside && kind != "oauth2_tokens" {
		body["tags"] = []string{"a"}
	}
	if kind == "oauth2_tokens" { // whose scope is that of what it belongs to
		body["access_token"] = fmt.Sprintf("n%d", w.marks)
		for _, field := range []string{"credential", "service"} {
			if body[field] != nil && !w.inside(field, body[field].(map[string]any)) {
				body["access_token"] = fmt.Sprintf("%s.%d", scopeMark, w.marks)
			}
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w.h.json(http.MethodPost, "/"+kind, string(text))
}

// inside says whether what a field refers to is in the scope.
func (w *scopeWorld) inside(field string, reference map[string]any) bool {
	c := w.h.api.byKind[map[string]string{"credential": "oauth2_credentials", "service": "services"}[field]]
	id, _ := reference["id"].(string)
	if id == "" {
		id, _ = c.resolve(w.h.api.view(), reference)
	}
	e := w.h.api.view().Get(c.Kind, id)
	return e != nil && slices.Contains(e.Tags(), "a")
}

// attempt has the token do anything, and looks at what came of it.
func (w *scopeWorld) attempt(t *rapid.T) {
	var endpoints []*endpoint
	for _, e := range w.h.api.router.endpoints {
		if e.coll != nil && scopeKinds[e.coll.Path] != nil && !strings.Contains(e.pattern, "healthy") {
			endpoints = append(endpoints, e)
		}
	}
	draw := func() (method, path string, body map[string]any) {
		e := endpoints[rapid.IntRange(0, len(endpoints)-1).Draw(t, "endpoint")]
		method = rapid.SampledFrom(slices.Sorted(maps.Keys(e.methods))).Draw(t, "method")
		path = w.path(t, e.pattern)
		if method == "POST" || method == "PUT" || method == "PATCH" {
			body = w.body(t, e.coll.Path, false, method == "PATCH")
		}
		return method, path, body
	}
	method, path, body := draw()
	var text []byte
	var err error
	switch rapid.IntRange(0, 9).Draw(t, "shape") {
	case 0:
		method, path, body = "GET", rapid.SampledFrom([]string{"/tags", "/tags/b", "/tags/a"}).Draw(t, "tags"), nil
	case 1: // several at once
		var operations []map[string]any
		for range rapid.IntRange(1, 3).Draw(t, "operations") {
			m, p, b := draw()
			for m == "GET" || m == "HEAD" {
				m, p, b = draw()
			}
			operations = append(operations, map[string]any{"method": m, "path": p, "body": b})
		}
		method, path, body = "POST", "/transactions", map[string]any{"operations": operations}
	case 2:
		if method == "GET" {
			path += fmt.Sprintf("?as_of=%d", rapid.Uint64Range(0, w.h.api.view().Index()).Draw(t, "as of"))
		}
	case 3:
		if method == "GET" {
			path += rapid.SampledFrom([]string{"?tags=b", "?size=1", "?tags=a/b"}).Draw(t, "query")
		}
	}
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	before, then := w.h.outside("a"), w.h.api.view()
	r := w.h.as(w.token, method, path, string(text))
	if after := w.h.outside("a"); !slices.Equal(before, after) {
		t.Fatalf("%s %s %s: %d %s\nchanged what is outside:\n%q\n%q", method, path, text, r.status, r.body, before, after)
	}
	w.refers(t, method+" "+path+" "+string(text), then)
	w.saw[r.status]++
	if r.status >= 500 || r.status == 409 && strings.Contains(string(r.body), "keeps being changed") {
		t.Fatalf("%s %s %s: %d %s", method, path, text, r.status, r.body)
	}
	fmt.Fprintln(&w.said, method, path, string(text))
	w.shows(t, method+" "+path, r.body)
}

// refers demands that nothing has come to refer to what is outside, or to be for all requests.
func (w *scopeWorld) refers(t *rapid.T, request string, then *fsm.View) {
	now := w.h.api.view()
	for _, c := range w.h.api.collections {
		for e := range now.All(c.Kind) {
			was := then.Get(c.Kind, e.ID)
			for _, f := range c.Foreign {
				to := now.Get(f.Kind, e.Ref(f.Field))
				if to != nil && (was == nil || was.Ref(f.Field) != to.ID) && !slices.Contains(to.Tags(), "a") {
					t.Fatalf("%s\nmakes %s refer to %s", request, e.Raw, to.Raw)
				}
			}
			if c.Kind == "plugins" && everyRequest(e) && (was == nil || !everyRequest(was)) {
				t.Fatalf("%s\nis for everybody: %s", request, e.Raw)
			}
		}
	}
}

// shows demands that an answer has no mark in it that no request of the token had.
func (w *scopeWorld) shows(t *rapid.T, request string, body []byte) {
	text := string(body)
	for {
		i := strings.Index(text, scopeMark+".")
		if i < 0 {
			return
		}
		mark := text[i:]
		if end := strings.IndexFunc(mark[len(scopeMark)+1:], func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
			mark = mark[:len(scopeMark)+1+end]
		}
		if !strings.Contains(w.said.String(), mark) {
			t.Fatalf("%s\nshows %s, which is outside: %s", request, mark, body)
		}
		text = text[i+len(mark):]
	}
}

// TestScopeProperty: no sequence of requests reads or changes anything outside of a token's scope.
func TestScopeProperty(t *testing.T) {
	saw := map[int]int{}
	rapid.Check(t, func(rt *rapid.T) {
		h := newHarness(t, testPlugins())
		h.role("a", `{"collections":["*"],"actions":["*"],"tags":["a"]}`)
		w := &scopeWorld{h: h, token: h.token("a", "a"), saw: saw}
		// those that others refer to first
		for _, kind := range []string{"services", "consumers", "upstreams", "key-sets", "routes", "oauth2", "plugins", "key-auths", "acls", "oauth2_tokens", "plugins"} {
			w.populate(rt, kind, false)
			w.populate(rt, kind, true)
		}
		for range rapid.IntRange(15, 25).Draw(rt, "requests") {
			if rapid.IntRange(0, 4).Draw(rt, "administrator") == 0 {
				kind := rapid.SampledFrom(slices.Sorted(maps.Keys(scopeKinds))).Draw(rt, "kind")
				w.populate(rt, kind, rapid.Bool().Draw(rt, "outside"))
				continue
			}
			w.attempt(rt)
		}
	})
	for _, status := range []int{200, 201, 204, 400, 403, 404} {
		if saw[status] < 5 {
			t.Errorf("status %d only %d times: the test does not look (%v)", status, saw[status], saw)
		}
	}
	t.Log(saw)
}

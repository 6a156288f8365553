package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	nodeID  = "00000000-0000-4000-8000-000000000001"
	someID  = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	otherID = "9f2504e0-4f89-41d3-9a0c-0305e82c3302"

	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// oneNode is a cluster of one: a command is applied as soon as it is there.
type oneNode struct {
	mu      sync.Mutex
	machine *fsm.Machine
	index   uint64
	// before, if set, runs before a command is applied, once for each; an error is Apply's.
	before func(c *fsm.Command) error
	// late and served are what WaitAll and WaitServed give.
	late   []string
	served error
	waited []uint64
}

func (n *oneNode) Apply(_ context.Context, c *fsm.Command) (*fsm.Result, error) {
	if n.before != nil {
		if err := n.before(c); err != nil {
			return nil, err
		}
	}
	return n.apply(c)
}

// apply sends the result through JSON, as it comes from a leader on another node.
func (n *oneNode) apply(c *fsm.Command) (*fsm.Result, error) {
	data, err := c.Encode()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index++
	data, err = json.Marshal(n.machine.Apply(n.index, data))
	if err != nil {
		return nil, err
	}
	result := new(fsm.Result)
	return result, json.Unmarshal(data, result)
}

func (n *oneNode) WaitServed(_ context.Context, index uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waited = append(n.waited, index)
	return n.served
}

func (n *oneNode) WaitAll(context.Context, uint64) ([]string, error) { return n.late, nil }
func (n *oneNode) Status() any                                       { return map[string]any{"quorum": true} }
func (n *oneNode) ID() string                                        { return nodeID }

// harness is an API over a cluster of one, with a clock that only moves by hand.
type harness struct {
	t       testing.TB
	api     *API
	cluster *oneNode

	mu     sync.Mutex
	now    time.Time
	nextID string // of the next entities; "" is random
}

func newHarness(t testing.TB, plugins []*plugin.Definition, change ...func(*Config)) *harness {
	t.Helper()
	machine, err := fsm.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, cluster: &oneNode{machine: machine}, now: time.Unix(1795447786, 0)}
	cfg := Config{
		Cluster: h.cluster, Machine: machine,
		Plugins: func() []*plugin.Definition { return plugins },
		Now:     h.clock, NewID: h.newID,
	}
	for _, f := range change {
		f(&cfg)
	}
	h.api = New(cfg)
	return h
}

func (h *harness) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *harness) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *harness) newID() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.nextID != "" {
		return h.nextID
	}
	return uuid.NewString()
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (r answer) fields(t testing.TB) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(r.body, &fields); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return fields
}

func (r answer) message(t testing.TB) string {
	t.Helper()
	message, _ := r.fields(t)["message"].(string)
	return message
}

// ids lists the ids of a page.
func (r answer) ids(t testing.TB) []string {
	t.Helper()
	data, ok := r.fields(t)["data"].([]any)
	if !ok {
		t.Fatalf("%s has no data", r.body)
	}
	ids := []string{}
	for _, entry := range data {
		ids = append(ids, fmt.Sprint(entry.(map[string]any)["id"]))
	}
	return ids
}

// do sends a request; headers are pairs.
func (h *harness) do(method, path, contentType, body string, headers ...string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.Bytes()}
}

func (h *harness) get(path string) answer { return h.do(http.MethodGet, path, "", "") }

func (h *harness) form(method, path, body string) answer { return h.do(method, path, formType, body) }

func (h *harness) json(method, path, body string) answer { return h.do(method, path, jsonType, body) }

// must sends a form and demands a status.
func (h *harness) must(status int, method, path, body string) answer {
	h.t.Helper()
	r := h.form(method, path, body)
	if r.status != status {
		h.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, r.status, r.body, status)
	}
	return r
}

// sameJSON compares two JSON texts as values.
func sameJSON(t testing.TB, want, got []byte) {
	t.Helper()
	if len(want) == 0 || len(got) == 0 {
		if !bytes.Equal(want, got) {
			t.Errorf("body %q, want %q", got, want)
		}
		return
	}
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// testPlugins are two plugins that between them have what the API cares for: records, a map, a narrowed
// scope.
func testPlugins() []*plugin.Definition {
	echo := &schema.Schema{Name: "echo", Fields: []schema.Field{
		{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
			{Name: "size", Type: schema.Number, Default: 1},
			{Name: "labels", Type: schema.Map, Keys: &schema.Field{Type: schema.String}, Values: &schema.Field{Type: schema.String}},
			{Name: "words", Type: schema.Array, Elements: &schema.Field{Type: schema.String}},
			{Name: "deep", Type: schema.Record, Required: true, Fields: []schema.Field{
				{Name: "a", Type: schema.String}, {Name: "b", Type: schema.Integer, Default: 7},
			}},
		}},
	}}
	gate := &schema.Schema{Name: "gate", Fields: []schema.Field{
		schema.NoConsumer(),
		{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{{Name: "on", Type: schema.Boolean, Default: true}}},
	}}
	return []*plugin.Definition{
		{Name: "gate", Version: "1.0.0", Priority: 20, Schema: gate, New: noInstance},
		{Name: "echo", Version: "2.0.0", Priority: 10, Schema: echo, New: noInstance},
	}
}

// noInstance makes a plugin one that runs; nothing here has requests to run it for.
func noInstance(*plugin.Env, *plugin.Instance) (any, error) { return nil, nil }

// discard reads a body to its end.
func discard(r io.ReadCloser) {
	_, _ = io.Copy(io.Discard, r)
	_ = r.Close()
}

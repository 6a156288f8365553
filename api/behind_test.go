package api

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/fsm"
)

// behind lets this node hear of another node's write no sooner than it sends a command of its own.
func (h *harness) behind(ops ...fsm.Op) {
	var once sync.Once
	h.cluster.before = func(*fsm.Command) error {
		once.Do(func() {
			if _, err := h.cluster.apply(fsm.NewWrite("", 0, ops...)); err != nil {
				h.t.Error(err)
			}
		})
		return nil
	}
}

// A client makes an entity through one node and goes on through another, which has not heard of it yet.
func TestWritesToWhatThisNodeHasNotHeardOf(t *testing.T) {
	for _, s := range []script{
		{{"DELETE", "/services/s", "", 204, ""}, {"GET", "/services/s", "", 404, ""}, {"GET", "/services/" + someID, "", 404, ""}},
		{{"DELETE", "/services/" + someID, "", 204, ""}, {"GET", "/services/s", "", 404, ""}},
		{{"PATCH", "/services/s", "retries=1", 200, `"retries":1`}},
		{{"PATCH", "/services/" + someID, "retries=1", 200, `"retries":1`}},
		{{"PUT", "/services/s", "host=n", 200, someID}, {"GET", "/services/" + someID, "", 200, `"host":"n"`}},
		{{"POST", "/services/s/routes", "paths=/", 201, someID}},
		{{"PUT", "/services/s/routes/r", "paths=/", 200, someID}},
		{{"POST", "/routes", "paths=/&service.name=s", 201, someID}},
		{{"POST", "/routes", "paths=/&service.id=" + someID, 201, someID}},
	} {
		t.Run(s[0].method+" "+s[0].path+" "+s[0].body, func(t *testing.T) {
			h := newHarness(t, nil)
			h.behind(raceService())
			h.run(s[:1])
			if err := h.cluster.before(nil); err != nil { // by now the news is here in any case
				t.Fatal(err)
			}
			h.run(s[1:])
		})
	}
}

// What is really missing is answered as ever, and costs no node a new configuration.
func TestWritesToWhatIsMissing(t *testing.T) {
	for _, c := range (script{
		{"DELETE", "/services/nope", "", 204, ""},
		{"DELETE", "/services/s/routes/nope", "", 404, ""},
		{"PATCH", "/services/nope", "retries=1", 404, "could not find the entity"},
		{"POST", "/services/nope/routes", "paths=/", 404, "Not found"},
		{"POST", "/routes", "paths=/&service.name=nope", 400, "cannot be resolved"},
	}) {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			h := newHarness(t, nil)
			if _, err := h.cluster.apply(fsm.NewWrite("", 0, raceService())); err != nil {
				t.Fatal(err)
			}
			config := h.cluster.machine.ConfigIndex()
			h.run(script{c})
			if now := h.cluster.machine.ConfigIndex(); now != config {
				t.Errorf("configuration went from index %d to %d", config, now)
			}
			if h.cluster.index != 2 {
				t.Errorf("%d commands, want one more than the first", h.cluster.index)
			}
		})
	}
}

// Nobody is told that an entity is missing by a node that cannot know. What is wrong in itself is said all
// the same, without a command.
func TestMissingWithoutQuorum(t *testing.T) {
	cases := []struct {
		name   string
		err    error
		method string
		path   string
		body   string
		status int
		want   string
	}{
		{"no quorum", fmt.Errorf("apply: %w", noQuorum{}), "DELETE", "/services/nope", "", 503, "writes need 2"},
		{"no quorum", fmt.Errorf("apply: %w", noQuorum{}), "PATCH", "/services/nope", "retries=1", 503, "writes need 2"},
		{"no answer", fmt.Errorf("apply: %w", ErrUnconfirmed), "DELETE", "/services/nope", "", 503, "nothing was changed"},
		{"wrong input", fmt.Errorf("apply: %w", noQuorum{}), "POST", "/services", "host=h&port=x", 400, "expected an integer"},
		{"wrong name", fmt.Errorf("apply: %w", noQuorum{}), "DELETE", "/services/a%20b", "", 400, "invalid unique name"},
	}
	for _, c := range cases {
		t.Run(c.name+" "+c.method, func(t *testing.T) {
			h := newHarness(t, nil)
			h.cluster.before = func(*fsm.Command) error { return c.err }
			r := h.form(c.method, c.path, c.body)
			if r.status != c.status || !strings.Contains(string(r.body), c.want) {
				t.Errorf("%d %s, want %d %s", r.status, r.body, c.status, c.want)
			}
		})
	}
}

// A write that had to wait for news is still done once under its id.
func TestRepeatedWriteAfterNews(t *testing.T) {
	h := newHarness(t, nil)
	h.behind(raceService())
	for range 2 {
		r := h.do("POST", "/services/s/routes", formType, "paths=/", headerRequestID, "w")
		if r.status != 201 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if all := h.get("/routes").ids(t); len(all) != 1 {
		t.Errorf("%d routes, want 1", len(all))
	}
}

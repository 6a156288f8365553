package api

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/fsm"
)

// Writers that patch one field each, all at once, must not undo each other.
func TestConcurrentPatches(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/services", "name=s&host=h")
	fields := []string{"retries", "port", "connect_timeout", "read_timeout", "write_timeout"}
	const rounds = 5
	together := newRendezvous(len(fields))
	h.cluster.before = func(*fsm.Command) error { together.wait(); return nil }
	var wg sync.WaitGroup
	for _, field := range fields {
		wg.Go(func() {
			for round := range rounds {
				if r := h.form("PATCH", "/services/s", fmt.Sprintf("%s=%d", field, round+100)); r.status != 200 {
					t.Errorf("%s: %d %s", field, r.status, r.body)
				}
			}
		})
	}
	wg.Wait()
	got := h.get("/services/s").fields(t)
	for _, field := range fields {
		if got[field] != 104.0 {
			t.Errorf("%s is %v, want 104", field, got[field])
		}
	}
	if writes := h.cluster.index - 1; writes <= uint64(rounds*len(fields)) {
		t.Errorf("%d commands for %d writes: nobody lost a round, so this proves nothing", writes, rounds*len(fields))
	}
}

// rendezvous lets the first n go on together.
type rendezvous struct {
	mu   sync.Mutex
	left int
	all  chan struct{}
}

func newRendezvous(n int) *rendezvous { return &rendezvous{left: n, all: make(chan struct{})} }

func (r *rendezvous) wait() {
	r.mu.Lock()
	r.left--
	if r.left == 0 {
		close(r.all)
	}
	r.mu.Unlock()
	<-r.all
}

// Writers that put the same name at once make one entity.
func TestConcurrentPuts(t *testing.T) {
	for _, path := range []string{"/services/same", "/services/" + someID} {
		t.Run(path, func(t *testing.T) {
			h := newHarness(t, nil)
			const writers = 8
			together := newRendezvous(writers)
			h.cluster.before = func(*fsm.Command) error { together.wait(); return nil }
			ids := make([]any, writers)
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					r := h.form("PUT", path, fmt.Sprintf("host=h&retries=%d", i))
					if r.status != 200 {
						t.Errorf("%d %s", r.status, r.body)
						return
					}
					ids[i] = fieldOf(string(r.body), "id")
				})
			}
			wg.Wait()
			for _, id := range ids {
				if id != ids[0] {
					t.Errorf("two entities: %v and %v", id, ids[0])
				}
			}
			if all := h.get("/services").ids(t); len(all) != 1 {
				t.Errorf("%d services", len(all))
			}
		})
	}
}

// interfere has a command applied just before the next one that writes a kind.
func (h *harness) interfere(kind string, ops ...fsm.Op) {
	var once sync.Once
	h.cluster.before = func(c *fsm.Command) error {
		if c.Write != nil && c.Write.Ops[0].Kind == kind {
			once.Do(func() {
				if _, err := h.cluster.apply(fsm.NewWrite("", 0, ops...)); err != nil {
					h.t.Error(err)
				}
			})
		}
		return nil
	}
}

// stored makes the operation that stores an entity, whatever was there.
func stored(kind, id, fields string) fsm.Op {
	return fsm.Op{Verb: fsm.Put, Kind: kind, ID: id, Raw: json.RawMessage(`{"id":"` + id + `",` + fields + `}`)}
}

// raceService is the service that the races are about.
func raceService() fsm.Op {
	return stored("services", someID, `"name":"s","host":"h","retries":5,"protocol":"http","port":80,"enabled":true`)
}

// What comes between the plan of a write and its application is met with a new plan.
func TestRaces(t *testing.T) {
	remove := func(kind, id string) fsm.Op { return fsm.Op{Verb: fsm.Delete, Kind: kind, ID: id} }
	cases := []struct {
		name   string
		kind   string
		ops    []fsm.Op // come in between
		method string
		path   string
		body   string
		status int
		want   string
	}{
		{"POST under a parent that goes", "routes", []fsm.Op{remove("services", someID)}, "POST", "/services/s/routes", "paths=/", 404, "Not found"},
		{"PUT under a parent that goes", "routes", []fsm.Op{remove("services", someID)}, "PUT", "/services/s/routes/r", "paths=/", 404, "Not found"},
		{"POST of a reference to what goes", "routes", []fsm.Op{remove("services", someID)}, "POST", "/routes", "paths=/&service.name=s", 400,
			"does not reference an existing 'services' entity"},
		{"PATCH of what goes", "services", []fsm.Op{remove("services", someID)}, "PATCH", "/services/s", "retries=1", 404, `'{name=\"s\"}'`},
		{"PUT of what goes", "services", []fsm.Op{remove("services", someID)}, "PUT", "/services/s", "host=n", 200, `"host":"n"`},
		{"PUT of an id that goes", "services", []fsm.Op{remove("services", someID)}, "PUT", "/services/" + someID, "host=n", 200, `"id":"` + someID},
		{"DELETE of what goes", "services", []fsm.Op{remove("services", someID)}, "DELETE", "/services/s", "", 204, ""},
		{"DELETE of what gets another name", "services", []fsm.Op{stored("services", someID, `"name":"t","host":"h"`)}, "DELETE", "/services/s", "", 204, ""},
		{"PATCH of what changes", "services", []fsm.Op{stored("services", someID, `"name":"s","host":"changed","protocol":"http","port":80,"enabled":true`)},
			"PATCH", "/services/s", "retries=1", 200, `"host":"changed"`},
		{"PUT of a name that comes", "services", []fsm.Op{stored("services", otherID, `"name":"new","host":"x"`)}, "PUT", "/services/new", "host=n", 200,
			`"id":"` + otherID},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			if _, err := h.cluster.apply(fsm.NewWrite("", 0, raceService())); err != nil {
				t.Fatal(err)
			}
			h.interfere(c.kind, c.ops...)
			h.run(script{{c.method, c.path, c.body, c.status, c.want}})
		})
	}
}

// A change that comes in between is not undone.
func TestRacesKeepChanges(t *testing.T) {
	survivors := []struct {
		name string
		kind string
		op   fsm.Op // comes in between
		s    script
	}{
		{"DELETE of what gets another name", "services", stored("services", someID, `"name":"t","host":"h"`), script{
			{"DELETE", "/services/s", "", 204, ""}, {"GET", "/services/t", "", 200, someID},
		}},
		{"PUT of what gets another name", "services", stored("services", someID, `"name":"t","host":"h"`), script{
			{"PUT", "/services/s", "host=n", 200, `"name":"s"`}, {"GET", "/services/t", "", 200, someID},
		}},
		{"PUT of a parent whose child changes", "services", stored("routes", otherID, `"name":"changed","protocols":["http"],"paths":["/"]`), script{
			{"PUT", "/routes/" + otherID + "/service", "host=n", 200, `"host":"n"`},
			{"GET", "/routes/changed/service", "", 200, `"host":"n"`},
		}},
	}
	for _, c := range survivors {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			route := stored("routes", otherID, `"name":"r","protocols":["http"],"paths":["/"]`)
			if _, err := h.cluster.apply(fsm.NewWrite("", 0, raceService(), route)); err != nil {
				t.Fatal(err)
			}
			h.interfere(c.kind, c.op)
			h.run(c.s)
		})
	}
}

func TestContended(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/services", `name=s&host=h&id=`+someID)
	h.cluster.before = func(c *fsm.Command) error { // somebody is always faster
		op := c.Write.Ops[0]
		op.IfIndex = 0
		_, err := h.cluster.apply(fsm.NewWrite("", 0, op))
		return err
	}
	r := h.form("PATCH", "/services/s", "retries=1")
	if r.status != 409 || h.cluster.index != 1+2*maxAttempts {
		t.Errorf("%d %s after %d commands", r.status, r.body, h.cluster.index)
	}
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// script is requests in order, with the status and a piece of the body that each must give.
type script []struct {
	method, path, body string
	status             int
	want               string
}

func (h *harness) run(s script) {
	h.t.Helper()
	for _, step := range s {
		contentType := ""
		switch {
		case strings.HasPrefix(step.body, "{"):
			contentType = jsonType
		case step.body != "":
			contentType = formType
		}
		r := h.do(step.method, step.path, contentType, step.body)
		if r.status != step.status || !strings.Contains(string(r.body), step.want) {
			h.t.Errorf("%s %s %s\n got %d %s\nwant %d %s", step.method, step.path, step.body, r.status, r.body, step.status, step.want)
		}
	}
}

func TestNestedPaths(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.run(script{
		{"POST", "/services", "name=s1&host=h", 201, ""},
		{"POST", "/services", "name=s2&host=h", 201, ""},
		{"POST", "/consumers", "username=bob", 201, ""},
		{"POST", "/services/s1/routes", "name=r1&paths=/1", 201, `"service":{"id":`},
		{"POST", "/services/nope/routes", "name=r&paths=/1", 404, "Not found"},
		{"GET", "/services/s1/routes/r1", "", 200, `"name":"r1"`},
		{"GET", "/services/s2/routes/r1", "", 404, "Not found"},
		{"PATCH", "/services/s2/routes/r1", "paths=/2", 404, "Not found"},
		{"PUT", "/services/s2/routes/r1", "paths=/2", 404, "Not found"},
		{"DELETE", "/services/s2/routes/r1", "", 404, "Not found"},
		{"PATCH", "/services/s1/routes/nope", "paths=/2", 404, `{"message":"Not found"}`},
		{"PATCH", "/services/s1/routes/r1", "paths=/2", 200, `"paths":["/2"]`},
		{"PUT", "/services/s1/routes/r2", "paths=/3", 200, `"name":"r2"`},
		{"GET", "/services/s1/routes", "", 200, `"name":"r2"`},
		{"DELETE", "/services/s1/routes/r2", "", 204, ""},
		{"DELETE", "/services/s1/routes/r2", "", 404, "Not found"},
		{"DELETE", "/routes/r2", "", 204, ""},
		{"GET", "/routes/r1/service", "", 200, `"name":"s1"`},
		{"PATCH", "/routes/r1/service", "retries=9", 200, `"retries":9`},
		{"DELETE", "/routes/r1/service", "", 405, "Method not allowed"},
		{"GET", "/routes/nope/service", "", 404, "Not found"},
		{"POST", "/routes", "name=lone&paths=/l", 201, `"service":null`},
		{"GET", "/routes/lone/service", "", 404, "Not found"},
		{"DELETE", "/routes/lone/service", "", 404, "Not found"},
		{"PATCH", "/routes/lone/service", "retries=1", 404, "Not found"},
		{"PUT", "/routes/lone/service", "name=made&host=m", 200, `"name":"made"`},
		{"GET", "/routes/lone/service", "", 200, `"name":"made"`},
		{"GET", "/services/made/routes", "", 200, `"name":"lone"`},
		{"POST", "/routes/r1/plugins", "name=echo", 201, `"route":{"id":`},
		{"POST", "/consumers/bob/plugins", "name=echo", 201, `"consumer":{"id":`},
		{"POST", "/consumers/bob/plugins", "name=gate", 400, "consumer: value must be null"},
		{"POST", "/consumers/bob/jwt", "key=k", 201, `"key":"k"`},
		{"GET", "/jwts/k/consumer", "", 200, `"username":"bob"`},
		{"DELETE", "/services/s1", "", 400, "an existing 'routes' entity references this 'services' entity"},
		{"DELETE", "/consumers/bob", "", 204, ""},
		{"GET", "/jwts/k", "", 404, "Not found"},
		{"GET", "/workspaces", "", 404, `{"message":"Not found"}`},
	})
}

func TestPut(t *testing.T) {
	h := newHarness(t, nil)
	first := h.must(200, "PUT", "/services/s", "host=a&created_at=5").fields(t)
	h.advance(10 * time.Second)
	second := h.must(200, "PUT", "/services/s", "host=b").fields(t)
	if second["id"] != first["id"] || second["created_at"] != 5.0 || second["updated_at"] == first["updated_at"] {
		t.Errorf("PUT of an existing entity gave %v after %v", second, first)
	}
	h.run(script{
		{"PUT", "/services/" + someID, "host=a&name=n", 200, `"id":"` + someID + `"`},
		{"PUT", "/services/" + strings.ToUpper(someID), "host=a", 200, `"name":null`}, // replaced whole
		{"PUT", "/services/" + someID, "host=a&name=s", 409, `"fields":{"name":"s"}`},
		{"PUT", "/services/new", `{"host":"a","id":"` + otherID + `"}`, 200, `"id":"` + otherID + `"`},
		{"PUT", "/services/newer", `{"host":"a","id":"` + otherID + `"}`, 400, "primary key violation"},
		{"PUT", "/services/new", `{"host":"a","id":"` + someID + `"}`, 200, `"id":"` + otherID + `"`},
		{"PUT", "/services/new", `{"host":"a","id":5}`, 200, `"id":"` + otherID + `"`},
		{"PUT", "/services/a%20b", "host=a", 400, `"code":10`},
		{"GET", "/services/a%20b", "", 400, "the only accepted ascii characters"},
		{"DELETE", "/services/a%20b", "", 400, "invalid unique name"},
		{"POST", "/services", `{"host":"a","id":"` + someID + `"}`, 400, `"code":3`},
	})
}

func TestReferences(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.run(script{
		{"POST", "/services", `{"id":"` + someID + `","name":"s","host":"h"}`, 201, ""},
		{"POST", "/consumers", "username=bob&custom_id=7", 201, ""},
		{"POST", "/routes", `{"name":"a","paths":["/"],"service":{"id":"` + strings.ToUpper(someID) + `","name":"other"}}`, 201,
			`"service":{"id":"` + someID + `"}`},
		{"POST", "/routes", `{"name":"b","paths":["/"],"service":{"id":"bad","name":"s"}}`, 201, `"service":{"id":"` + someID + `"}`},
		{"POST", "/routes", `{"name":"c","paths":["/"],"service":{"nope":"s"}}`, 400, `"fields":{"service":{"id":"missing primary key"}}`},
		{"POST", "/routes", `{"name":"c","paths":["/"],"service":{"name":7}}`, 400, `missing primary key`},
		{"POST", "/jwts", "consumer.custom_id=7", 201, `"consumer":{"id":`},
		{"POST", "/jwts", "consumer.username=x&consumer.custom_id=y", 400, "2 foreign keys unresolved (consumer.custom_id: the foreign key"},
		{"POST", "/plugins", `{"name":"echo","service":{"name":"x"},"consumer":{"username":"y"}}`, 400, "2 foreign keys unresolved ("},
		{"PATCH", "/routes/a", `{"service":{"name":"nope"}}`, 400, `"code":13`},
		{"PATCH", "/routes/a", `{"service":null}`, 200, `"service":null`},
		{"POST", "/services", `{"host":"h","protocol":"https","client_certificate":{"id":"` + otherID + `"}}`, 400,
			`does not reference an existing 'certificates' entity`},
		{"POST", "/services", `{"host":"h","protocol":"https","client_certificate":{"name":"x"}}`, 400, `missing primary key`},
		{"POST", "/schemas/routes/validate", `{"paths":["/"],"service":{"id":"` + otherID + `"}}`, 200, "schema validation successful"},
		{"POST", "/schemas/routes/validate", `{"paths":["/"],"service":{"name":"s"}}`, 400, "missing primary key"},
	})
}

func TestPluginProtocols(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.run(script{
		{"POST", "/services", "name=s&host=h", 201, ""},
		{"POST", "/services/s/plugins", "name=echo&protocols=grpc", 201, ""}, // no routes yet
		{"DELETE", "/services/s/plugins/nope", "", 404, ""},
		{"POST", "/services/s/routes", "name=r&paths=/&protocols=https", 201, ""},
		{"POST", "/services/s/plugins", "name=gate&protocols=grpc&protocols=http", 400,
			"must match the protocols of at least one route pointing to this Plugin's service"},
		{"POST", "/services/s/plugins", "name=gate&instance_name=g&protocols=grpc&protocols=https", 201, ""},
		{"PATCH", "/plugins/g", "protocols=http", 400, "must match the protocols of at least one route"},
		{"POST", "/routes/r/plugins", "name=gate&protocols=http", 400, `"protocols":"must match the associated route's protocols"`},
		{"POST", "/routes/r/plugins", "name=gate&protocols=https", 201, ""},
		{"POST", "/services/s/routes", "name=r2&paths=/&protocols=http", 201, ""},
		{"PATCH", "/plugins/g", "protocols=http", 200, `"protocols":["http"]`},
	})
}

func TestPluginPatch(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.run(script{
		{"POST", "/plugins", "name=echo&instance_name=e&config.size=2&config.words=a,b&config.deep.a=x&config.labels.k-1=5", 201,
			`"config":{"deep":{"a":"x","b":7},"labels":{"k-1":"5"},"size":2,"words":["a,b"]}`},
		{"PATCH", "/plugins/e", "config.deep.b=8", 200, `"config":{"deep":{"a":"x","b":8},"labels":{"k-1":"5"},"size":2,"words":["a,b"]}`},
		{"PATCH", "/plugins/e", `{"config":{"labels":{"z":"1"},"size":1.5}}`, 200,
			`"config":{"deep":{"a":"x","b":8},"labels":{"z":"1"},"size":1.5,"words":["a,b"]}`},
		{"PATCH", "/plugins/e", "config.words=&config.deep.a=<b>", 200, `"config":{"deep":{"a":"<b>","b":8},"labels":{"z":"1"},"size":1.5,"words":null}`},
		{"PATCH", "/plugins/e", "name=gate", 400, "config.deep: unknown field"},
		{"PATCH", "/plugins/e", "name=none", 400, "plugin 'none' not enabled"},
	})
}

func TestTTL(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"POST", "/consumers", "username=bob", 201, ""},
		{"POST", "/consumers/bob/key-auth", "key=a&ttl=10", 201, `"ttl":10}`},
		{"POST", "/consumers/bob/key-auth", "key=b", 201, `"ttl":null}`},
		{"POST", "/consumers/bob/key-auth", "key=c&ttl=100000001", 400, `"options":{"ttl":"must be an integer between 0 and 100000000"}`},
	})
	h.advance(4 * time.Second)
	h.run(script{
		{"GET", "/key-auths/a", "", 200, `"ttl":6}`},
		{"PATCH", "/key-auths/a", "tags=x", 200, `"ttl":6}`}, // kept
		{"PATCH", "/key-auths/a", "ttl=8", 200, `"ttl":8}`},
		{"PATCH", "/key-auths/b", "ttl=8", 200, `"ttl":8}`},
		{"PATCH", "/key-auths/b", `{"ttl":null}`, 200, `"ttl":null}`},
	})
	h.advance(8 * time.Second)
	h.run(script{
		{"GET", "/key-auths/a", "", 404, "Not found"},
		{"GET", "/consumers/bob/key-auth/a", "", 404, "Not found"},
		{"GET", "/key-auths/a/consumer", "", 404, "Not found"},
		{"PATCH", "/key-auths/a", "ttl=5", 404, `'{key=\"a\"}'`},
		{"DELETE", "/key-auths/a", "", 204, ""},
		{"GET", "/tags", "", 200, `"data":[]`},
	})
	if ids := h.get("/key-auths").ids(t); len(ids) != 1 {
		t.Errorf("%d credentials are listed, want the one that is left", len(ids))
	}
	if ids := h.get("/consumers/bob/key-auth?size=1").fields(t); ids["next"] != nil {
		t.Errorf("an expired credential makes a next page: %v", ids)
	}
	h.must(201, "POST", "/consumers/bob/key-auth", "key=a") // the key is free again
}

// A write whose answer was lost is repeated under its id, and is not done twice.
func TestRepeatedWrite(t *testing.T) {
	h := newHarness(t, nil)
	send := func(method, path, body, id string) answer {
		return h.do(method, path, formType, body, headerRequestID, id)
	}
	first := send("POST", "/services", "host=h", "w1")
	again := send("POST", "/services", "host=h", "w1")
	if first.status != 201 || again.status != 201 || first.header.Get(headerIndex) != again.header.Get(headerIndex) {
		t.Fatalf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	sameJSON(t, first.body, again.body)
	if again.header.Get(headerRequestID) != "w1" {
		t.Errorf("the answer carries id %q", again.header.Get(headerRequestID))
	}
	other := send("POST", "/services", "host=other", "w1")
	if other.status != 201 || other.fields(t)["host"] != "other" {
		t.Errorf("another write under the same id: %d %s", other.status, other.body)
	}
	if n := len(h.get("/services").ids(t)); n != 2 {
		t.Errorf("%d services, want 2", n)
	}
	send("PUT", "/services/p", "host=h", "w2")
	changed := h.must(200, "PATCH", "/services/p", "retries=1")
	repeated := send("PUT", "/services/p", "host=h", "w2")
	if diff := cmp.Diff(changed.fields(t), repeated.fields(t)); diff != "" {
		t.Errorf("a repeated PUT undid what came after it: %s", diff)
	}
	if created := h.form("POST", "/services", "host=h").header.Get(headerRequestID); created == "" {
		t.Error("a write without an id is not given one")
	}
	for _, bad := range []string{"", "a b", strings.Repeat("x", maxRequestID+1), "é"} {
		if r := send("POST", "/services", "host=h", bad); r.status != 400 {
			t.Errorf("id %q: %d", bad, r.status)
		}
	}
}

// A PUT that lost a race and won the next round answers its repetition with what it did.
func TestRepeatedWriteAfterLostRace(t *testing.T) {
	h := newHarness(t, nil)
	h.interfere("services", fsm.Op{Verb: fsm.Put, Kind: "services", ID: otherID,
		Raw: json.RawMessage(`{"id":"` + otherID + `","name":"s","host":"x"}`)})
	for range 2 {
		r := h.do("PUT", "/services/s", formType, "host=h", headerRequestID, "w")
		if r.status != 200 || r.fields(t)["id"] != otherID {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
}

// noQuorum is how a cluster says that it takes no writes.
type noQuorum struct{}

func (noQuorum) Error() string             { return "no leader: 1 of 3 voters reachable; writes need 2" }
func (noQuorum) RetryAfter() time.Duration { return 1500 * time.Millisecond }

func TestClusterErrors(t *testing.T) {
	cases := []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{"no quorum", fmt.Errorf("apply: %w", noQuorum{}), 503, "no leader: 1 of 3 voters reachable; writes need 2"},
		{"unconfirmed", fmt.Errorf("apply: %w", ErrUnconfirmed), 504, "repeat it with the same X-Sluice-Request-Id"},
		{"too large", fmt.Errorf("%w: 600000 bytes, 524288 are allowed", ErrTooLarge), 413, "the entity is too large: 600000 bytes, 524288 are allowed"},
		{"unexpected", errors.New("secret detail"), 500, `{"message":"An unexpected error occurred"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.cluster.before = func(*fsm.Command) error { return c.err }
			r := h.form("POST", "/services", "host=h")
			if r.status != c.status || !strings.Contains(string(r.body), c.want) {
				t.Errorf("%d %s", r.status, r.body)
			}
			if c.status == 503 && r.header.Get("Retry-After") != "2" {
				t.Errorf("Retry-After %q, want 2", r.header.Get("Retry-After"))
			}
			if h.get("/services").status != 200 {
				t.Error("reads must go on")
			}
		})
	}
}

// A client that gives up leaves a write that nobody knows the fate of.
func TestAbandonedWrite(t *testing.T) {
	h := newHarness(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	h.cluster.before = func(*fsm.Command) error { cancel(); return ctx.Err() }
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/services", strings.NewReader("host=h")).WithContext(ctx)
	r.Header.Set("Content-Type", formType)
	h.api.Handler().ServeHTTP(w, r)
	if w.Code != 504 || w.Header().Get(headerRequestID) == "" {
		t.Errorf("%d %s, id %q", w.Code, w.Body, w.Header().Get(headerRequestID))
	}
}

func TestWaitForServed(t *testing.T) {
	h := newHarness(t, nil)
	r := h.must(201, "POST", "/services", "name=s&host=h")
	if diff := cmp.Diff([]uint64{1}, h.cluster.waited); diff != "" || r.header.Get(headerIndex) != "1" {
		t.Errorf("waited for %v, answered index %q", h.cluster.waited, r.header.Get(headerIndex))
	}
	if got := h.get("/services/s").header.Get(headerIndex); got != "1" {
		t.Errorf("a read shows index %q, want 1", got)
	}
	h.must(201, "POST", "/services?wait=all", "host=h")
	h.cluster.late = []string{"node-2", "node-3"}
	r = h.must(200, "PATCH", "/services/s?wait=all", "retries=1")
	if got := r.header.Get(headerNotServed); got != "node-2, node-3" {
		t.Errorf("not served by %q", got)
	}
	h.must(400, "PATCH", "/services/s?wait=most", "retries=2")
	h.cluster.served = errors.New("still compiling")
	r = h.must(200, "PATCH", "/services/s", "retries=3")
	if got := r.header.Get(headerNotServed); got != nodeID {
		t.Errorf("not served by %q", got)
	}
	if got := h.get("/services/s").fields(t)["retries"]; got != 3.0 {
		t.Errorf("retries %v, want 3: a wrong wait must change nothing, a late node must not undo", got)
	}
}

// What a plugin accepts and does not use is said in a header, and stored as sent.
func TestWarning(t *testing.T) {
	h := newHarness(t, []*plugin.Definition{{
		Name: "fancy", Version: "1", Priority: 1, New: noInstance,
		Schema: &schema.Schema{Name: "fancy", Fields: []schema.Field{{Name: "config", Type: schema.Record, Required: true,
			Fields: []schema.Field{{Name: "bells", Type: schema.Boolean}}}}},
		Warn: func(config map[string]any) []string {
			if config["bells"] == true {
				return []string{"fancy: there are no bells"}
			}
			return nil
		},
	}})
	r := h.form("POST", "/plugins", "name=fancy&config.bells=true")
	if got := r.header.Get(headerWarning); r.status != 201 || got != "fancy: there are no bells" || !strings.Contains(string(r.body), `"bells":true`) {
		t.Errorf("%d %s, warning %q", r.status, r.body, got)
	}
	if r := h.form("PATCH", "/plugins/fancy-none", "config.bells=false"); r.header.Get(headerWarning) != "" {
		t.Errorf("warning %q for nothing", r.header.Get(headerWarning))
	}
}

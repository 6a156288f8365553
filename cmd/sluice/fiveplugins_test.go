package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entries is a server that http-log sends to.
type entries struct {
	*httptest.Server
	mu  sync.Mutex
	all []map[string]any
}

func newEntries(t *testing.T) *entries {
	e := &entries{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		var batch []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Errorf("a batch: %v", err)
		}
		e.all = append(e.all, batch...)
	}))
	t.Cleanup(e.Close)
	return e
}

// shown gives what is looked at of each entry, as text, in order of the texts: a
// request is logged after its answer, when another one may be on its way.
func (e *entries) shown() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for _, entry := range e.all {
		part := func(path ...string) any {
			var v any = entry
			for _, name := range path {
				object, _ := v.(map[string]any)
				v = object[name]
			}
			return v
		}
		text, err := json.Marshal([]any{
			part("request", "method"), part("request", "uri"), part("response", "status"), part("source"), part("consumer", "username"),
			part("upstream_uri"), part("route", "name"), part("service", "name"), part("request", "headers", "authorization"), part("by"),
		})
		if err != nil {
			text = []byte(err.Error())
		}
		list = append(list, string(text))
	}
	slices.Sort(list)
	return list
}

// TestFivePlugins takes requests through cors, basic-auth, acl, request-transformer
// and http-log, all on one route. The log's entries wait for a batch that never gets
// full, so what arrives is what the node sends when it stops.
func TestFivePlugins(t *testing.T) {
	c := newCluster(t, 1)
	n, log := c.nodes[0], newEntries(t)
	route(t, n, "/none")
	n.create("/services/demo/routes", "name", "all", "paths[]", `~/all/(?<id>\d+)`)
	for _, who := range []struct{ name, group string }{{"bob", "staff"}, {"eve", "public"}} {
		n.create("/consumers", "username", who.name)
		n.create("/consumers/"+who.name+"/basic-auth", "username", who.name, "password", who.name+":pw")
		n.create("/consumers/"+who.name+"/acls", "group", who.group)
	}
	for _, config := range [][]string{
		{"name", "cors", "config.origins", "https://a.test", "config.origins", `https://.*\.b\.test`, "config.credentials", "true", "config.max_age", "60"},
		{"name", "basic-auth", "config.hide_credentials", "true", "config.realm", "all"},
		{"name", "acl", "config.allow", "staff"},
		{"name", "request-transformer", "config.replace.uri", "/items/$(uri_captures.id)", "config.remove.querystring", "secret",
			"config.add.headers", `X-Agent:$(headers["user-agent"] or "none")`, "config.remove.body", "drop", "config.add.body", "by:$(query_params.who or 'nobody')"},
		{"name", "http-log", "config.http_endpoint", log.URL + "/in", "config.queue.max_batch_size", "1000", "config.queue.max_coalescing_delay", "3600",
			"config.custom_fields_by_lua.by", `return kong.client.get_consumer().username or "nobody"`},
	} {
		n.create("/routes/all/plugins?wait=all", config...)
	}
	ask := func(method, target, body string, fields ...string) answer {
		t.Helper()
		header := http.Header{"User-Agent": {"test/1"}}
		for i := 0; i+1 < len(fields); i += 2 {
			header.Set(fields[i], fields[i+1])
		}
		a, err := n.try(method, n.proxyURL(target), header, body)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	basic := func(name string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+name+":pw"))
	}

	a := ask("OPTIONS", "/all/7", "", "Origin", "https://x.b.test", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-a")
	want(t, a, 200, "Access-Control-Allow-Origin", "https://x.b.test", "Access-Control-Allow-Headers", "x-a", "Access-Control-Max-Age", "60", "Vary", "Origin")
	a = ask("GET", "/all/7", "", "Origin", "https://a.test")
	want(t, a, 401, "Www-Authenticate", `Basic realm="all"`, "Access-Control-Allow-Origin", "https://a.test", "Access-Control-Allow-Credentials", "true")
	want(t, ask("GET", "/all/7", "", "Authorization", basic("eve"), "Origin", "https://c.test"), 403, "Access-Control-Allow-Origin", "")
	a = ask("POST", "/all/7?who=me&secret=1", "drop=1&keep=%7e", "Authorization", basic("bob"), "X-Consumer-Groups", "forged",
		"Content-Type", "application/x-www-form-urlencoded", "Origin", "https://a.test")
	want(t, a, 200, "Access-Control-Allow-Origin", "https://a.test")
	var echo struct {
		Method, Path, Body string
		Query, Headers     map[string][]string
	}
	if err := json.Unmarshal(a.body, &echo); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	got := []any{
		echo.Method, echo.Path, echo.Body, echo.Query, echo.Headers["X-Agent"], echo.Headers["X-Consumer-Groups"],
		echo.Headers["X-Consumer-Username"], echo.Headers["X-Credential-Identifier"], echo.Headers["Authorization"],
	}
	none := []string(nil)
	if diff := cmp.Diff([]any{
		"POST", "/items/7", "keep=%7e&by=me", map[string][]string{"who": {"me"}}, []string{"test/1"}, []string{"staff"}, []string{"bob"}, []string{"bob"}, none,
	}, got); diff != "" {
		t.Errorf("the service got (-want +got):\n%s", diff)
	}
	waitFor(t, "four entries to wait", func() error {
		if m := string(n.admin("GET", "/metrics", nil).body); !strings.Contains(m, `sluice_plugin_queue_waiting{plugin="http-log"} 4`) {
			return errors.New("that is not in the metrics")
		}
		return nil
	})
	if len(log.shown()) > 0 {
		t.Error("entries came before their time")
	}
	n.stop()
	if diff := cmp.Diff([]string{
		`["GET","/all/7",401,"kong",null,"/","all","demo",null,"nobody"]`,
		`["GET","/all/7",403,"kong","eve","/","all","demo",null,"eve"]`,
		`["OPTIONS","/all/7",200,"kong",null,"/","all","demo",null,"nobody"]`,
		`["POST","/all/7?who=me\u0026secret=1",200,"upstream","bob","/items/7?who=me","all","demo",null,"bob"]`,
	}, log.shown()); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// want checks an answer's status and fields, given as name, value, ...
func want(t *testing.T, a answer, status int, fields ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%d %s, want %d", a.status, a.body, status)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if got := a.header.Get(fields[i]); got != fields[i+1] {
			t.Errorf("%s: %q, want %q", fields[i], got, fields[i+1])
		}
	}
}

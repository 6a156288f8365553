package api

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

func (h *harness) index() string { return strconv.FormatUint(h.api.view().ConfigIndex(), 10) }

// TestHistory: every change is there with who made it, and every state it led to can be shown and gone back to.
func TestHistory(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/services", "name=s&url=http://one.test")
	first := h.index()
	h.advance(time.Hour)
	between := h.clock().UTC().Format(time.RFC3339)
	h.advance(time.Hour)
	h.must(201, "POST", "/consumers", "username=ann")
	h.must(200, "PATCH", "/services/s", "host=two.test")
	h.must(201, "POST", "/consumers/ann/key-auth", "key=very-secret")
	h.must(204, "DELETE", "/consumers/ann", "")
	list := h.get("/history?size=2").fields(t)
	data := list["data"].([]any)
	newest := data[0].(map[string]any)
	if len(data) != 2 || newest["action"] != "DELETE /consumers/ann" || newest["from"] != "192.0.2.1" || newest["node"] != nodeID || newest["count"] != 2.0 {
		t.Fatalf("%v", list)
	}
	if strings.Contains(fmt.Sprint(list), "very-secret") {
		t.Error("a key is shown")
	}
	for path, want := range map[string]string{
		"/key-auths/k": "/key-auths/***", "/consumers/ann/key-auth/k/consumer": "/consumers/ann/key-auth/***/consumer", "/key-auths/": "/key-auths/",
		"/key-auths/" + someID: "/key-auths/" + someID, "/services/key-auths": "/services/key-auths", "/": "/", "": "",
	} {
		if got := maskedPath(path); got != want {
			t.Errorf("%s is shown as %s", path, got)
		}
	}
	next, _ := list["next"].(string)
	if rest := h.get(next).fields(t)["data"].([]any); len(rest) != 2 || rest[1].(map[string]any)["action"] != "POST /consumers" {
		t.Errorf("%v", rest)
	}
	item := h.get("/history/" + fmt.Sprint(newest["index"]))
	if item.status != 200 || strings.Contains(string(item.body), "very-secret") || !strings.Contains(string(item.body), `"key":"***"`) {
		t.Errorf("%d %s", item.status, item.body)
	}
	for _, path := range []string{"/history/0", "/history/99", "/history/x"} {
		if r := h.get(path); r.status != 404 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	if r := h.get("/history/verify").fields(t); r["ok"] != true || r["changes"] != 5.0 || r["hash"] != newest["hash"] {
		t.Errorf("%v", r)
	}

	for _, asOf := range []string{first, between} {
		if r := h.get("/services/s?as_of=" + asOf).fields(t); r["host"] != "one.test" {
			t.Errorf("as of %s: %v", asOf, r)
		}
		if n := len(h.get("/consumers?as_of=" + asOf).ids(t)); n != 0 {
			t.Errorf("as of %s: %d consumers", asOf, n)
		}
	}
	for path, status := range map[string]int{
		"/services?as_of=yesterday": 400, "/services?as_of=99999": 410, "/services?as_of=0": 200, "/services?consistency=strong": 200,
		"/services?consistency=weak": 400,
	} {
		if r := h.get(path); r.status != status {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}

	before := h.get("/services").body
	dry := h.do("POST", "/history/"+first+"/rollback?dry_run=1", "", "")
	if dry.status != 200 || dry.fields(t)["count"] != 1.0 || h.get("/services/s").fields(t)["host"] != "two.test" {
		t.Fatalf("%d %s", dry.status, dry.body)
	}
	then := h.get("/services?as_of=" + first).body
	if r := h.do("POST", "/history/"+first+"/rollback", "", ""); r.status != 200 || r.fields(t)["count"] != 1.0 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if now := h.get("/services").body; string(now) != string(then) {
		t.Errorf("%s, was %s", now, then)
	}
	// And forward again: the history has it all.
	if r := h.do("POST", "/history/"+fmt.Sprint(newest["index"])+"/rollback", "", ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if now := h.get("/services").body; string(now) != string(before) {
		t.Errorf("%s, was %s", now, before)
	}
	if r := h.do("POST", "/history/99999/rollback", "", ""); r.status != 410 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestKeep: how much of the history is kept is a setting.
func TestKeep(t *testing.T) {
	h := newHarness(t, nil, func(c *Config) { c.Keep = fsm.Keep{Changes: 3} })
	for i := range 10 {
		h.must(201, "POST", "/consumers", fmt.Sprintf("username=u%d", i))
	}
	list := h.get("/history").fields(t)
	if n := len(list["data"].([]any)); n != 3 || list["since"] != 7.0 {
		t.Errorf("%d changes since %v", n, list["since"])
	}
	if r := h.get("/consumers?as_of=6"); r.status != 410 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestEntityTags: an entity has a tag, which writes may insist on.
func TestEntityTags(t *testing.T) {
	h := newHarness(t, nil)
	made := h.must(201, "POST", "/consumers", "username=ann")
	tag := made.header.Get("ETag")
	if got := h.get("/consumers/ann").header.Get("ETag"); tag == "" || got != tag {
		t.Fatalf("tags %q and %q", tag, got)
	}
	for _, c := range []struct {
		method, header, value string
		status                int
	}{
		{"GET", "If-None-Match", tag, 304}, {"GET", "If-None-Match", `W/` + tag, 304}, {"GET", "If-None-Match", `"x"`, 200},
		{"PATCH", "If-Match", `"x"`, 412}, {"PUT", "If-Match", `"x"`, 412}, {"DELETE", "If-Match", `"x"`, 412},
		{"PATCH", "If-Match", `"x", ` + tag, 200}, {"PATCH", "If-Match", tag, 412}, {"DELETE", "If-Match", "*", 204}, {"PUT", "If-Match", "*", 412},
	} {
		if r := h.do(c.method, "/consumers/ann", jsonType, `{"tags":["t"]}`, c.header, c.value); r.status != c.status {
			t.Errorf("%s with %s: %s is answered with %d %s, want %d", c.method, c.header, c.value, r.status, r.body, c.status)
		}
	}
}

// TestMinIndex: a read waits until this node has come to an index.
func TestMinIndex(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/consumers", "username=ann")
	go func() {
		time.Sleep(20 * time.Millisecond)
		h.form("POST", "/consumers", "username=bob")
	}()
	if r := h.do("GET", "/consumers/bob", "", "", headerMinIndex, "2"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.do("GET", "/consumers/bob", "", "", headerMinIndex, "x"); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestWatch: changes come as they are made, from an index on, and the stream ends with the API.
func TestWatch(t *testing.T) {
	h := newHarness(t, nil, func(c *Config) { c.Keep = fsm.Keep{Changes: 3} })
	h.must(201, "POST", "/consumers", "username=ann")
	server := httptest.NewUnstartedServer(h.api.Handler())
	server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	server.Start()
	defer server.Close()
	watch := func(query string) func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		t.Cleanup(cancel)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/watch"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Body.Close() })
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %v", a.StatusCode, a.Header)
		}
		lines := bufio.NewScanner(a.Body)
		return func() string {
			for lines.Scan() {
				if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
					lines.Scan()
					return event + " " + lines.Text()
				}
			}
			return "end"
		}
	}
	all, later := watch("?index=0"), watch("")
	if e := all(); e != "change id: 1" {
		t.Error(e)
	}
	time.Sleep(600 * time.Millisecond) // a stream outlives the server's timeouts
	h.must(201, "POST", "/consumers", "username=bob")
	for _, next := range []func() string{all, later} {
		if e := next(); e != "change id: 2" {
			t.Error(e)
		}
	}
	for i := range 4 {
		h.must(201, "POST", "/consumers", fmt.Sprintf("username=u%d", i))
	}
	if e := watch("?index=1")(); e != "reset id: 6" {
		t.Error(e)
	}
	if r := h.get("/watch?index=x"); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.api.Close()
	for range 5 {
		if e := all(); e == "end" {
			return
		}
	}
	t.Error("the stream does not end")
}

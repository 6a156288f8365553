package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// diary collects what instances do.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.entries
	d.entries = nil
	return taken
}

// everyPhase writes into a diary, and may answer in the access phase.
type everyPhase struct {
	name    string
	diary   *diary
	verdict plugin.Verdict
}

func (p everyPhase) Rewrite(*plugin.Exchange) plugin.Verdict {
	p.diary.write("%s rewrite", p.name)
	return plugin.Continue
}

func (p everyPhase) Access(ex *plugin.Exchange) plugin.Verdict {
	p.diary.write("%s access", p.name)
	if p.verdict == plugin.Stop {
		return ex.Exit(418, "no coffee")
	}
	return plugin.Continue
}
func (p everyPhase) FilterHeader(*plugin.Exchange) { p.diary.write("%s header", p.name) }
func (p everyPhase) FilterBody(_ *plugin.Exchange, piece []byte, last bool) []byte {
	if last {
		p.diary.write("%s body", p.name)
	}
	return piece
}
func (p everyPhase) Log(ex *plugin.Exchange) {
	p.diary.write("%s log %d %s", p.name, ex.Response.Status, ex.Response.Source)
}

func TestPhasesRunInOrder(t *testing.T) {
	w := serving(t, echo)
	d := &diary{}
	w.hook("high", everyPhase{"high", d, plugin.Continue})
	w.hook("low", everyPhase{"low", d, plugin.Continue})
	w.plugin("test-low", "low", nil)
	w.plugin("test-high", "high", nil)
	for path, want := range map[string]string{
		"/r":    "high rewrite, low rewrite, high access, low access, high header, low header, high body, low body, high log 200 service, low log 200 service",
		"/none": "high rewrite, low rewrite, high header, low header, high body, low body, high log 404 kong, low log 404 kong",
	} {
		w.get(path)
		var got []string
		eventually(t, "log of "+path, func() bool {
			got = append(got, d.take()...)
			return len(got) >= strings.Count(want, ",")+1
		})
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %s\nwant %s", path, strings.Join(got, ", "), want)
		}
	}
}

func TestAnswerInAccessSkipsLaterAccessOnly(t *testing.T) {
	w := serving(t, func(http.ResponseWriter, *http.Request) { t.Error("the service was asked") })
	d := &diary{}
	w.hook("stops", everyPhase{"stops", d, plugin.Stop})
	w.hook("later", everyPhase{"later", d, plugin.Continue})
	w.plugin("test-high", "stops", nil)
	w.plugin("test-low", "later", nil)
	w.get("/r").want(t, 418, `{"message":"no coffee"}`)
	var got []string
	eventually(t, "log", func() bool { got = append(got, d.take()...); return len(got) >= 9 })
	want := "stops rewrite, later rewrite, stops access, stops header, later header, stops body, later body, stops log 418 kong, later log 418 kong"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
}

// TestConsumerScope: an instance of a consumer is chosen only after the plugin
// that finds the consumer.
func TestConsumerScope(t *testing.T) {
	w := serving(t, echo)
	d := &diary{}
	bob := w.put("consumers", object{"username": "bob"})
	for _, name := range []string{"high-bob", "low-bob", "low-all"} {
		w.hook(name, everyPhase{name, d, plugin.Continue})
	}
	w.hook("auth", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
		consumer, found := ex.Directory.Consumer(ex.Request.Header.Get("X-User"))
		if found {
			ex.Authenticate(consumer, plugin.Credential{ID: "c", Identifier: "c"})
		}
		return plugin.Continue
	}))
	w.plugin("test-high", "high-bob", object{"consumer": object{"id": bob}})
	w.plugin("test-auth", "auth", nil)
	w.plugin("test-low", "low-all", nil)
	w.plugin("test-low", "low-bob", object{"consumer": object{"id": bob}})
	for user, want := range map[string]string{"bob": "low-bob access", "eve": "low-all access"} {
		w.get("/r", "X-User", user).want(t, 200, "")
		got := d.take()
		if !slices.Contains(got, want) || slices.Contains(got, "high-bob access") {
			t.Errorf("%s: %v", user, got)
		}
	}
}

func TestPanicsOfPlugins(t *testing.T) {
	for phase, c := range map[string]struct {
		hook   any
		status int
		body   string
	}{
		"rewrite":       {rewriteHook(func(*plugin.Exchange) plugin.Verdict { panic("oh") }), 500, `{"message":"An unexpected error occurred"}`},
		"access":        {accessHook(func(*plugin.Exchange) plugin.Verdict { panic("oh") }), 500, `{"message":"An unexpected error occurred"}`},
		"header_filter": {headerHook(func(*plugin.Exchange) { panic("oh") }), 200, "GET /"},
		"body_filter":   {bodyHook(func(*plugin.Exchange, []byte, bool) []byte { panic("oh") }), 200, "GET /"},
		"log":           {logHook(func(*plugin.Exchange) { panic("oh") }), 200, "GET /"},
	} {
		t.Run(phase, func(t *testing.T) {
			w := serving(t, echo)
			d := &diary{}
			w.hook("oh", c.hook)
			w.hook("other", logHook(func(*plugin.Exchange) { d.write("logged") }))
			w.plugin("test-high", "oh", nil)
			w.plugin("test-low", "other", nil)
			w.get("/r").want(t, c.status, c.body)
			eventually(t, "the other plugin's log phase", func() bool { return len(d.take()) == 1 })
			logged := w.logs.FilterMessage("panic in a plugin").All()
			if len(logged) == 0 || logged[0].ContextMap()["phase"] != phase {
				t.Fatalf("logged: %v", w.logs.All())
			}
			if stack := fmt.Sprintf("%s", logged[0].ContextMap()["stack"]); !strings.Contains(stack, "phases_test.go") {
				t.Fatalf("the stack does not lead to the plugin: %s", stack)
			}
		})
	}
}

func TestBrokenInstanceDisablesItsScopeOnly(t *testing.T) {
	w := newWorld(t)
	w.route("", object{"paths": []string{"/good"}})
	for path, p := range map[string]object{
		"/refuses": {"name": "test-mid", "config": object{"hook": "missing"}},
		"/panics":  {"name": "test-mid", "config": object{"hook": "panic"}},
		"/unknown": {"name": "from-the-future"},
		"/known":   {"name": "test-known"},
	} {
		route := w.route("", object{"paths": []string{path}})
		w.put("plugins", merged(object{"enabled": true, "route": object{"id": route}}, p))
	}
	w.start()
	w.get("/good").want(t, 503, "no Service")
	for _, path := range []string{"/refuses", "/panics", "/unknown", "/known"} {
		w.get(path).want(t, 500, `{"message":"An unexpected error occurred"}`)
	}
	if problems := w.proxy.Problems(); len(problems) != 4 || problems[0].Kind != "plugins" {
		t.Fatalf("problems: %v", problems)
	}
}

func TestDisabledPluginsDoNotRun(t *testing.T) {
	w := serving(t, echo)
	w.plugin("test-mid", "missing", object{"enabled": false})
	w.plugin("test-low", "missing", object{"protocols": []string{"tcp"}})
	w.get("/r").want(t, 200, "")
}

func TestFiltersChangeTheAnswer(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Secret", "1")
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "quiet!")
	})
	w.hook("header", headerHook(func(ex *plugin.Exchange) {
		ex.Response.Header.Del("X-Secret")
		ex.Response.Header.Set("X-Added", "yes")
	}))
	w.hook("body", bodyHook(func(_ *plugin.Exchange, piece []byte, last bool) []byte {
		piece = []byte(strings.ToUpper(string(piece)))
		if last {
			piece = append(piece, " end"...)
		}
		return piece
	}))
	w.plugin("test-mid", "header", nil)
	w.plugin("test-low", "body", nil)
	a := w.get("/r")
	if a.body != "QUIET! end" || a.Header.Get("X-Added") != "yes" || a.Header.Get("X-Secret") != "" {
		t.Fatalf("%q %v", a.body, a.Header)
	}
	if a := w.get("/none"); !strings.HasSuffix(a.body, " end") || a.ContentLength != int64(len(a.body)) {
		t.Fatalf("filtered answer made here: %q of length %d", a.body, a.ContentLength)
	}
}

// TestHeaderFilterAnswers: response-ratelimiting replaces an answer that way.
func TestHeaderFilterAnswers(t *testing.T) {
	w := serving(t, echo)
	w.hook("refuse", headerHook(func(ex *plugin.Exchange) { ex.Exit(429, "too much") }))
	w.plugin("test-mid", "refuse", nil)
	if a := w.get("/r").want(t, 429, `{"message":"too much"}`); a.Header.Get("Server") != "kong/3.9.1" {
		t.Fatalf("fields: %v", a.Header)
	}
}

// TestPluginChangesTheRequest: what access edits is sent.
func TestPluginChangesTheRequest(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s a=%s b=%q %s", r.Method, r.RequestURI, r.Header.Get("A"), r.Header.Values("B"), body)
	})
	w.hook("edit", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
		ex.Upstream.Method, ex.Upstream.Path, ex.Upstream.Query, ex.Upstream.HasQuery = "PUT", "/other", "q=1", true
		ex.Request.Header.Set("A", "1\r\nB: injected")
		ex.Request.Header.Del("B")
		ex.Request.Body, ex.Request.ContentLength = strings.NewReader("new body"), 8
		return plugin.Continue
	}))
	w.plugin("test-mid", "edit", nil)
	w.do("POST", "/r/x", strings.NewReader("old"), "B", "2").want(t, 200, `PUT /other?q=1 a=1  B: injected b=[] new body`)
}

func TestInstancesAreKept(t *testing.T) {
	w := serving(t, echo)
	w.hook("kept", logHook(func(*plugin.Exchange) {}))
	made := func() int {
		w.hooks.mu.Lock()
		defer w.hooks.mu.Unlock()
		return w.hooks.made["kept"]
	}
	id := w.plugin("test-mid", "kept", nil)
	w.put("consumers", object{"username": "bob"})
	w.route("", object{"paths": []string{"/other"}})
	if n := made(); n != 1 {
		t.Fatalf("made %d times", n)
	}
	w.plugin("test-mid", "kept", object{"id": id, "enabled": true})
	if n := made(); n != 2 {
		t.Fatalf("after a change: made %d times", n)
	}
	w.apply(fsm.Op{Verb: fsm.Delete, Kind: "plugins", ID: id})
	w.get("/r").want(t, 200, "")
}

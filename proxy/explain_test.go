package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/explain"
	"github.com/sluicegate/sluice/proxy/plugin"
)

func init() {
	plugin.Register(&plugin.Definition{Name: "test-finds", Version: "1", Priority: 1500, New: newHook, Identifies: true})
}

// counts is an instance that would count a request under its consumer.
type counts struct{ limit *limiter.Limit }

func (c counts) Access(*plugin.Exchange) plugin.Verdict { panic("an explanation runs no plugin") }

func (c counts) CountedAs(ex *plugin.Exchange) (*limiter.Limit, string) {
	if ex.Consumer == nil {
		return c.limit, "nobody"
	}
	return c.limit, ex.Consumer.ID
}

func question(target string) *explain.Question {
	return &explain.Question{Method: "GET", Scheme: "http", Host: "a.org", Target: target, Client: netip.MustParseAddr("192.0.2.1")}
}

// TestExplain: route, service, plugins by the consumer that one of them finds, and
// where the request goes, without any of it happening.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	limit := &limiter.Limit{ID: "l"}
	w.hook("counts", counts{limit})
	w.hook("finds", accessHook(func(*plugin.Exchange) plugin.Verdict { panic("an explanation runs no plugin") }))
	service := w.service("http://127.0.0.1:5000", object{"name": "students", "path": "/base", "retries": 5,
		"connect_timeout": 1000, "read_timeout": 2000, "write_timeout": 3000})
	route := w.route(service, object{"name": "r", "paths": []string{"/r"}})
	w.route("", object{"name": "short", "paths": []string{"/"}})
	w.route("", object{"name": "other", "paths": []string{"/other"}})
	bob := w.put("consumers", object{"username": "bob"})
	w.plugin("test-finds", "finds", object{"route": object{"id": route}})
	w.plugin("test-mid", "counts", nil)
	w.plugin("test-mid", "counts", object{"consumer": object{"id": bob}, "instance_name": "of bob"})
	broken := w.plugin("test-low", "missing", object{"service": object{"id": service}})
	w.start()

	e := w.proxy.Explain(question("/r/x/../y?q=1"))
	if e.Route == nil || e.Route.Name != "r" || e.Path != "/r/y" || e.Service == nil || e.Service.Name != "students" {
		t.Fatalf("%+v", e)
	}
	var outcomes []string
	for _, r := range e.Routes {
		outcomes = append(outcomes, r.Name+" "+r.Outcome)
	}
	if got := strings.Join(outcomes, ", "); got != "r won, other no match, short outranked" && got != "other no match, r won, short outranked" || e.Total != 3 {
		t.Errorf("%d routes: %s", e.Total, got)
	}
	plugins := func(e *explain.Explanation) string {
		var list []string
		for _, p := range e.Plugins {
			list = append(list, fmt.Sprintf("%s %v %v", p.Name, p.Scope, p.Phases))
		}
		return strings.Join(list, "; ")
	}
	if got, want := plugins(e), "test-finds [route] [access]; test-mid [] [access]; test-low [service] []"; got != want {
		t.Errorf("plugins %s, want %s", got, want)
	}
	if len(e.Counted) != 1 || e.Counted[0].Key != "nobody" || e.Counted[0].Limit != limit {
		t.Errorf("counted: %+v", e.Counted)
	}
	// An instance that cannot be made answers 500, and with that nothing is sent.
	if e.Answer == nil || e.Answer.Status != 500 || e.Upstream != nil || e.Plugins[2].Error == "" {
		t.Errorf("a broken plugin: %+v, %+v", e.Answer, e.Plugins[2])
	}
	index := w.apply(fsm.Op{Verb: fsm.Delete, Kind: "plugins", ID: broken})
	if err := w.proxy.Wait(t.Context(), index); err != nil {
		t.Fatal(err)
	}

	q := question("/r/y?q=1")
	q.Consumer = w.proxy.current.Load().view.Get("consumers", bob).Value.(*fsm.Consumer)
	e = w.proxy.Explain(q)
	if got, want := plugins(e), "test-finds [route] [access]; test-mid [consumer] [access]"; got != want {
		t.Errorf("with a consumer: plugins %s, want %s", got, want)
	}
	if len(e.Counted) != 1 || e.Counted[0].Key != bob || e.Counted[0].Plugin.InstanceName != "of bob" {
		t.Errorf("with a consumer: %+v", e.Counted)
	}
	want := explain.Upstream{Method: "GET", URL: "http://127.0.0.1:5000/base/y?q=1", Host: "127.0.0.1:5000", ConnectTimeout: 1000, ReadTimeout: 2000, WriteTimeout: 3000, Retries: 5}
	if e.Answer != nil || e.Upstream == nil || *e.Upstream != want {
		t.Errorf("upstream %+v, answer %+v", e.Upstream, e.Answer)
	}
}

// TestExplainAnswers: what is answered here is said as a client would get it.
func TestExplainAnswers(t *testing.T) {
	w := newWorld(t)
	w.route("", object{"name": "secure", "paths": []string{"/secure"}, "protocols": []string{"https"}})
	w.route("", object{"name": "bare", "paths": []string{"/bare"}})
	w.start()
	for target, want := range map[string]struct {
		status int
		text   string
	}{"/none": {404, "no Route matched"}, "/secure": {426, "HTTPS"}, "/bare": {503, "no Service found"}} {
		e := w.proxy.Explain(question(target))
		if e.Answer == nil || e.Answer.Status != want.status || !strings.Contains(e.Answer.Body, want.text) {
			t.Errorf("%s: %+v", target, e.Answer)
		}
		w.get(target).want(t, want.status, want.text)
	}
	q := question("/secure")
	q.Scheme = "https"
	if e := w.proxy.Explain(q); e.Answer == nil || e.Answer.Status != 503 || e.Route == nil {
		t.Errorf("by https: %+v", e.Answer)
	}
}

// TestExplainNearest: of many routes there are those that match, and some others.
func TestExplainNearest(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.route("", object{"paths": []string{fmt.Sprintf("/a/%d", i)}})
	}
	for i := range 5 {
		w.route("", object{"paths": []string{"/" + strings.Repeat("b", i)}})
	}
	w.start()
	e := w.proxy.Explain(question("/bbbbbb"))
	matching := 0
	for _, r := range e.Routes {
		if r.Outcome != "no match" {
			matching++
		}
	}
	if len(e.Routes) != nearestRoutes || matching != 5 || e.Total != 105 {
		t.Errorf("%d routes of %d, of which %d match", len(e.Routes), e.Total, matching)
	}
	q := question("/bbbbbb")
	q.AllRoutes = true
	if e := w.proxy.Explain(q); len(e.Routes) != 105 {
		t.Errorf("all: %d routes", len(e.Routes))
	}
}

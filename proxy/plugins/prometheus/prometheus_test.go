package prometheus

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

const allOn = `{"status_code_metrics":true,"latency_metrics":true,"bandwidth_metrics":true,"per_consumer":true}`

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	stored, _, _ := plugintest.Insert(t, name, `{"protocols":["tcp","http"],"config":{"per_consumer":true}}`)
	want := map[string]any{
		"per_consumer": true, "status_code_metrics": false, "ai_metrics": false, "latency_metrics": false,
		"bandwidth_metrics": false, "upstream_health_metrics": false, "wasm_metrics": false,
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("prometheus")
	if !ok || d.Priority != 13 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	if _, err := plugintest.New(t, plugintest.Env(nil), name, `{}`); err == nil {
		t.Error("works without a registry")
	}
	env, _ := node()
	in := &plugin.Instance{Config: map[string]any{"per_consumer": 1}}
	if _, err := New(env, in); err == nil {
		t.Error("a config of the wrong type was taken")
	}
}

// TestNameTaken: a metric that something else has registered is an error, and
// no panic.
func TestNameTaken(t *testing.T) {
	env, registry := node()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "kong_bandwidth_bytes"}))
	for range 2 {
		if _, err := plugintest.New(t, env, name, `{}`); err == nil {
			t.Error("no error")
		}
	}
}

func node() (*plugin.Env, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	env := plugintest.Env(nil)
	env.Metrics = registry
	return env, registry
}

// exchange has been served: 2 ms in the gateway, 40 ms at the upstream, 100 ms
// in all.
func exchange() *plugin.Exchange {
	ex := plugintest.Exchange("GET", "/")
	ex.Route, ex.Service = &fsm.Route{ID: "r-id", Name: "students"}, &fsm.Service{ID: "s-id", Name: "student-service", Host: "h"}
	ex.Consumer = &fsm.Consumer{ID: "c1", Username: "bob"}
	ex.Response.Status, ex.Response.Source = 200, plugin.FromService
	ex.Response.Received, ex.Response.Sent = 100, 2000
	at := func(ms int) time.Time { return plugintest.Now().Add(time.Duration(ms) * time.Millisecond) }
	ex.Times = plugin.Times{Started: at(0), UpstreamStarted: at(2), UpstreamAnswered: at(42), Finished: at(100)}
	return ex
}

// gather gives every series of a registry as "name{labels} value", histograms
// as "count/sum".
func gather(t testing.TB, registry *prometheus.Registry) map[string]string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			val := fmt.Sprint(m.GetCounter().GetValue())
			if f.GetType() == dto.MetricType_HISTOGRAM {
				val = fmt.Sprintf("%d/%v", m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum())
			}
			all[f.GetName()+labelsOf(m)] = val
		}
	}
	return all
}

func labelsOf(m *dto.Metric) string {
	if len(m.GetLabel()) == 0 {
		return ""
	}
	pairs := make([]string, 0, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		pairs = append(pairs, l.GetName()+"="+l.GetValue())
	}
	return "{" + strings.Join(pairs, ",") + "}" // sorted by name already
}

func log(t testing.TB, env *plugin.Env, config string, ex *plugin.Exchange) {
	t.Helper()
	plugintest.Instance(t, env, name, config).(plugin.Logger).Log(ex)
}

func TestLog(t *testing.T) {
	const (
		status  = "kong_http_requests_total{code=%s,consumer=%s,route=students,service=student-service,source=%s,workspace=default}"
		bytes   = "kong_bandwidth_bytes{consumer=%s,direction=%s,route=students,service=student-service,workspace=default}"
		latency = "kong_%s_latency_ms{route=students,service=student-service,workspace=default}"
		errors  = "kong_nginx_metric_errors_total"
	)
	type series = map[string]string
	tests := map[string]struct {
		config  string
		prepare func(ex *plugin.Exchange)
		want    series
	}{
		"nothing is on": {`{}`, nil, series{}},
		"status": {`{"status_code_metrics":true}`, nil,
			series{fmt.Sprintf(status, "200", "", "service"): "1"}},
		"made here": {`{"status_code_metrics":true}`,
			func(ex *plugin.Exchange) { ex.Response.Status, ex.Response.Source = 429, plugin.FromKong },
			series{fmt.Sprintf(status, "429", "", "kong"): "1"}},
		"by nobody": {`{"status_code_metrics":true}`,
			func(ex *plugin.Exchange) { ex.Response.Status, ex.Response.Source = 499, "" },
			series{fmt.Sprintf(status, "499", "", "kong"): "1"}},
		"per consumer": {`{"status_code_metrics":true,"bandwidth_metrics":true,"per_consumer":true}`, nil,
			series{
				fmt.Sprintf(status, "200", "bob", "service"): "1",
				fmt.Sprintf(bytes, "bob", "ingress"):         "100",
				fmt.Sprintf(bytes, "bob", "egress"):          "2000",
			}},
		"per consumer, nobody": {`{"status_code_metrics":true,"per_consumer":true}`,
			func(ex *plugin.Exchange) { ex.Consumer = nil },
			series{fmt.Sprintf(status, "200", "", "service"): "1"}},
		"bandwidth": {`{"bandwidth_metrics":true}`, nil,
			series{fmt.Sprintf(bytes, "", "ingress"): "100", fmt.Sprintf(bytes, "", "egress"): "2000"}},
		"latency": {`{"latency_metrics":true}`, nil,
			series{
				fmt.Sprintf(latency, "request"): "1/100", fmt.Sprintf(latency, "upstream"): "1/40",
				fmt.Sprintf(latency, "kong"): "1/2",
			}},
		"upstream never asked": {`{"latency_metrics":true}`,
			func(ex *plugin.Exchange) {
				ex.Times.UpstreamStarted, ex.Times.UpstreamAnswered = time.Time{}, time.Time{}
			},
			series{
				fmt.Sprintf(latency, "request"): "1/100", fmt.Sprintf(latency, "upstream"): "0/0",
				fmt.Sprintf(latency, "kong"): "1/100",
			}},
		"upstream never answered": {`{"latency_metrics":true}`,
			func(ex *plugin.Exchange) { ex.Times.UpstreamAnswered = time.Time{} },
			series{
				fmt.Sprintf(latency, "request"): "1/100", fmt.Sprintf(latency, "upstream"): "0/0",
				fmt.Sprintf(latency, "kong"): "1/2",
			}},
		"no route": {allOn, func(ex *plugin.Exchange) { ex.Route = nil }, series{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			env, registry := node()
			ex := exchange()
			if test.prepare != nil {
				test.prepare(ex)
			}
			log(t, env, test.config, ex)
			test.want[errors] = "0"
			if diff := cmp.Diff(test.want, gather(t, registry)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	tests := map[string]struct {
		prepare        func(ex *plugin.Exchange)
		service, route string
	}{
		"names":          {func(*plugin.Exchange) {}, "student-service", "students"},
		"a route's id":   {func(ex *plugin.Exchange) { ex.Route = &fsm.Route{ID: "r-id"} }, "student-service", "r-id"},
		"a service host": {func(ex *plugin.Exchange) { ex.Service = &fsm.Service{ID: "s-id", Host: "h"} }, "h", "students"},
		"no service":     {func(ex *plugin.Exchange) { ex.Service = nil }, "", "students"},
		"not UTF-8":      {func(ex *plugin.Exchange) { ex.Service = &fsm.Service{Name: "a\xff"} }, "a\ufffd", "students"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			env, registry := node()
			ex := exchange()
			test.prepare(ex)
			log(t, env, allOn, ex)
			want := fmt.Sprintf("kong_request_latency_ms{route=%s,service=%s,workspace=default}", test.route, test.service)
			if got := gather(t, registry); got[want] != "1/100" {
				t.Errorf("no %s in %v", want, got)
			}
		})
	}
}

func TestBuckets(t *testing.T) {
	env, registry := node()
	log(t, env, allOn, exchange())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	upstream := []float64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
	want := map[string][]float64{
		"kong_kong_latency_ms":     {1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000},
		"kong_upstream_latency_ms": upstream, "kong_request_latency_ms": upstream,
	}
	got := map[string][]float64{}
	for _, f := range families {
		if f.GetType() != dto.MetricType_HISTOGRAM {
			continue
		}
		for _, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
			got[f.GetName()] = append(got[f.GetName()], b.GetUpperBound())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSurvivesChange: a new configuration makes new instances, and the counters
// go on.
func TestSurvivesChange(t *testing.T) {
	env, registry := node()
	for range 3 {
		log(t, env, `{"status_code_metrics":true}`, exchange())
	}
	want := "kong_http_requests_total{code=200,consumer=,route=students,service=student-service,source=service,workspace=default}"
	if got := gather(t, registry)[want]; got != "3" {
		t.Errorf("counted %s", got)
	}
}

// TestBounded fills each table, and frees the places of routes that have been
// idle.
func TestBounded(t *testing.T) {
	env, registry := node()
	now := plugintest.Now()
	p := plugintest.Instance(t, env, name, allOn).(*Plugin)
	const most = 3
	p.metrics.statuses.max, p.metrics.accounts.max, p.metrics.places.max = most, most, most
	serve := func(i int) {
		ex := exchange()
		ex.Route, ex.Times.Finished = &fsm.Route{ID: fmt.Sprintf("r%d", i)}, now
		p.Log(ex)
	}
	// routes says which routes have series of a kind, and what was refused.
	routes := func() (string, string) {
		kinds := map[string]string{}
		all := gather(t, registry)
		for i := range 10 {
			for s := range all {
				family, _, _ := strings.Cut(s, "{")
				if digit := fmt.Sprint(i); strings.Contains(s, "route=r"+digit+",") && !strings.HasSuffix(kinds[family], digit) {
					kinds[family] += digit
				}
			}
		}
		list := ""
		for _, kind := range kinds {
			if list == "" {
				list = kind
			} else if list != kind {
				t.Errorf("the kinds differ: %v", kinds)
			}
		}
		return list, all["kong_nginx_metric_errors_total"]
	}
	check := func(when, wantRoutes, wantRefused string) {
		t.Helper()
		if got, refused := routes(); got != wantRoutes || refused != wantRefused {
			t.Errorf("%s: routes %s, refused %s, want %s and %s", when, got, refused, wantRoutes, wantRefused)
		}
	}
	serve(0)
	serve(1)
	serve(2)
	check("full", "012", "0")
	serve(3)
	check("one too many", "012", "3")
	serve(0)
	check("those in it still count", "012", "3")
	now = now.Add(idleAfter / 2)
	serve(1)
	serve(3)
	check("half an hour later", "012", "6")
	now = now.Add(idleAfter/2 + time.Minute)
	serve(3)
	check("the others have been idle for an hour", "13", "6")
	serve(4)
	serve(5)
	check("full again", "134", "9")
	now = now.Add(idleAfter + time.Minute)
	serve(2)
	check("one that was dropped is there anew", "2", "9")
}

func TestConcurrentLog(t *testing.T) {
	env, registry := node()
	var wait sync.WaitGroup
	for range 4 {
		p := plugintest.Instance(t, env, name, allOn).(*Plugin)
		wait.Go(func() {
			for i := range 200 {
				ex := exchange()
				ex.Response.Status = 200 + i%3
				p.Log(ex)
			}
		})
	}
	wait.Wait()
	got := gather(t, registry)["kong_request_latency_ms{route=students,service=student-service,workspace=default}"]
	if got != "800/80000" {
		t.Errorf("counted %s", got)
	}
}

func TestLogAllocates(t *testing.T) {
	env, _ := node()
	p := plugintest.Instance(t, env, name, allOn).(*Plugin)
	ex := exchange()
	if n := testing.AllocsPerRun(200, func() { p.Log(ex) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLog(b *testing.B) {
	env, _ := node()
	p := plugintest.Instance(b, env, name, allOn).(*Plugin)
	ex := exchange()
	b.ReportAllocs()
	for b.Loop() {
		p.Log(ex)
	}
}

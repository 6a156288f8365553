package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/sluicegate/sluice/proxy/plugin"
)

func TestMetrics(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/teapot" {
			w.WriteHeader(418)
		}
	})
	for range 3 {
		w.get("/r")
	}
	w.get("/r/teapot")
	w.get("/none")
	const requests = `
# HELP sluice_http_requests_total Requests by service, route and status; empty labels: no route matched.
# TYPE sluice_http_requests_total counter
sluice_http_requests_total{code="200",route="r",service="s"} 3
sluice_http_requests_total{code="404",route="",service=""} 1
sluice_http_requests_total{code="418",route="r",service="s"} 1
# HELP kong_nginx_requests_total Total number of requests.
# TYPE kong_nginx_requests_total gauge
kong_nginx_requests_total{node_id="node-1",subsystem="http"} 5
# HELP kong_node_info Id and version of this node, always 1.
# TYPE kong_node_info gauge
kong_node_info{node_id="node-1",version="3.9.1"} 1
# HELP sluice_access_log_dropped_total Access log lines that were dropped because the writer fell behind.
# TYPE sluice_access_log_dropped_total counter
sluice_access_log_dropped_total 0
`
	eventually(t, "the counts", func() bool {
		return testutil.GatherAndCompare(w.metrics, strings.NewReader(requests), "sluice_http_requests_total",
			"kong_nginx_requests_total", "kong_node_info", "sluice_access_log_dropped_total") == nil
	})
	if problems, err := testutil.GatherAndLint(w.metrics); err != nil {
		t.Fatal(err, problems)
	}
	for _, name := range []string{"sluice_config_index", "sluice_config_build_seconds", "sluice_config_age_seconds"} {
		if n, err := testutil.GatherAndCount(w.metrics, name); n != 1 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if n, err := testutil.GatherAndCount(w.metrics, "kong_nginx_connections_total"); n != 7 || err != nil {
		t.Errorf("connections: %d states, %v", n, err)
	}
}

// TestSeriesOfDeletedRoutes: they are dropped, those of others count on.
func TestSeriesOfDeletedRoutes(t *testing.T) {
	w := serving(t, echo)
	id := w.route("", object{"name": "brief", "paths": []string{"/brief"}})
	w.get("/brief")
	w.get("/r")
	count := func() string {
		got, err := testutil.CollectAndFormat(w.proxy.metrics, expfmt.TypeTextPlain, "sluice_http_requests_total")
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	eventually(t, "both", func() bool {
		return strings.Contains(count(), `"brief"`) && strings.Contains(count(), `"r",service="s"} 1`)
	})
	w.put("routes", object{"id": id, "name": "renamed", "paths": []string{"/brief"}})
	if got := count(); strings.Contains(got, `"brief"`) || !strings.Contains(got, `"r",service="s"} 1`) {
		t.Fatalf("got %s", got)
	}
}

func TestStats(t *testing.T) {
	arrived, proceed := make(chan bool), make(chan bool)
	w := serving(t, func(http.ResponseWriter, *http.Request) { arrived <- true; <-proceed })
	done := make(chan error)
	go func() {
		resp, err := w.client.Get(w.url("/r"))
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-arrived
	s := w.proxy.Stats()
	if s.ConnectionsActive != 1 || s.ConnectionsWriting != 1 || s.ConnectionsWaiting != 0 || s.ConnectionsReading != 0 || s.TotalRequests != 1 {
		t.Errorf("during a request: %+v", s)
	}
	proceed <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "a waiting connection", func() bool {
		s := w.proxy.Stats()
		return s.ConnectionsActive == 1 && s.ConnectionsWriting == 0 && s.ConnectionsWaiting == 1 && s.TotalRequests == 1
	})
	w.client.CloseIdleConnections()
	eventually(t, "no connection", func() bool {
		s := w.proxy.Stats()
		return s.ConnectionsActive == 0 && s.ConnectionsWaiting == 0 && s.ConnectionsAccepted == 1
	})
}

// TestLogPhaseSeesEverything that loggers report.
func TestLogPhaseSeesEverything(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	})
	seen := make(chan string, 1)
	w.hook("log", logHook(func(ex *plugin.Exchange) {
		t := ex.Times
		ordered := !t.Started.After(t.UpstreamStarted) && !t.UpstreamStarted.After(t.UpstreamAnswered) && !t.UpstreamAnswered.After(t.Finished)
		seen <- fmt.Sprintln(ex.Route.Name, ex.Service.Name, ex.Response.Status, ex.Response.UpstreamStatus, ex.Response.Source,
			ex.Response.Sent > 100 && ex.Response.Sent < 1000, ex.Response.Received > 10000 && ex.Response.Received < 11000,
			ordered && !t.Started.IsZero(), ex.Client.Addr(), ex.Listener != 0)
	}))
	w.plugin("test-low", "log", nil)
	w.do("POST", "/r", strings.NewReader(strings.Repeat("x", 10000))).want(t, 200, "hello")
	if got := strings.TrimSpace(<-seen); got != "r s 200 200 service true true true 127.0.0.1 true" {
		t.Fatalf("got %s", got)
	}
}

package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/plugin"
)

func TestAccessLogLines(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345") })
	w.get("/r/a?b=c", "Referer", `http://x/"quoted"`, "User-Agent", "agent\t1", "Authorization", "Basic Ym9iOnB3")
	w.get("/none", "User-Agent", "")
	w.do("HEAD", "/r?", nil, "User-Agent", "ü")
	var lines []string
	eventually(t, "three lines", func() bool {
		lines = strings.Split(strings.TrimSuffix(w.access.String(), "\n"), "\n")
		return len(lines) == 3
	})
	const start, end = `^127\.0\.0\.1 - `, ` kong_request_id: "[0-9a-f]{32}"$`
	const date = ` \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] `
	for i, want := range []string{
		start + `bob` + date + `"GET /r/a\?b=c HTTP/1\.1" 200 5 "http://x/\\x22quoted\\x22" "agent\\x091"` + end,
		start + `-` + date + `"GET /none HTTP/1\.1" 404 \d+ "-" "-"` + end,
		start + `-` + date + `"HEAD /r\? HTTP/1\.1" 200 0 "-" "\\xC3\\xBC"` + end,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d is\n%s\nwant\n%s", i, lines[i], want)
		}
	}
}

// stuckWriter is a disk that takes nothing until it is released.
type stuckWriter struct {
	lockedBuffer
	entered chan struct{}
	once    sync.Once
	release chan struct{}
}

func (s *stuckWriter) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.release
	return s.lockedBuffer.Write(p)
}

func TestAccessLogDropsWhenTheDiskIsSlow(t *testing.T) {
	out := &stuckWriter{entered: make(chan struct{}), release: make(chan struct{})}
	a := newAccessLog(out, zap.NewNop())
	x := newExchange(&Proxy{})
	x.Request.RawPath = "/" + strings.Repeat("x", 1000)
	a.log(x)
	<-out.entered
	lines := 1
	for ; a.dropped.Load() == 0; lines++ {
		a.log(x)
	}
	close(out.release)
	a.close()
	if written := strings.Count(out.String(), "\n"); written != lines-1 || out.b.Len() > 2*accessLogBuffer {
		t.Fatalf("%d lines written of %d, one dropped", written, lines)
	}
	a.log(x)
	if n := a.dropped.Load(); n != 2 {
		t.Fatalf("after close: %d dropped", n)
	}
}

func TestAccessLogSurvivesErrors(t *testing.T) {
	failing := writerFunc(func([]byte) (int, error) { return 0, errors.New("disk full") })
	a := newAccessLog(failing, zap.NewNop())
	x := newExchange(&Proxy{})
	for range 10 {
		a.log(x)
	}
	a.close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestAppendLineAllocatesNothing(t *testing.T) {
	a := &accessLog{}
	x := newExchange(&Proxy{})
	x.received.Add("User-Agent", "curl/8")
	x.Request.RawPath, x.Times.Finished = "/students", time.Now()
	b := a.appendLine(nil, x)
	if n := testing.AllocsPerRun(100, func() { b = a.appendLine(b[:0], x) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzAccessLogLine(f *testing.F) {
	f.Add("GET", "/a", "b=c", "Basic Ym9iOnB3", "agent")
	f.Add("G\"T", "/\n", "\x00", "Basic \xff", "\"\\")
	f.Fuzz(func(t *testing.T, method, path, query, authorization, agent string) {
		x := newExchange(&Proxy{})
		x.Request.Method, x.Request.RawPath, x.Request.Query, x.Request.HasQuery = method, path, query, true
		x.received.Reset()
		x.received.Add("Authorization", authorization)
		x.received.Add("User-Agent", agent)
		line := string((&accessLog{}).appendLine(nil, x))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\"\n") || strings.Count(line, `"`) != 8 {
			t.Fatalf("line %q", line)
		}
	})
}

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

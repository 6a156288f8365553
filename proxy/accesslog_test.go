package proxy

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/obs"
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

// allFormats are those of the setting.
var allFormats = []AccessLogFormat{AccessLogKong, AccessLogCombined, AccessLogJSON}

func TestAccessLogCombined(t *testing.T) {
	w := newWorld(t)
	w.config.AccessLogFormat = AccessLogCombined
	w.behind(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345") })
	w.get("/r?q", "Referer", "http://x/", "User-Agent", `a"b`)
	want := regexp.MustCompile(`^127\.0\.0\.1 - - \[[^]]+\] "GET /r\?q HTTP/1\.1" 200 5 "http://x/" "a\\x22b"\n$`)
	eventually(t, "a line of nginx's format", func() bool { return want.MatchString(w.access.String()) })
}

// jsonLine is a line of the format json, and what its readers rely on.
type jsonLine struct {
	Time            *time.Time `json:"time"`
	RequestID       *string    `json:"request_id"`
	Client          *string    `json:"client"`
	Peer            *string    `json:"peer"`
	Method          *string    `json:"method"`
	URI             *string    `json:"uri"`
	Host            *string    `json:"host"`
	Protocol        *string    `json:"protocol"`
	TLS             *string    `json:"tls"`
	Status          *int       `json:"status"`
	Source          *string    `json:"source"`
	BytesSent       *int64     `json:"bytes_sent"`
	BytesReceived   *int64     `json:"bytes_received"`
	Referer         *string    `json:"referer"`
	UserAgent       *string    `json:"user_agent"`
	LatencyRequest  *float64   `json:"latency_request"`
	LatencyKong     *float64   `json:"latency_kong"`
	LatencyUpstream *float64   `json:"latency_upstream"`
	Upstream        *string    `json:"upstream"`
	UpstreamStatus  *int       `json:"upstream_status"`
	Service         *string    `json:"service"`
	Route           *string    `json:"route"`
	Consumer        *string    `json:"consumer"`
}

// readJSONLine wants all names of a line and no others.
func readJSONLine(t *testing.T, line string) jsonLine {
	t.Helper()
	var all map[string]json.RawMessage
	var l jsonLine
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := errors.Join(json.Unmarshal([]byte(line), &all), d.Decode(&l)); err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	for i := range reflect.TypeFor[jsonLine]().NumField() {
		if name := reflect.TypeFor[jsonLine]().Field(i).Tag.Get("json"); all[name] == nil {
			t.Errorf("line without %s: %s", name, line)
		}
	}
	return l
}

func TestAccessLogJSON(t *testing.T) {
	w := newWorld(t)
	w.config.AccessLogFormat = AccessLogJSON
	w.config.TrustedIPs = prefixes("127.0.0.0/8")
	w.behind(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "12345")
	})
	w.do("POST", "/r/a?b=%22\"c", strings.NewReader("body"), "User-Agent", "agent\t\"1\"", "Referer", "http://x/ü", "X-Real-Ip", "1.2.3.4", "Host", "example.com")
	w.get("/none", "User-Agent", "")
	var lines []string
	eventually(t, "two lines", func() bool {
		lines = strings.Split(strings.TrimSuffix(w.access.String(), "\n"), "\n")
		return len(lines) == 2
	})
	served, missed := readJSONLine(t, lines[0]), readJSONLine(t, lines[1])

	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	got := []string{text(served.Client), text(served.Peer), text(served.Method), text(served.URI), text(served.Host), text(served.Protocol), text(served.TLS),
		text(served.Source), text(served.Referer), text(served.UserAgent), text(served.Service), text(served.Route), text(served.Consumer)}
	want := []string{"1.2.3.4", "127.0.0.1", "POST", `/r/a?b=%22"c`, "example.com", "HTTP/1.1", "null",
		"service", "http://x/ü", "agent\t\"1\"", "s", "r", "null"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if *served.Status != 201 || *served.UpstreamStatus != 201 || !strings.HasPrefix(text(served.Upstream), "127.0.0.1:") || len(text(served.RequestID)) != 32 {
		t.Errorf("line %s", lines[0])
	}
	if *served.BytesSent < 50 || *served.BytesReceived < 50 || *served.LatencyRequest < *served.LatencyKong+*served.LatencyUpstream {
		t.Errorf("sizes or latencies of %s", lines[0])
	}
	if _, offset := served.Time.Zone(); offset != 0 || !regexp.MustCompile(`^{"time":"[^"]{19}\.\d{3}Z"`).MatchString(lines[0]) {
		t.Errorf("time of %s", lines[0])
	}
	if *missed.Status != 404 || text(missed.Source) != "kong" || missed.UserAgent != nil || missed.Upstream != nil || missed.UpstreamStatus != nil ||
		missed.LatencyUpstream != nil || missed.Service != nil || missed.Route != nil || *missed.LatencyKong != *missed.LatencyRequest {
		t.Errorf("line %s", lines[1])
	}
}

// TestAccessLogJSONOfEntities without names, over TLS, to an IPv6 service that
// did not answer.
func TestAccessLogJSONOfEntities(t *testing.T) {
	x := loggedExchange()
	x.Request.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	x.Upstream.Host, x.Upstream.Port = "2001:db8::1", 81
	x.Times.UpstreamAnswered, x.Response.UpstreamStatus = time.Time{}, 0
	x.Service, x.Route, x.Consumer = &fsm.Service{ID: "s-id"}, &fsm.Route{ID: "r-id"}, &fsm.Consumer{ID: "c-id", CustomID: "custom"}
	l := readJSONLine(t, string((&accessLog{format: AccessLogJSON}).appendLine(nil, x)))
	if *l.TLS != "TLSv1.3" || *l.Upstream != "[2001:db8::1]:81" || l.UpstreamStatus != nil || *l.Service != "s-id" || *l.Route != "r-id" || *l.Consumer != "custom" {
		t.Errorf("%+v", l)
	}
	if *l.LatencyRequest != 12.345 || *l.LatencyKong != 0.2 || *l.LatencyUpstream != 12.145 {
		t.Errorf("latencies %v, %v, %v", *l.LatencyRequest, *l.LatencyKong, *l.LatencyUpstream)
	}
}

// loggedExchange is one as the log finds it.
func loggedExchange() *exchange {
	x := newExchange(&Proxy{})
	x.received.Add("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	x.received.Add("Referer", "https://example.com/")
	q := &x.Request
	q.Method, q.RawPath, q.Query, q.HasQuery, q.Host, q.ProtoMajor, q.ProtoMinor = "GET", "/students/42", "page=1", true, "api.example.com", 1, 1
	q.ID = "0123456789abcdef0123456789abcdef"
	x.Client, x.Peer = netip.MustParseAddrPort("203.0.113.195:40000"), netip.MustParseAddrPort("10.0.0.1:40000")
	x.Upstream.Host, x.Upstream.Port = "10.1.2.3", 8080
	x.Response.Status, x.Response.UpstreamStatus, x.Response.Source, x.Response.Sent, x.Response.Received, x.bodySent = 200, 200, plugin.FromService, 1234, 321, 1000
	start := time.Now()
	x.Times = plugin.Times{Started: start, UpstreamStarted: start.Add(200 * time.Microsecond),
		UpstreamAnswered: start.Add(10 * time.Millisecond), Finished: start.Add(12345 * time.Microsecond)}
	x.Service, x.Route, x.Consumer = &fsm.Service{Name: "students"}, &fsm.Route{Name: "students-v1"}, &fsm.Consumer{Username: "alice"}
	return x
}

// receive replaces the fields of a request.
func receive(x *exchange, authorization, agent, referer string) {
	x.received.Reset()
	x.received.Add("Authorization", authorization)
	x.received.Add("User-Agent", agent)
	x.received.Add("Referer", referer)
}

func TestAccessLogAllocatesNothing(t *testing.T) {
	for _, format := range allFormats {
		a := newAccessLog(io.Discard, format, zap.NewNop())
		x := loggedExchange()
		for range 10 {
			a.log(x)
		}
		b := a.appendLine(nil, x)
		if n := testing.AllocsPerRun(100, func() { b = a.appendLine(b[:0], x) }); n != 0 {
			t.Errorf("%s: %v allocations for a line", format, n)
		}
		a.close()
	}
}

// TestAccessLogOfHugeValues: no request hides from the log by being large.
func TestAccessLogOfHugeValues(t *testing.T) {
	huge := strings.Repeat("\n\xff\"", 20<<10)
	for _, format := range allFormats {
		x := loggedExchange()
		x.Request.Method, x.Request.RawPath, x.Request.Query, x.Request.Host, x.Request.ID = huge, huge, huge, huge, huge
		receive(x, "Basic Ym9iOnB3", huge, huge)
		x.Upstream.Host, x.Service, x.Route, x.Consumer = huge, &fsm.Service{Name: huge}, &fsm.Route{Name: huge}, &fsm.Consumer{Username: huge}
		if n := len((&accessLog{format: format}).appendLine(nil, x)); n > obs.MaxLine {
			t.Errorf("%s: a line of %d bytes, %d fit", format, n, obs.MaxLine)
		}
	}
}

func FuzzAccessLogLine(f *testing.F) {
	f.Add("GET", "/a", "b=c", "Basic Ym9iOnB3", "agent", "host", "id")
	f.Add("G\"T", "/\n", "\x00", "Basic \xff", "\"\\", "\u2028", "\r\n")
	f.Fuzz(func(t *testing.T, method, path, query, authorization, agent, host, id string) {
		x := loggedExchange()
		x.Request.Method, x.Request.RawPath, x.Request.Query, x.Request.Host, x.Request.ID = method, path, query, host, id
		receive(x, authorization, agent, host)
		x.Upstream.Host, x.Service.Name, x.Route.Name, x.Consumer.Username = host, agent, path, id
		for format, quotes := range map[AccessLogFormat]int{AccessLogKong: 8, AccessLogCombined: 6} {
			line := string((&accessLog{format: format}).appendLine(nil, x))
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\"\n") || strings.Count(line, `"`) != quotes ||
				strings.ContainsFunc(line, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
				t.Fatalf("%s: line %q", format, line)
			}
		}
		line := string((&accessLog{format: AccessLogJSON}).appendLine(nil, x))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "}\n") || !utf8.ValidString(line) {
			t.Fatalf("line %q", line)
		}
		l := readJSONLine(t, line)
		agent = x.received.Get("User-Agent") // without control characters
		if got := l.UserAgent; utf8.ValidString(agent) && len(agent) < 1000 && agent != "" && (got == nil || *got != agent) {
			t.Fatalf("agent %q came back in %s", agent, line)
		}
	})
}

// BenchmarkAccessLog is what the log costs a request, and the writer's part.
func BenchmarkAccessLog(b *testing.B) {
	for _, format := range allFormats {
		b.Run(string(format), func(b *testing.B) {
			a := newAccessLog(io.Discard, format, zap.NewNop())
			defer a.close()
			x := loggedExchange()
			last := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				a.log(x)
				if n := a.dropped(); n != last {
					last = n
					runtime.Gosched() // the writer's turn
				}
			}
			b.ReportMetric(float64(len(a.appendLine(nil, x))), "bytes/line")
			b.ReportMetric(float64(last)/float64(b.N), "dropped/op")
		})
	}
}

package logentry

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// served is a request that a service has answered.
func served() *plugin.Exchange {
	ex := plugintest.Exchange("GET", "/students/1?a=1&b&a=%7e&c=", "Host", "gateway.test:8000", "X-A", "1", "x-a", "2",
		"Authorization", "Basic x", "Connection", "close", "X-Forwarded-For", "203.0.113.9", "Accept", `"é"`)
	ex.Request.Host = "gateway.test:8000"
	h := ex.Request.Header // what plugins and the proxy have made of it
	h.Del("Connection")
	h.Set("X-Consumer-ID", "c1")
	h.Set("X-Forwarded-For", "203.0.113.9, 192.0.2.7")
	h.Set("X-Real-IP", "192.0.2.7")
	h.Set("Via", "1.1 kong/3.9.1")
	ex.Response.Header.Add("Content-Type", "text/plain")
	ex.Response.Header.Add("Set-Cookie", "a=1")
	ex.Response.Header.Add("Set-Cookie", "b=2")
	start := plugintest.Now().Add(500 * time.Millisecond)
	ex.Times = plugin.Times{Started: start, UpstreamStarted: start.Add(2 * time.Millisecond), UpstreamAnswered: start.Add(12 * time.Millisecond),
		Finished: start.Add(15900 * time.Microsecond)}
	r := &ex.Response
	r.Status, r.UpstreamStatus, r.Source, r.Sent, r.Received = 200, 200, plugin.FromService, 234, 123
	ex.Upstream.Path, ex.Upstream.Query = "/1", "a=1"
	ex.Upstream.Addr, ex.Upstream.Kept = netip.MustParseAddrPort("127.0.0.1:9001"), true
	ex.Route, ex.Service, ex.Consumer = &fsm.Route{ID: "r1", Name: "students"}, &fsm.Service{ID: "s1", Host: "demo.test"}, &fsm.Consumer{ID: "c1", Username: "bob"}
	ex.Credential.ID = "k1"
	d := plugintest.NewDirectory()
	for kind, raw := range map[string]string{
		"routes":    `{"id":"r1","name":"students","hosts":null,"paths":["/students"],"service":{"id":"s1","name":null},"regex_priority":0}`,
		"services":  `{"id":"s1","name":null,"host":"demo.test","created_at":1700000000,"path":"/\u003c"}`,
		"consumers": `{"id":"c1","username":"bob","custom_id":null,"tags":null}`,
	} {
		d.AddEntity(&fsm.Entity{Kind: kind, ID: kind[:1] + "1", Raw: json.RawMessage(raw)})
	}
	ex.Directory = d
	return ex
}

func entry(t testing.TB, ex *plugin.Exchange) map[string]any {
	t.Helper()
	m := MakerOf(plugintest.Env(nil))
	var object map[string]any
	for range 2 { // the second one from memory
		text := m.Append(nil, ex)
		object = nil
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	return object
}

func decode(t testing.TB, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestServed(t *testing.T) {
	want := decode(t, `{
		"request": {
			"id": "`+plugintest.RequestID+`", "method": "GET", "uri": "/students/1?a=1&b&a=%7e&c=", "size": 123,
			"url": "http://gateway.test:8000/students/1?a=1&b&a=%7e&c=",
			"querystring": {"a": ["1", "~"], "b": true, "c": ""},
			"headers": {"host": "gateway.test:8000", "x-a": ["1", "2"], "authorization": "REDACTED", "connection": "close",
				"x-forwarded-for": "203.0.113.9", "accept": "\"é\"", "x-consumer-id": "c1"}
		},
		"response": {"status": 200, "size": 234, "headers": {"content-type": "text/plain", "set-cookie": ["a=1", "b=2"]}},
		"latencies": {"request": 15, "kong": 2, "proxy": 10, "receive": 3},
		"tries": [{"ip": "127.0.0.1", "port": 9001, "balancer_start": 1773500966502, "balancer_start_ns": 1773500966502000000,
			"balancer_latency": 0, "balancer_latency_ns": 0, "keepalive": true}],
		"upstream_uri": "/1?a=1", "upstream_status": "200", "client_ip": "192.0.2.7", "started_at": 1773500966500, "source": "upstream",
		"workspace": "default", "workspace_name": "default",
		"route": {"id": "r1", "name": "students", "paths": ["/students"], "service": {"id": "s1"}, "regex_priority": 0},
		"service": {"id": "s1", "host": "demo.test", "created_at": 1700000000, "path": "/<"},
		"consumer": {"id": "c1", "username": "bob"},
		"authenticated_entity": {"id": "k1", "consumer_id": "c1"}
	}`)
	if diff := cmp.Diff(want, any(entry(t, served()))); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}

// TestAnsweredHere: a request that no route takes.
func TestAnsweredHere(t *testing.T) {
	ex := plugintest.Exchange("POST", "/x")
	ex.Request.ProtoMajor = 2 // which has no Host field
	ex.Times = plugin.Times{Started: plugintest.Now(), Finished: plugintest.Now().Add(time.Millisecond)}
	ex.Response.Status, ex.Response.Source = 404, plugin.FromKong
	ex.Upstream.Path = "/x"
	ex.Client = netip.MustParseAddrPort("[fe80::1%eth0]:1")
	want := decode(t, `{
		"request": {"id": "`+plugintest.RequestID+`", "method": "POST", "uri": "/x", "url": "http://gateway.test:8000/x", "size": 0,
			"querystring": {}, "headers": {"host": "gateway.test"}},
		"response": {"status": 404, "size": 0, "headers": {}},
		"latencies": {"request": 1, "kong": 1, "proxy": -1, "receive": 0}, "tries": [],
		"upstream_uri": "", "upstream_status": "", "client_ip": "fe80::1", "started_at": 1773500966000, "source": "kong",
		"workspace": "default", "workspace_name": "default"
	}`)
	if diff := cmp.Diff(want, any(entry(t, ex))); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}

func TestFailedTLS(t *testing.T) {
	ex := served()
	ex.Request.TLS = &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	ex.Times.UpstreamAnswered, ex.Response.UpstreamStatus, ex.Response.Status = time.Time{}, 0, 502
	ex.Upstream.Addr, ex.Upstream.Kept = netip.AddrPort{}, false
	ex.Directory = plugintest.NewDirectory() // entities that are gone
	ex.Share("correlation_id", "c-7")
	got := entry(t, ex)
	for path, want := range map[string]string{
		"tries":     `[{"ip":"upstream.test","port":80,"balancer_start":1773500966502,"balancer_start_ns":1773500966502000000,"balancer_latency":0,"balancer_latency_ns":0,"keepalive":false,"state":"failed","code":502}]`,
		"latencies": `{"request":15,"kong":2,"proxy":-1,"receive":0}`, "route": `{"id":"r1"}`, "consumer": `{"id":"c1"}`,
		"correlation_id": `"c-7"`, "upstream_status": `""`,
	} {
		if diff := cmp.Diff(decode(t, want), got[path]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	secure := func() any { return entry(t, ex)["request"].(map[string]any)["tls"] }
	if diff := cmp.Diff(decode(t, `{"version":"TLSv1.2","cipher":"ECDHE-RSA-AES128-GCM-SHA256","client_verify":"NONE"}`), secure()); diff != "" {
		t.Error(diff)
	}
	ex.Request.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, VerifiedChains: make([][]*x509.Certificate, 1)}
	if diff := cmp.Diff(decode(t, `{"version":"TLSv1.3","cipher":"TLS_AES_128_GCM_SHA256","client_verify":"SUCCESS"}`), secure()); diff != "" {
		t.Error(diff)
	}
	if got := tlsName(tls.VersionTLS10) + tlsName(tls.VersionTLS11); got != "TLSv1.0TLSv1.1" {
		t.Error(got)
	}
}

// TestBounds: a request of very many fields and parameters costs no more than one of
// a hundred.
func TestBounds(t *testing.T) {
	ex := plugintest.Exchange("GET", "/?"+strings.Repeat("a=1&", 30000)+"z=1")
	for i := range 1000 {
		ex.Request.Header.Add(fmt.Sprint("X-", i), strings.Repeat("v", 100<<10*(i/999)))
	}
	request := entry(t, ex)["request"].(map[string]any)
	headers, query := request["headers"].(map[string]any), request["querystring"].(map[string]any)
	if len(headers) != maxFields+1 || len(query) != 1 || len(query["a"].([]any)) != maxParams {
		t.Errorf("%d fields, %d names, %d parameters", len(headers), len(query), len(query["a"].([]any)))
	}
}

func TestFields(t *testing.T) {
	ex := served()
	ex.Share("token", "t")
	values := map[string]any{
		`return nil`: nil, `return "x"`: "x", `return true`: true, `return kong.request.get_method()`: "GET", `return kong.request.get_id()`: plugintest.RequestID,
		`return kong.request.get_scheme() .. "://" .. kong.request.get_host() .. ":" .. kong.request.get_port()`: "http://gateway.test:8000",
		`return kong.request.get_path()`: "/students/1", `return kong.request.get_raw_path()`: "/students/1", `return kong.request.get_raw_query()`: "a=1&b&a=%7e&c=",
		`return kong.request.get_path_with_query()`: "/students/1?a=1&b&a=%7e&c=", `return kong.request.get_http_version()`: 1.1,
		`return kong.request.get_header("x-a")`: "1", `return kong.request.get_header("connection")`: "close", `return kong.request.get_header("none")`: nil,
		`return kong.request.get_query_arg("a")`: "1", `return kong.request.get_query_arg("b")`: true, `return kong.request.get_query_arg("d")`: nil,
		`return kong.response.get_status()`: 200.0, `return kong.response.get_source()`: "service", `return kong.response.get_header("Content-Type")`: "text/plain",
		`return kong.service.response.get_status() == 200`: true, `return kong.client.get_ip()`: "192.0.2.7", `return kong.client.get_forwarded_ip()`: "192.0.2.7",
		`return kong.client.get_consumer().username`: "bob", `return kong.client.get_consumer().custom_id`: nil, `return kong.client.get_consumer().id`: "c1",
		`return kong.client.get_credential().id`: "k1", `return kong.router.get_route().name`: "students", `return kong.router.get_route().id`: "r1",
		`return kong.router.get_service().name or kong.router.get_service().host`: "demo.test", `return kong.router.get_service().id`: "s1",
		`return kong.ctx.shared.token`: "t", `return kong.ctx.shared.none`: nil, `return kong.node.get_id()`: "node-1",
	}
	for code, want := range values {
		f, err := CompileFields(map[string]string{"v": code}, "node-1")
		if err != nil || CheckCode(code) != nil {
			t.Errorf("%s: %v", code, err)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(f.Apply([]byte(`{"v":1}`), ex), &got); err != nil || got["v"] != want {
			t.Errorf("%s: %v, want %v", code, got["v"], want)
		}
		f.Apply([]byte(`{}`), plugintest.Exchange("GET", "/")) // without all that
	}
	for code, want := range map[string]string{
		`local x = 1 return x`: "only code that returns", `return os.time()`: "os.time() cannot be evaluated", `return kong.request.get_header()`: "cannot be evaluated",
		`return kong.request.get_method("x")`: "cannot be evaluated", `return ngx.var.foo`: "ngx.var.foo cannot be evaluated",
	} {
		if err := CheckCode(code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", code, err, want)
		}
	}
	if f, err := CompileFields(nil, ""); f != nil || err != nil {
		t.Errorf("no fields: %v, %v", f, err)
	}
	if _, err := CompileFields(map[string]string{"a": "x"}, ""); err == nil {
		t.Error("nonsense is taken")
	}
}

func TestPaths(t *testing.T) {
	f, err := CompileFields(map[string]string{
		`request.headers`: "return nil", `request.uri`: `return "u"`, `a.b.c`: `return 1`, `a\.b`: `return 2`, `none.x`: `return nil`, `client_ip.x`: `return 3`, `x`: `return nil`,
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	got := string(f.Apply([]byte(`{"request":{"headers":{"a":"<"},"uri":"/","n":12345678901234567890},"client_ip":"i<"}`), served()))
	if want := `{"a":{"b":{"c":1}},"a.b":2,"client_ip":"i<","request":{"n":12345678901234567890,"uri":"u"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(f.Apply([]byte(`[`), served())); got != "[" {
		t.Errorf("what is no entry became %s", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	m := MakerOf(plugintest.Env(nil))
	ex := served()
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = m.Append(buffer[:0], ex)
	}
}

// FuzzEntry: whatever a request holds, the entry is JSON with the same texts.
func FuzzEntry(f *testing.F) {
	f.Add("/a", "b=1&b&c=\xff", "X-A", "\x00\"")
	f.Add("\\", "=&", "authorization", "x")
	m := MakerOf(plugintest.Env(nil))
	f.Fuzz(func(t *testing.T, path, query, name, value string) {
		ex := plugintest.Exchange("GET", path+"?"+query, name, value, name, value)
		ex.Response.Header.Add(name, value)
		text := m.Append(nil, ex)
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	f, err := CompileFields(map[string]string{"route": "return nil", "who": "return kong.client.get_consumer().username"}, "")
	if err != nil {
		b.Fatal(err)
	}
	ex := served()
	entry := MakerOf(plugintest.Env(nil)).Append(nil, ex)
	b.ReportAllocs()
	for b.Loop() {
		f.Apply(entry, ex)
	}
}

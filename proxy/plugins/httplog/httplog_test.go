package httplog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
	"github.com/sluicegate/sluice/proxy/plugins/internal/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	for config, want := range map[string]string{
		`{"http_endpoint":"http://a.test/x"}`:          "",
		`{"http_endpoint":"https://u:p@a.test:1/x?y"}`: "",
		`{}`:                               "config.http_endpoint: required field missing",
		`{"http_endpoint":"a.test"}`:       "config.http_endpoint: missing host in url",
		`{"http_endpoint":"ftp://a.test"}`: "no URL of http or https",
		`{"http_endpoint":"http://a.test","method":"GET"}`:                              "expected one of: POST, PUT, PATCH",
		`{"http_endpoint":"http://a.test","headers":{"hOst":"x"}}`:                      "cannot contain 'Host' header",
		`{"http_endpoint":"http://a.test","headers":{"Content-Type":"x"}}`:              "cannot contain 'Content-Type' header",
		`{"http_endpoint":"http://a.test","headers":{"a b":"x"}}`:                       "bad header name",
		`{"http_endpoint":"http://a.test","headers":{"a":"x\ny"}}`:                      "must not have control characters",
		`{"http_endpoint":"http://a.test","queue":{"max_batch_size":0}}`:                "value should be between 1 and 1000000",
		`{"http_endpoint":"http://a.test","queue":{"concurrency_limit":2}}`:             "expected one of: -1, 1",
		`{"http_endpoint":"http://a.test","custom_fields_by_lua":{"a":"return nil"}}`:   "",
		`{"http_endpoint":"http://a.test","custom_fields_by_lua":{"a":"return f(1)"}}`:  "f() cannot be evaluated: there is no Lua",
		`{"http_endpoint":"http://a.test","custom_fields_by_lua":{"a":"x=1 return x"}}`: "only code that returns an expression can be evaluated",
	} {
		_, message, _ := plugintest.Insert(t, name, `{"config":`+config+`}`)
		if want == "" && message != "" || !strings.Contains(message, want) {
			t.Errorf("%s: %q, want %q", config, message, want)
		}
	}
	stored, _, _ := plugintest.Insert(t, name, `{"config":{"http_endpoint":"http://a.test"}}`)
	want := map[string]any{
		"http_endpoint": "http://a.test", "method": "POST", "content_type": "application/json", "timeout": 10000.0, "keepalive": 60000.0,
		"retry_count": nil, "queue_size": nil, "flush_timeout": nil, "headers": nil, "custom_fields_by_lua": nil,
		"queue": map[string]any{"max_batch_size": int64(1), "max_coalescing_delay": 1.0, "max_entries": int64(10000), "max_bytes": nil,
			"max_retry_time": 60.0, "initial_retry_delay": 0.01, "max_retry_delay": 60.0, "concurrency_limit": int64(1)},
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("http-log")
	if !ok || d.Priority != 12 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	for _, config := range []map[string]any{
		{"timeout": "x"}, {"http_endpoint": "{vault://env/x}"}, {"http_endpoint": "http://s3cret@[::1"},
		{"http_endpoint": "http://a.test", "custom_fields_by_lua": map[string]any{"a": "f()"}},
	} {
		_, err := New(plugintest.Env(nil), &plugin.Instance{Config: config})
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: %v", config, err)
		}
	}
	warned := warn(map[string]any{"http_endpoint": "HTTPS://a.test", "retry_count": 10.0})
	if len(warned) != 2 || warn(map[string]any{"http_endpoint": "http://a.test"}) != nil {
		t.Errorf("warnings: %q", warned)
	}
}

func TestQueueConfig(t *testing.T) {
	usual := queue.Config{Plugin: name, MaxBatch: 1, MaxDelay: time.Second, MaxEntries: 10000, MaxBytes: 64 << 20, MaxRetryTime: time.Minute,
		FirstRetry: 10 * time.Millisecond, MaxRetry: time.Minute, Senders: 1}
	with := func(f func(*queue.Config)) queue.Config {
		c := usual
		f(&c)
		return c
	}
	for config, want := range map[string]queue.Config{
		`{}`: usual,
		`{"queue_size":1,"flush_timeout":2,"retry_count":3}`:                                   usual,
		`{"queue_size":5,"flush_timeout":0.5}`:                                                 with(func(c *queue.Config) { c.MaxBatch, c.MaxDelay = 5, 500*time.Millisecond }),
		`{"queue_size":-5,"queue":{"max_bytes":0}}`:                                            usual,
		`{"queue":{"max_batch_size":9,"max_bytes":77,"concurrency_limit":-1,"max_entries":3}}`: with(func(c *queue.Config) { c.MaxBatch, c.MaxBytes, c.Senders, c.MaxEntries = 9, 77, 32, 3 }),
		`{"queue":{"max_retry_time":-1,"initial_retry_delay":2.5,"max_retry_delay":9,"max_coalescing_delay":0}}`: with(func(c *queue.Config) {
			c.MaxRetryTime, c.FirstRetry, c.MaxRetry, c.MaxDelay = 0, 2500*time.Millisecond, 9*time.Second, 0
		}),
	} {
		var in map[string]any
		if err := json.Unmarshal([]byte(config), &in); err != nil {
			t.Fatal(err)
		}
		in["http_endpoint"] = "http://a.test"
		body, _ := json.Marshal(map[string]any{"config": in})
		stored, message, _ := plugintest.Insert(t, name, string(body))
		if message != "" {
			t.Fatal(message)
		}
		var cfg Config
		if err := (&plugin.Instance{Config: stored["config"].(map[string]any)}).Decode(&cfg); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, cfg.queueConfig()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", config, diff)
		}
	}
}

// collector is a server that entries are sent to.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	status int
	came   chan struct{}
}

type received struct {
	method, path string
	header       http.Header
	body         string
}

func newCollector(t testing.TB) *collector {
	c := &collector{status: 200, came: make(chan struct{}, 1000)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength {
			t.Errorf("a body of %d bytes with length %d: %v", len(body), r.ContentLength, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, received{r.Method, r.URL.RequestURI(), r.Header, string(body)})
		w.WriteHeader(c.status)
		c.came <- struct{}{}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// wait waits for requests and gives all so far.
func (c *collector) wait(t testing.TB, n int) []received {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for range n {
		select {
		case <-c.came:
		case <-deadline:
			t.Fatal("entries do not come")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]received(nil), c.got...)
}

// env is a node that stops at the end of the test.
func newEnv(t testing.TB) *plugin.Env {
	env := plugintest.Env(nil)
	t.Cleanup(func() { stop(t, env) })
	return env
}

func stop(t testing.TB, env *plugin.Env) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := env.Close(ctx); err != nil {
		t.Error(err)
	}
}

func instance(t testing.TB, env *plugin.Env, endpoint, more string) plugin.Logger {
	t.Helper()
	return plugintest.Instance(t, env, name, `{"http_endpoint":"`+endpoint+`"`+more+`}`).(plugin.Logger)
}

// exchange is a request that has ended, told by its path.
func exchange(path string) *plugin.Exchange {
	ex := plugintest.Exchange("GET", path)
	ex.Times = plugin.Times{Started: plugintest.Now(), Finished: plugintest.Now()}
	ex.Response.Status = 200
	return ex
}

// paths gives those of the requests that a body tells of.
func paths(t testing.TB, body string) string {
	t.Helper()
	if !strings.HasPrefix(body, "[") {
		body = "[" + body + "]"
	}
	var entries []struct{ Request struct{ URI string } }
	if err := json.Unmarshal([]byte(body), &entries); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Request.URI)
	}
	return strings.Join(list, " ")
}

func TestOneEntry(t *testing.T) {
	c := newCollector(t)
	p := instance(t, newEnv(t), strings.Replace(c.URL, "http://", "http://user:p%40ss@", 1)+"/in?x=1#f",
		`,"method":"PUT","content_type":"application/json; charset=utf-8","headers":{"x-a":"1"},"custom_fields_by_lua":{"route":"return nil","who":"return kong.node.get_id()"}`)
	p.Log(exchange("/one"))
	got := c.wait(t, 1)[0]
	user, password, _ := (&http.Request{Header: got.header}).BasicAuth()
	if got.method != "PUT" || got.path != "/in?x=1" || user != "user" || password != "p@ss" {
		t.Errorf("%s %s by %s:%s", got.method, got.path, user, password)
	}
	for field, want := range map[string]string{"Content-Type": "application/json; charset=utf-8", "X-A": "1", "User-Agent": "sluice"} {
		if got.header.Get(field) != want {
			t.Errorf("%s: %s, want %s", field, got.header.Get(field), want)
		}
	}
	if !strings.HasPrefix(got.body, "{") || paths(t, got.body) != "/one" || !strings.Contains(got.body, `"who":"node-1"`) {
		t.Errorf("entry: %s", got.body)
	}
}

// TestBatches: more entries than one are a list, of what has come, in order; what is
// left when the node stops is sent at once.
func TestBatches(t *testing.T) {
	c := newCollector(t)
	env := newEnv(t)
	p := instance(t, env, c.URL, `,"queue":{"max_batch_size":3,"max_coalescing_delay":3600}`)
	for i := range 4 {
		p.Log(exchange(fmt.Sprint("/", i)))
	}
	if got := c.wait(t, 1)[0].body; paths(t, got) != "/0 /1 /2" || !strings.HasPrefix(got, "[") {
		t.Errorf("the first batch: %s", got)
	}
	stop(t, env)
	if got := c.wait(t, 1)[1].body; paths(t, got) != "/3" || !strings.HasPrefix(got, "[") {
		t.Errorf("what was left: %s", got)
	}
	p.Log(exchange("/late")) // is counted, and nothing else
}

// TestRetries: an answer that is no success is tried again.
func TestRetries(t *testing.T) {
	for _, status := range []int{500, 302, 404} {
		c := newCollector(t)
		c.answer(status)
		env := newEnv(t)
		instance(t, env, c.URL, `,"queue":{"initial_retry_delay":0.001,"max_retry_delay":0.001}`).Log(exchange("/x"))
		c.wait(t, 3)
		c.answer(204)
		stop(t, env) // waits for the last try
		for i, got := range c.wait(t, 1) {
			if paths(t, got.body) != "/x" {
				t.Errorf("%d, try %d: %s", status, i, got.body)
			}
		}
	}
}

// TestConfigChange: an instance of the same destination goes on with the queue of
// the one before, another one has its own, and nothing is lost.
func TestConfigChange(t *testing.T) {
	c := newCollector(t)
	env := newEnv(t)
	const batch = `,"queue":{"max_batch_size":2,"max_coalescing_delay":3600}`
	first := instance(t, env, c.URL, batch)
	first.Log(exchange("/1"))
	same := instance(t, env, c.URL, batch+`,"custom_fields_by_lua":{"route":"return nil"}`)
	same.Log(exchange("/2"))
	if got := paths(t, c.wait(t, 1)[0].body); got != "/1 /2" {
		t.Errorf("together: %s", got)
	}
	first.Log(exchange("/3"))
	other := instance(t, env, c.URL, batch+`,"headers":{"x-a":"1"}`)
	other.Log(exchange("/4"))
	first, same = nil, nil // no instance has the queue any more
	stop(t, env)
	got := c.wait(t, 2)
	if a, b := paths(t, got[1].body), paths(t, got[2].body); a+b != "/3/4" && a+b != "/4/3" {
		t.Errorf("apart: %s, %s", a, b)
	}
}

// TestTimeout: an endpoint that does not answer holds up nobody.
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	env := plugintest.Env(nil)
	p := instance(t, env, server.URL, `,"timeout":600000,"queue":{"max_entries":2}`)
	for range 100 {
		p.Log(exchange("/x"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := env.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopping: %v", err)
	}
	env = newEnv(t)
	p = instance(t, env, server.URL, `,"timeout":20,"queue":{"max_retry_time":0}`)
	p.Log(exchange("/x"))
	stop(t, env) // after the timeout, and not after ten seconds
}

func TestKeepalive(t *testing.T) {
	var mu sync.Mutex
	peers := map[string]bool{}
	came := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		peers[r.RemoteAddr] = true
		came <- struct{}{}
	}))
	defer server.Close()
	for _, tt := range []struct {
		keepalive, want int
	}{{60000, 1}, {0, 3}} {
		clear(peers)
		p := instance(t, newEnv(t), server.URL, fmt.Sprintf(`,"keepalive":%d`, tt.keepalive))
		for range 3 {
			p.Log(exchange("/x"))
		}
		for range 3 {
			<-came
		}
		mu.Lock()
		if len(peers) != tt.want {
			t.Errorf("keepalive %d: %d connections, want %d", tt.keepalive, len(peers), tt.want)
		}
		mu.Unlock()
	}
}

func TestTLS(t *testing.T) {
	came := make(chan string, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came <- r.Proto }))
	defer server.Close()
	instance(t, newEnv(t), server.URL, ``).Log(exchange("/x"))
	select {
	case <-came:
	case <-time.After(20 * time.Second):
		t.Fatal("no entry came")
	}
}

func BenchmarkLog(b *testing.B) {
	env := plugintest.Env(nil)
	env.Close(b.Context()) // entries are dropped: what is measured is what a request pays
	p := instance(b, env, "http://127.0.0.1:1", "")
	ex := exchange("/students?a=1")
	b.ReportAllocs()
	for b.Loop() {
		p.Log(ex)
	}
}

package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The plugins of these tests: an instance's config.hook names a value in the
// world's hooks, which is the instance. Their priorities say their order.
var testPlugins = map[string]int{"test-high": 3000, "test-auth": 2000, "test-mid": 1000, "test-low": 10}

func init() {
	for name, priority := range testPlugins {
		plugin.Register(&plugin.Definition{Name: name, Version: "1", Priority: priority, New: newHook})
	}
	plugin.Register(&plugin.Definition{Name: "test-known", Version: "1", Priority: 5})
}

type hooks struct {
	mu     sync.Mutex
	values map[string]any
	made   map[string]int // constructor calls by hook
}

func newHook(env *plugin.Env, in *plugin.Instance) (any, error) {
	h := env.Shared("hooks", func() any { return &hooks{} }).(*hooks)
	h.mu.Lock()
	defer h.mu.Unlock()
	name, _ := in.Config["hook"].(string)
	if h.made == nil {
		h.made = map[string]int{}
	}
	h.made[name]++
	value, ok := h.values[name]
	switch {
	case name == "panic":
		panic("constructor")
	case !ok:
		return nil, fmt.Errorf("no hook %q", name)
	}
	return value, nil
}

// The phases as functions.
type (
	rewriteHook func(*plugin.Exchange) plugin.Verdict
	accessHook  func(*plugin.Exchange) plugin.Verdict
	headerHook  func(*plugin.Exchange)
	bodyHook    func(*plugin.Exchange, []byte, bool) []byte
	logHook     func(*plugin.Exchange)
)

func (f rewriteHook) Rewrite(ex *plugin.Exchange) plugin.Verdict { return f(ex) }
func (f accessHook) Access(ex *plugin.Exchange) plugin.Verdict   { return f(ex) }
func (f headerHook) FilterHeader(ex *plugin.Exchange)            { f(ex) }
func (f logHook) Log(ex *plugin.Exchange)                        { f(ex) }
func (f bodyHook) FilterBody(ex *plugin.Exchange, p []byte, last bool) []byte {
	return f(ex, p, last)
}

// world is a proxy in front of services, with a real state machine.
type world struct {
	t       testing.TB
	machine *fsm.Machine
	env     *plugin.Env
	hooks   *hooks
	proxy   *Proxy
	config  Config
	access  *lockedBuffer
	logs    *observer.ObservedLogs
	metrics *prometheus.Registry
	client  *http.Client

	mu    sync.Mutex
	index uint64
	ids   int
}

// lockedBuffer is an access log that tests read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newWorld makes a world without starting its proxy, so that entities may be
// put first and the configuration be changed.
func newWorld(t testing.TB) *world {
	t.Helper()
	machine, err := fsm.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	w := &world{t: t, machine: machine, access: &lockedBuffer{}, logs: logs, metrics: prometheus.NewRegistry()}
	w.env = &plugin.Env{NodeID: "node-1", Now: time.Now, Metrics: w.metrics, Logger: zap.NewNop()}
	w.hooks = w.env.Shared("hooks", func() any { return &hooks{values: map[string]any{}} }).(*hooks)
	w.config = Config{
		Listen: []Listener{{Address: "127.0.0.1:0"}}, Machine: machine, Env: w.env,
		AccessLog: w.access, Logger: zap.New(core), Metrics: w.metrics,
		EventLoop: os.Getenv("SLUICE_TEST_EVENT_LOOP"), // auto unless set
	}
	return w
}

// start starts the proxy and stops it at the end of the test.
func (w *world) start() *world {
	w.t.Helper()
	p, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.proxy = p
	w.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	w.t.Cleanup(func() {
		w.client.CloseIdleConnections()
		w.stop()
	})
	return w
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := w.proxy.Shutdown(ctx); err != nil {
		w.t.Errorf("shutdown: %v", err)
	}
}

func (w *world) addr() string { return w.proxy.Addrs()[0].String() }
func (w *world) url(path string) string {
	return "http://" + w.addr() + path
}

func (w *world) hook(name string, value any) {
	w.hooks.mu.Lock()
	defer w.hooks.mu.Unlock()
	w.hooks.values[name] = value
}

type object map[string]any

// apply applies operations as one command.
func (w *world) apply(ops ...fsm.Op) uint64 {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	data, err := fsm.NewWrite("", 0, ops...).Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.index++
	if r := w.machine.Apply(w.index, data); r.Err != nil {
		w.t.Fatalf("write refused: %v", r.Err)
	}
	return w.index
}

func (w *world) newID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", w.ids)
}

func (w *world) op(kind string, fields object) fsm.Op {
	w.t.Helper()
	if fields["id"] == nil {
		fields["id"] = w.newID()
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		w.t.Fatal(err)
	}
	return fsm.Op{Verb: fsm.Put, Kind: kind, ID: fields["id"].(string), Raw: raw}
}

// put stores an entity and waits until a started proxy serves it.
func (w *world) put(kind string, fields object) string {
	w.t.Helper()
	op := w.op(kind, fields)
	index := w.apply(op)
	if w.proxy != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := w.proxy.Wait(ctx, index); err != nil {
			w.t.Fatal(err)
		}
	}
	return op.ID
}

func merged(defaults, fields object) object {
	for name, value := range fields {
		defaults[name] = value
	}
	return defaults
}

// service stores a service for an address; fields override Kong's defaults.
func (w *world) service(to string, fields object) string {
	w.t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		w.t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.put("services", merged(object{
		"host": u.Hostname(), "port": port, "protocol": u.Scheme, "retries": 5, "enabled": true,
		"connect_timeout": 60000, "read_timeout": 60000, "write_timeout": 60000,
	}, fields))
}

// route stores a route to a service ("" for none).
func (w *world) route(service string, fields object) string {
	w.t.Helper()
	defaults := object{
		"protocols": []string{"http", "https"}, "strip_path": true, "path_handling": "v0",
		"https_redirect_status_code": 426, "request_buffering": true, "response_buffering": true,
	}
	if service != "" {
		defaults["service"] = object{"id": service}
	}
	return w.put("routes", merged(defaults, fields))
}

// plugin stores a plugin of a hook.
func (w *world) plugin(name, hook string, fields object) string {
	w.t.Helper()
	return w.put("plugins", merged(object{
		"name": name, "enabled": true, "protocols": []string{"http", "https", "grpc", "grpcs"}, "config": object{"hook": hook},
	}, fields))
}

// serving is a world with one service behind the route /r, stripped.
func serving(t testing.TB, h http.HandlerFunc) *world {
	t.Helper()
	return newWorld(t).behind(h)
}

// behind starts the world with a service behind /r.
func (w *world) behind(h http.HandlerFunc) *world {
	w.t.Helper()
	server := httptest.NewServer(h)
	w.t.Cleanup(server.Close)
	w.route(w.service(server.URL, object{"name": "s"}), object{"name": "r", "paths": []string{"/r"}})
	return w.start()
}

type answer struct {
	*http.Response
	body string
}

// get asks for a path with fields given in pairs.
func (w *world) get(path string, fieldPairs ...string) *answer {
	w.t.Helper()
	return w.do("GET", path, nil, fieldPairs...)
}

func (w *world) do(method, path string, body io.Reader, fieldPairs ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url(path), body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(fieldPairs); i += 2 {
		if fieldPairs[i] == "Host" {
			req.Host = fieldPairs[i+1]
		}
		req.Header.Add(fieldPairs[i], fieldPairs[i+1])
	}
	return w.send(req)
}

func (w *world) send(req *http.Request) *answer {
	w.t.Helper()
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("body of %s: %v", req.URL, err)
	}
	return &answer{resp, string(data)}
}

// want checks a status and a part of the body.
func (a *answer) want(t testing.TB, status int, part string) *answer {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, part) {
		t.Fatalf("answer is %d %q, want %d with %q", a.StatusCode, a.body, status, part)
	}
	return a
}

// eventually polls a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// rawService is a service that answers each connection with a function.
func rawService(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return "http://" + ln.Addr().String()
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

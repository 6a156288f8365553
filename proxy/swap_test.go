package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// TestChangesUnderLoad: no request fails while configurations come and go, and
// each write is served once Wait returns.
func TestChangesUnderLoad(t *testing.T) {
	w := serving(t, echo)
	w.hook("pass", accessHook(func(*plugin.Exchange) plugin.Verdict { return plugin.Continue }))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var asked atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := w.client.Get(w.url("/r/x"))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(string(body), "GET /x ") {
					t.Errorf("%d %q %v", resp.StatusCode, body, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	plug := ""
	for i := range 100 {
		path := fmt.Sprintf("/new/%d", i)
		w.route("", object{"paths": []string{path}})
		w.get(path).want(t, 503, "no Service")
		if plug != "" {
			w.apply(fsm.Op{Verb: fsm.Delete, Kind: "plugins", ID: plug})
		}
		plug = w.plugin("test-mid", "pass", nil)
	}
	eventually(t, "some requests", func() bool { return asked.Load() > 100 || t.Failed() })
	close(stop)
	wg.Wait()
}

// TestLastOfABurstIsServed: changes that come faster than they can be compiled
// are not lost.
func TestLastOfABurstIsServed(t *testing.T) {
	w := newWorld(t)
	w.start()
	var last uint64
	for i := range 200 {
		last = w.apply(w.op("routes", object{"paths": []string{fmt.Sprintf("/%d", i)}}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := w.proxy.Wait(ctx, last); err != nil || w.proxy.Index() != last {
		t.Fatalf("%v, index %d of %d", err, w.proxy.Index(), last)
	}
	w.get("/199").want(t, 503, "")
}

func TestWaitEnds(t *testing.T) {
	w := newWorld(t).start()
	if err := w.proxy.Wait(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.proxy.Wait(ctx, 99); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	result := make(chan error)
	go func() { result <- w.proxy.Wait(context.Background(), 99) }()
	w.stop()
	if err := <-result; !errors.Is(err, ErrStopped) {
		t.Fatalf("stopped: %v", err)
	}
}

func TestProblemsOfRoutes(t *testing.T) {
	w := newWorld(t)
	bad := w.route("", object{"paths": []string{"~/("}})
	w.route("", object{"paths": []string{"/stream"}, "protocols": []string{"tcp"}})
	w.route("", object{"paths": []string{"/good"}, "headers": object{"x-a": []string{"1"}}})
	w.start()
	problems := w.proxy.Problems()
	if len(problems) != 1 || problems[0].Kind != "routes" || problems[0].ID != bad || problems[0].Err == nil {
		t.Fatalf("problems: %v", problems)
	}
	w.get("/good", "X-A", "1").want(t, 503, "")
	w.get("/good").want(t, 404, "")
	w.get("/stream").want(t, 404, "")
}

// TestRouterIsKept: a change of plugins or consumers does not build it anew.
func TestRouterIsKept(t *testing.T) {
	w := serving(t, echo)
	w.hook("pass", logHook(func(*plugin.Exchange) {}))
	table := func() *routeTable { return w.proxy.current.Load().routes }
	first := table()
	w.put("consumers", object{"username": "bob"})
	if table() != first {
		t.Error("a consumer has built the routes anew")
	}
	w.plugin("test-mid", "pass", nil)
	if table() == first || table().router != first.router {
		t.Error("a plugin has built the router anew, or the routes not")
	}
	w.route("", object{"paths": []string{"/x"}})
	if table().router == first.router {
		t.Error("a route has not built the router anew")
	}
}

func TestDirectory(t *testing.T) {
	w := newWorld(t)
	bob := w.put("consumers", object{"username": "bob"})
	key := w.op("keyauth_credentials", object{"key": "secret", "consumer": object{"id": bob}})
	key.ExpiresAt = 1000
	w.apply(key)
	now := time.Unix(999, 0)
	d := newDirectory(w.machine.View(), func() time.Time { return now })
	for range 2 { // the second time from memory
		if c, ok := d.Consumer(bob); !ok || c.Username != "bob" {
			t.Fatal("not found by id")
		}
		if c, ok := d.Consumer("bob"); !ok || c.ID != bob {
			t.Fatal("not found by name")
		}
		if e, ok := d.Credential("keyauth_credentials", "secret"); !ok || e.Value.(*fsm.KeyAuth).Consumer.ID != bob {
			t.Fatal("credential not found")
		}
		for _, key := range []string{"", "other"} {
			if _, ok := d.Credential("keyauth_credentials", key); ok {
				t.Fatalf("found %q", key)
			}
			if _, ok := d.Consumer(key); ok {
				t.Fatalf("found %q", key)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { d.Credential("keyauth_credentials", "secret") }); n != 0 {
		t.Errorf("%v allocations for a credential that was found before", n)
	}
	now = time.Unix(1000, 0)
	if _, ok := d.Credential("keyauth_credentials", "secret"); ok {
		t.Fatal("expired, and found")
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := newWorld(t).config
	for name, edit := range map[string]func(*Config){
		"no machine":     func(c *Config) { c.Machine = nil },
		"no environment": func(c *Config) { c.Env = nil },
		"no listener":    func(c *Config) { c.Listen = nil },
		"bad address":    func(c *Config) { c.Listen = []Listener{{Address: "here"}} },
		"no certificate": func(c *Config) { c.Listen = []Listener{{Address: "127.0.0.1:0", TLS: true}} },
		"log format":     func(c *Config) { c.AccessLogFormat = "xml" },
		"headers":        func(c *Config) { c.Headers = []string{"nonsense"} },
	} {
		cfg := good
		edit(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStartNamesTheAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w := newWorld(t)
	w.config.Listen = append(w.config.Listen, Listener{Address: taken.Addr().String()})
	p, err := New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.proxy = p
	defer w.stop()
	if err := p.Start(context.Background()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("got %v", err)
	}
}

// TestShutdownDrains: a request in flight gets its answer, and no new
// connection is taken.
func TestShutdownDrains(t *testing.T) {
	arrived, proceed := make(chan bool), make(chan bool)
	w := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-proceed
		_, _ = io.WriteString(w, "done")
	})
	addr := w.addr()
	got := make(chan string)
	go func() {
		resp, err := w.client.Get("http://" + addr + "/r")
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	<-arrived
	var wg sync.WaitGroup
	wg.Go(w.stop)
	eventually(t, "the listener to close", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	proceed <- true
	if body := <-got; body != "done" {
		t.Errorf("the request in flight got %q", body)
	}
	wg.Wait()
}

func TestLimitsOfHeads(t *testing.T) {
	w := serving(t, echo)
	w.get("/r", "X-Large", strings.Repeat("x", 60<<10)).want(t, 200, "")
	if a := w.get("/r", "X-Large", strings.Repeat("x", 80<<10)); a.StatusCode != 431 {
		t.Errorf("a head of 80 KiB: %d", a.StatusCode)
	}
	for request, want := range map[string]int{
		"GET /r HTTP/1.1\r\nHost : x\r\n\r\n":                                             400,
		"GET /r HTTP/1.1\r\n\r\n":                                                         400,
		"GET  /r HTTP/1.1\r\nHost: x\r\n\r\n":                                             400,
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n":                                           400,
		"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n":                                   405,
		"GET http://x/r/abs HTTP/1.1\r\nHost: x\r\n\r\n":                                  200,
		"GET http://y/r/abs HTTP/1.1\r\nHost: x\r\n\r\n":                                  400, // whose is it?
		"GET /r HTTP/1.0\r\n\r\n":                                                         200,
		"GET /r/a%zz HTTP/1.1\r\nHost: x\r\n\r\n":                                         400,
		"POST /r HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab": 400,
	} {
		c, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request)
		answer := make([]byte, len("HTTP/1.1 200"))
		_, err = io.ReadFull(c, answer)
		c.Close()
		if got := string(answer[9:]); err != nil || got != fmt.Sprint(want) {
			t.Errorf("%q: %s, want %d (%v)", request, got, want, err)
		}
	}
}

// TestSlowHeadIsCut: a client that does not end its head does not hold a
// connection for ever.
func TestSlowHeadIsCut(t *testing.T) {
	w := newWorld(t)
	w.config.ReadHeaderTimeout = 30 * time.Millisecond
	w.start()
	c, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost:")
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

// TestRestartedService: requests on connections that a restart has killed are
// answered by the new process.
func TestRestartedService(t *testing.T) {
	w := newWorld(t).start()
	server := httptest.NewServer(http.HandlerFunc(echo))
	addr := server.Listener.Addr().String()
	w.route(w.service(server.URL, object{"retries": 0}), object{"paths": []string{"/r"}})
	w.get("/r").want(t, 200, "")
	server.CloseClientConnections()
	server.Close()
	w.get("/r").want(t, 502, "")
	var ln net.Listener
	eventually(t, "the address to be free", func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", addr)
		return err == nil
	})
	server = &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(echo)}}
	server.Start()
	defer server.Close()
	w.get("/r").want(t, 200, "")
	w.do("POST", "/r", strings.NewReader("x")).want(t, 200, "")
}

package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// manyRoutes stores routes, a service for every ten, and a plugin for every
// hundredth route.
func (w *world) manyRoutes(n int) {
	w.t.Helper()
	w.hook("none", accessHook(func(*plugin.Exchange) plugin.Verdict { return plugin.Continue }))
	var ops []fsm.Op
	service := ""
	for i := range n {
		if i%10 == 0 {
			op := w.op("services", object{"name": fmt.Sprintf("s%d", i), "host": "127.0.0.1", "port": 1, "protocol": "http", "enabled": true})
			service = op.ID
			ops = append(ops, op)
		}
		op := w.op("routes", object{"name": fmt.Sprintf("r%d", i), "service": object{"id": service}, "protocols": []string{"http", "https"},
			"paths": []string{fmt.Sprintf("/many/%d/", i)}, "strip_path": true})
		ops = append(ops, op)
		if i%100 == 0 {
			ops = append(ops, w.op("plugins", object{"name": "test-mid", "enabled": true, "route": object{"id": op.ID},
				"protocols": []string{"http", "https"}, "config": object{"hook": "none"}}))
		}
	}
	w.apply(ops...)
}

// BenchmarkCompile: what a change costs. "full" is the first build, "one route"
// a change of one route, "plugins" one of a plugin, "rest" one of a consumer or
// a credential.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		w := newWorld(b)
		w.manyRoutes(n)
		p, err := New(w.config)
		if err != nil {
			b.Fatal(err)
		}
		w.proxy = p
		b.Cleanup(w.stop)
		c := p.compiler
		before, after := w.machine.View(), w.changedRoute()
		b.Run(fmt.Sprintf("full/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newCompiler(p.cfg, p.metrics, p.certificates).build(before)
			}
		})
		b.Run(fmt.Sprintf("one route/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.build(after)
				before, after = after, before
			}
		})
		b.Run(fmt.Sprintf("plugins/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.versions[2]++
				c.build(before)
			}
		})
		b.Run(fmt.Sprintf("rest/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.build(before)
			}
		})
	}
}

// changedRoute gives a route of manyRoutes another path.
func (w *world) changedRoute() *fsm.View {
	for e := range w.machine.View().All("routes") {
		var fields object
		if err := json.Unmarshal(e.Raw, &fields); err != nil {
			w.t.Fatal(err)
		}
		fields["paths"] = []string{"/changed/"}
		raw, err := json.Marshal(fields)
		if err != nil {
			w.t.Fatal(err)
		}
		w.apply(fsm.Op{Verb: fsm.Update, Kind: "routes", ID: e.ID, Raw: raw})
		break
	}
	return w.machine.View()
}

// BenchmarkRequest is the whole path over loopback: client, proxy and service
// in one process, so the proxy's part is what is above "direct".
func BenchmarkRequest(b *testing.B) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	b.Cleanup(service.Close)
	w := newWorld(b)
	w.route(w.service(service.URL, nil), object{"paths": []string{"/r"}})
	w.manyRoutes(1000)
	w.start()
	b.Run("direct", func(b *testing.B) { benchmarkConn(b, service.Listener.Addr().String(), "/") })
	b.Run("proxied", func(b *testing.B) { benchmarkConn(b, w.addr(), "/r") })
	b.Run("404", func(b *testing.B) { benchmarkConn(b, w.addr(), "/none") })
}

func benchmarkConn(b *testing.B, addr, path string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRequestDuringStorm: latency of requests while routes are added one
// by one, each as soon as the one before is served.
func BenchmarkRequestDuringStorm(b *testing.B) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	b.Cleanup(service.Close)
	w := newWorld(b)
	to := w.service(service.URL, nil)
	w.route(to, object{"paths": []string{"/r"}})
	w.start()
	stop := make(chan struct{})
	var writer sync.WaitGroup
	var writes int
	writer.Go(func() {
		for ; ; writes++ {
			select {
			case <-stop:
				return
			default:
				w.route(to, object{"paths": []string{fmt.Sprintf("/storm/%d", writes)}})
			}
		}
	})
	var slowest time.Duration
	for b.Loop() {
		start := time.Now()
		w.get("/r")
		slowest = max(slowest, time.Since(start))
	}
	close(stop)
	writer.Wait()
	b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-ms")
	b.ReportMetric(float64(writes)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64(writes), "routes")
}

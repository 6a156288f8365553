//go:build linux

package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// TestBodiesOfEverySize: bodies whose sizes are about those of buffers and TLS
// records, both ways, of known length and in chunks, buffered, streamed, and
// read by a plugin.
func TestBodiesOfEverySize(t *testing.T) {
	w, roots := secure(t)
	service := func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.URL.Query().Has("length") {
			rw.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		_, _ = rw.Write(body)
	}
	w.hook("read", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
		if ex.Request.Body == nil {
			return plugin.Continue
		}
		held, err := io.ReadAll(ex.Request.Body)
		if err != nil {
			return ex.Error(599, err.Error())
		}
		ex.Request.Body, ex.Request.ContentLength = bytes.NewReader(held), int64(len(held))
		return plugin.Continue
	}))
	w.behind(service)
	w.route(serviceID(w), object{"paths": []string{"/s"}, "request_buffering": false})
	read := w.route(serviceID(w), object{"paths": []string{"/p"}})
	w.plugin("test-mid", "read", object{"route": object{"id": read}})
	var sizes []int
	for _, around := range []int{1, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		for d := -2; d <= 2; d++ {
			if around+d >= 0 {
				sizes = append(sizes, around+d)
			}
		}
	}
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 31 >> 3)
	}
	sizes = append(sizes, len(data))
	for name, c := range map[string]*faultyClient{"plain": w.dial(0), "TLS": w.dialTLS(1, roots)} {
		for _, size := range sizes {
			for i, path := range []string{"/r", "/r?length", "/s", "/s?length", "/p", "/p?length"} {
				var sent sync.WaitGroup
				sent.Go(func() {
					head := "POST " + path + " HTTP/1.1\r\nHost: a\r\n"
					if i%2 == 0 {
						c.say(head, fmt.Sprintf("Content-Length: %d\r\n\r\n", size))
						_, _ = c.Write(data[:size])
						return
					}
					c.say(head, "Transfer-Encoding: chunked\r\n\r\n")
					for at := 0; at < size; {
						n := min(size-at, 10_000)
						c.say(fmt.Sprintf("%x\r\n", n), string(data[at:at+n]), "\r\n")
						at += n
					}
					c.say("0\r\n\r\n")
				})
				a := c.hear("POST")
				sent.Wait()
				if a.status != 200 || a.err != nil || a.body != string(data[:size]) {
					t.Fatalf("%s, %s, %d bytes: %d, %d bytes, %v", name, path, size, a.status, len(a.body), a.err)
				}
			}
		}
	}
}

// TestContinueInEveryOrder: a client that waits or does not, a service that says
// 100, answers at once, or says nothing of it.
func TestContinueInEveryOrder(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
	for name, serve := range map[string]func(net.Conn, *bufio.Reader){
		"100": func(c net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n") },
		"100s": func(c net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(c, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3))
		},
		"quiet": func(net.Conn, *bufio.Reader) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := rawService(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				for {
					if _, err := r.Peek(1); err != nil {
						return
					}
					req, err := readHead(r)
					if err != nil {
						return
					}
					serve(c, r)
					body, err := io.ReadAll(req.Body)
					if err != nil {
						return
					}
					_, _ = fmt.Fprintf(c, ok, len(body), body)
				}
			})
			w := newWorld(t).start()
			service := w.service(to, nil)
			w.route(service, object{"paths": []string{"/r"}})
			w.route(service, object{"paths": []string{"/s"}, "request_buffering": false})
			for _, path := range []string{"/r", "/s"} {
				for _, waits := range []bool{true, false} {
					c := w.dial(0)
					for range 3 {
						c.say("POST ", path, " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
						if waits {
							resp, err := http.ReadResponse(c.r, nil)
							if err != nil || resp.StatusCode != 100 {
								t.Fatalf("%s: %v, %v", path, resp, err)
							}
						}
						c.say("hello")
						if a := c.hear("POST"); a.body != "hello" {
							t.Fatalf("%s: %+v", path, a)
						}
					}
				}
			}
		})
	}
}

// TestBodilessAnswers: HEAD, 204, 304 and interim answers leave the connection in
// step, and so does HTTP/1.0 with keep-alive.
func TestBodilessAnswers(t *testing.T) {
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := readHead(r)
			if err != nil {
				return
			}
			answer := map[string]string{
				"/204":     "HTTP/1.1 204 No Content\r\n\r\n",
				"/304":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
				"/103":     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
				"/200":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
				"/0":       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
				"/chunked": "HTTP/1.1 200 OK\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: v\r\n\r\n",
			}[req.URL.Path]
			if req.Method == "HEAD" {
				answer = answer[:strings.LastIndex(answer, "\r\n\r\n")+4]
				if req.URL.Path == "/chunked" {
					answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				}
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
	w := newWorld(t).start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	modern, old := w.dial(0), w.dial(0)
	for range 3 {
		for path, status := range map[string]int{"/204": 204, "/304": 304, "/103": 200, "/200": 200, "/0": 200, "/chunked": 200} {
			for _, method := range []string{"GET", "HEAD"} {
				a := modern.say(method, " /r", path, " HTTP/1.1\r\nHost: a\r\n\r\n").hear(method)
				body := ""
				if status == 200 && method == "GET" && path != "/0" {
					body = "ok"
				}
				if a.status != status || a.body != body || a.close || a.err != nil {
					t.Fatalf("%s %s: %+v", method, path, a)
				}
				a = old.say(method, " /r", path, " HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").hear(method)
				if a.status != status || a.body != body || a.err != nil {
					t.Fatalf("HTTP/1.0, %s %s: %+v", method, path, a)
				}
				if a.close {
					old.ends()
					old = w.dial(0)
				}
			}
		}
	}
}

// TestPluginsThatMisbehave: one that sleeps on the loop, or panics in any phase,
// leaves other requests and the next one of its connection alone.
func TestPluginsThatMisbehave(t *testing.T) {
	w := newWorld(t)
	w.config.Loops = 1
	w.behind(echo)
	release := make(chan struct{})
	on := func(ex *plugin.Exchange, phase string) bool { return strings.Contains(ex.Request.Path, phase) }
	w.hook("rewrite", rewriteHook(func(ex *plugin.Exchange) plugin.Verdict {
		if on(ex, "sleep") {
			<-release
		}
		if on(ex, "rewrite") {
			panic("rewrite")
		}
		return plugin.Continue
	}))
	w.hook("access", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
		if on(ex, "access") {
			panic("access")
		}
		return plugin.Continue
	}))
	w.hook("header", headerHook(func(ex *plugin.Exchange) {
		if on(ex, "header") {
			panic("header")
		}
	}))
	w.hook("log", logHook(func(ex *plugin.Exchange) {
		if on(ex, "log") {
			panic("log")
		}
	}))
	w.plugin("test-high", "rewrite", nil)
	w.plugin("test-auth", "access", nil)
	w.plugin("test-mid", "header", nil)
	w.plugin("test-low", "log", nil)
	var sleepers []*faultyClient
	for range 5 {
		sleepers = append(sleepers, w.dial(0).say("GET /r/sleep HTTP/1.1\r\nHost: a\r\n\r\n"))
	}
	c := w.dial(0)
	for range 3 {
		for phase, status := range map[string]int{"rewrite": 500, "access": 500, "header": 200, "log": 200, "none": 200} {
			for _, method := range []string{"GET", "POST"} {
				c.say(method, " /r/", phase, " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
				if a := c.hear(method); a.status != status || a.err != nil {
					t.Fatalf("%s: %+v", phase, a)
				}
			}
		}
	}
	close(release)
	for _, s := range sleepers {
		if a := s.hear("GET"); a.status != 200 {
			t.Errorf("a request that slept: %+v", a)
		}
	}
}

// TestManyTunnels: frames large and in fragments, pings and both ways of closing,
// in 200 tunnels at once.
func TestManyTunnels(t *testing.T) {
	w := serving(t, webSocketEcho)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c, _, err := websocket.Dial(ctx, "ws://"+w.addr()+"/r", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			c.SetReadLimit(-1)
			data := large[:20]
			if i%40 == 0 {
				data = large[:16<<10] // what the service's end takes at most
			}
			for range 5 {
				fragments, err := c.Writer(ctx, websocket.MessageBinary)
				if err != nil {
					t.Error(err)
					return
				}
				for at := 0; at < len(data); at += max(1, len(data)/4) {
					_, _ = fragments.Write(data[at:min(len(data), at+max(1, len(data)/4))])
				}
				if err := fragments.Close(); err != nil {
					t.Error(err)
					return
				}
				if _, got, err := c.Read(ctx); err != nil || len(got) != 2*len(data) {
					t.Errorf("%d bytes, %v", len(got), err)
					return
				}
			}
			if i%2 == 0 {
				_ = c.Close(websocket.StatusNormalClosure, "")
			}
		})
	}
	wg.Wait()
	eventually(t, "the connections to go", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
}

// TestTunnelBytes: what comes together with the request and with the 101 is
// passed on; a megabyte both ways; an idle tunnel ends.
func TestTunnelBytes(t *testing.T) {
	w, roots := secure(t)
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := readHead(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly")
		_, _ = io.Copy(c, r)
	})
	w.start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	w.route(w.service(to, object{"read_timeout": 100}), object{"paths": []string{"/idle"}})
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for name, dial := range map[string]func() *faultyClient{
		"plain": func() *faultyClient { return w.dial(0) }, "TLS": func() *faultyClient { return w.dialTLS(1, roots) },
	} {
		for path, text := range map[string]string{"/r": large, "/idle": ""} {
			c := dial()
			c.say("GET ", path, " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\ntogether")
			go func() {
				c.say(text)
				if path == "/r" {
					_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}
			}()
			if a := c.hear("GET"); a.status != 101 {
				t.Fatalf("%s, %s: %+v", name, path, a)
			}
			if got := c.ends(); got != "earlytogether"+text {
				t.Errorf("%s, %s: %d bytes came back", name, path, len(got))
			}
		}
	}
	w.awaitInFlight(0)
}

// TestPrefacesDuringShutdown: clients that begin with HTTP/2 while the proxy
// stops.
func TestPrefacesDuringShutdown(t *testing.T) {
	for range 10 {
		w, _ := secure(t)
		w.start()
		var wg sync.WaitGroup
		addr := w.proxy.Addrs()[3].String()
		for range 4 {
			wg.Go(func() {
				for range 30 {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, "PRI * HTT")
					time.Sleep(100 * time.Microsecond)
					_, _ = io.WriteString(c, "P/2.0\r\n\r\nSM\r\n\r\n")
					_ = c.Close()
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		_ = shutdownWithin(w, false)
		wg.Wait()
	}
}

//go:build linux

package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// TestPanicsInAStreamedAnswer: a filter or a log phase that panics while an
// answer is streamed changes nothing of it, nor of the connections.
func TestPanicsInAStreamedAnswer(t *testing.T) {
	w, roots := secure(t)
	var services atomic.Int64
	to := rawService(t, func(c net.Conn) {
		services.Add(1)
		r := bufio.NewReader(c)
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 3 {
				if _, err := io.WriteString(c, "3\r\nabc\r\n"); err != nil {
					return
				}
			}
			_, _ = io.WriteString(c, "0\r\n\r\n")
		}
	})
	w.config.Loops = 1 // so that one kept connection serves all
	panics := func(ex *plugin.Exchange, phase string) {
		if strings.Contains(ex.Request.Path, phase) {
			panic(phase)
		}
	}
	w.hook("header", headerHook(func(ex *plugin.Exchange) { panics(ex, "header") }))
	w.hook("body", bodyHook(func(ex *plugin.Exchange, p []byte, last bool) []byte {
		panics(ex, "every-piece")
		if last {
			panics(ex, "last-piece")
		}
		return p
	}))
	w.hook("log", logHook(func(ex *plugin.Exchange) { panics(ex, "log") }))
	w.start()
	w.plugin("test-high", "header", nil)
	w.plugin("test-mid", "body", nil)
	w.plugin("test-low", "log", nil)
	w.route(w.service(to, nil), object{"paths": []string{"/r"}, "response_buffering": false})
	for _, c := range []*faultyClient{w.dial(0), w.dialTLS(1, roots)} {
		for _, phase := range []string{"header", "every-piece", "last-piece", "log", "every-piece,log", "none"} {
			a := c.say("GET /r/", phase, " HTTP/1.1\r\nHost: a\r\n\r\n").hear("GET")
			if a.status != 200 || a.body != "abcabcabc" || a.err != nil || a.close {
				t.Errorf("%s: %+v", phase, a)
			}
		}
	}
	w.awaitInFlight(0)
	if n := services.Load(); n != 1 {
		t.Errorf("%d connections to the service: they are not kept", n)
	}
}

// panickingBody is a body of a plugin's that breaks in the core's hands.
type panickingBody struct{ left int }

func (b *panickingBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		panic("body of a plugin")
	}
	n := min(len(p), b.left)
	clear(p[:n])
	b.left -= n
	return n, nil
}

// TestPanicsOfTheCore: what a plugin leaves behind may break the exchange outside
// of any phase, even while that is answered. The client has an answer or an end,
// the service is released, and everybody else is served.
func TestPanicsOfTheCore(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*plugin.Exchange)
		status int // 0: any, or an end
	}{
		"a body that panics, buffered": {func(ex *plugin.Exchange) {
			ex.Request.Body, ex.Request.ContentLength = &panickingBody{10}, 1000
		}, 500},
		"a body that panics, streamed": {func(ex *plugin.Exchange) {
			ex.Request.Body, ex.Request.ContentLength = &panickingBody{300_000}, 1_000_000
		}, 500},
		"no request fields":           {func(ex *plugin.Exchange) { ex.Request.Header = nil }, 0},
		"no fields for an answer":     {func(ex *plugin.Exchange) { ex.Response.Header = nil; panic("and this") }, 0},
		"no fields at all":            {func(ex *plugin.Exchange) { ex.Request.Header, ex.Response.Header = nil, nil }, 0},
		"no fields, and a bad answer": {func(ex *plugin.Exchange) { ex.Response.Header = nil; ex.Upstream.Path = "no path" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var open atomic.Int64
			to := rawService(t, func(s net.Conn) {
				open.Add(1)
				defer open.Add(-1)
				r := bufio.NewReader(s)
				for {
					req, err := readHead(r)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					if _, err := io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
						return
					}
				}
			})
			w := newWorld(t)
			w.config.Loops = 1
			w.hook("spoil", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
				if strings.Contains(ex.Request.Path, "spoil") {
					c.spoil(ex)
				}
				return plugin.Continue
			}))
			w.start()
			w.plugin("test-mid", "spoil", nil)
			w.route(w.service(to, nil), object{"paths": []string{"/r"}})
			for range 5 {
				bad := w.dial(0).say("POST /r/spoil HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
				if a := bad.hear("POST"); c.status != 0 && a.status != c.status {
					t.Errorf("%+v", a)
				}
				if a := w.dial(0).say("GET /r HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").hear("GET"); a.status != 200 {
					t.Errorf("another client: %+v", a)
				}
				bad.Close()
			}
			w.awaitInFlight(0)
			eventually(t, "the connections to go", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
			w.client.CloseIdleConnections()
			w.proxy.loops.engine.links.Close() // the idle ones; what is left would be held
			eventually(t, "the service to be released", func() bool { return open.Load() == 0 })
		})
	}
}

// vanishing are the ways in which a client leaves. Only the first of them is
// polite where there is TLS.
var vanishing = map[string]func(*faultyClient){
	"closes":   func(c *faultyClient) { c.Close() },
	"vanishes": func(c *faultyClient) { c.socket().Close() },
	"resets":   (*faultyClient).reset,
}

// socket gives the connection below TLS.
func (c *faultyClient) socket() net.Conn {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c.Conn
}

// leaving is a phase in which a client leaves.
type leaving struct {
	say string
	// serve is the service; it tells arrived when the client may go, and its
	// return is when the service is released.
	serve func(c net.Conn, r *bufio.Reader, arrived chan<- struct{})
	// hear waits for something of the answer first.
	hear string
}

var leavings = map[string]leaving{
	"while it is connected to the service":  {say: "GET /dial HTTP/1.1\r\nHost: a\r\n\r\n"},
	"while hands are shaken with a service": {say: "GET /shake HTTP/1.1\r\nHost: a\r\n\r\n", serve: holding("")},
	"while a plugin reads the body":         {say: "POST /plugin HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"},
	"while the body is gathered":            {say: "POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"},
	"while the body is streamed":            {say: "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", serve: holding("")},
	"while the service thinks":              {say: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n", serve: holding("")},
	"in the answer":                         {say: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n", serve: holding("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), hear: "abc"},
	"in an answer that it does not read": {say: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n", serve: func(c net.Conn, _ *bufio.Reader, arrived chan<- struct{}) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		piece := make([]byte, 64<<10)
		for told := false; ; {
			_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			_, err := c.Write(piece)
			switch {
			case err == nil:
			case timedOut(err) && !told: // all buffers on the way are full
				told = true
				arrived <- struct{}{}
			case !timedOut(err):
				return
			}
		}
	}},
	"in a tunnel": {say: "GET /r HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		serve: holding("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc"), hear: "abc"},
}

func timedOut(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

// holding is a service that says something and waits for the end.
func holding(text string) func(net.Conn, *bufio.Reader, chan<- struct{}) {
	return func(c net.Conn, r *bufio.Reader, arrived chan<- struct{}) {
		_, _ = io.WriteString(c, text)
		arrived <- struct{}{}
		_, _ = io.Copy(io.Discard, r)
	}
}

// TestClientVanishesInEveryPhase: the service is released, nothing is in work and
// no connection is left, however the client goes.
func TestClientVanishesInEveryPhase(t *testing.T) {
	backlog := fullBacklog(t)
	for name, phase := range leavings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, roots := secure(t)
			arrived, released := make(chan struct{}, 1), make(chan struct{}, 1)
			serve := func(head bool) func(net.Conn) {
				return func(c net.Conn) {
					r := bufio.NewReader(c)
					if head {
						if _, err := readHead(r); err != nil {
							return
						}
					}
					phase.serve(c, r, arrived)
					released <- struct{}{}
				}
			}
			w.hook("read", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
				arrived <- struct{}{}
				_, _ = io.ReadAll(ex.Request.Body)
				return plugin.Continue
			}))
			w.start()
			service := w.service(rawService(t, serve(true)), nil)
			w.route(service, object{"paths": []string{"/r"}})
			w.route(service, object{"paths": []string{"/s"}, "request_buffering": false})
			w.route(w.service(backlog, nil), object{"paths": []string{"/dial"}})
			w.route(w.service(strings.Replace(rawService(t, serve(false)), "http:", "https:", 1), nil), object{"paths": []string{"/shake"}})
			w.plugin("test-mid", "read", object{"route": object{"id": w.route(service, object{"paths": []string{"/plugin"}})}})
			for way, leave := range vanishing {
				for i, dial := range []func() *faultyClient{func() *faultyClient { return w.dial(0) }, func() *faultyClient { return w.dialTLS(1, roots) }} {
					c := dial().say(phase.say)
					w.awaitInFlight(1)
					if phase.serve != nil || strings.Contains(phase.say, "/plugin") {
						await(t, arrived, "the request to come that far")
					}
					for heard := ""; !strings.HasSuffix(heard, phase.hear); {
						b, err := c.r.ReadByte()
						if err != nil {
							t.Fatal(err)
						}
						heard += string(b)
					}
					leave(c)
					if phase.serve != nil {
						await(t, released, fmt.Sprintf("the service to be released: %s, connection %d", way, i))
					}
					w.awaitInFlight(0)
					eventually(t, "no connection", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
				}
			}
		})
	}
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
	}
}

// TestServiceVanishesInEveryPhase: the client has an error, a cut answer or a
// whole one, nothing is in work, and the connection is not held, however the
// service goes.
func TestServiceVanishesInEveryPhase(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	certificate, roots := certified(t)
	// What the service says before it goes; the client's view by status, cut or not.
	for name, c := range map[string]struct {
		request, says string
		unread        bool // it does not even read the head
		status        int
		cut           bool
	}{
		"at once":                   {unread: true, status: 502},
		"after the head":            {status: 502},
		"in a body":                 {request: "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", status: 502},
		"after it asked for a body": {request: "POST /s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", says: "HTTP/1.1 100 Continue\r\n\r\n", status: 502},
		"in the head of its answer": {says: "HTTP/1.1 200 OK\r\nA: b\r\n", status: 502},
		"after the head of it":      {says: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", status: 200, cut: true},
		"in its body":               {says: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", status: 200, cut: true},
		"in a chunk":                {says: chunked + "9\r\nabc", status: 200, cut: true},
		"before the last chunk":     {says: chunked + "3\r\nabc\r\n", status: 200, cut: true},
		"in the trailer":            {says: chunked + "3\r\nabc\r\n0\r\nA: b\r\n", status: 200, cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.request == "" {
				c.request = "GET /r HTTP/1.1\r\nHost: a\r\n\r\n"
			}
			w := newWorld(t)
			w.config.UpstreamTLS.Roots = roots
			// A filter, so that the answer of the third route is made anew in chunks.
			w.hook("same", bodyHook(func(_ *plugin.Exchange, p []byte, _ bool) []byte { return p }))
			w.start()
			for _, way := range []string{"closes", "half-closes", "resets"} {
				var held atomic.Int64
				serve := func(s net.Conn, tcp *net.TCPConn) {
					held.Add(1)
					defer held.Add(-1)
					r := bufio.NewReader(s)
					if !c.unread {
						if _, err := readHead(r); err != nil {
							return
						}
					}
					_, _ = io.WriteString(s, c.says)
					switch way {
					case "half-closes":
						_ = tcp.CloseWrite()
						_, _ = io.Copy(io.Discard, tcp) // it ends when the proxy closes, too
					case "resets":
						_ = tcp.SetLinger(0)
						fallthrough
					default: // without close_notify, if there is TLS
						_ = tcp.Close()
					}
				}
				for kind, to := range map[string]string{
					"plain": rawService(t, func(s net.Conn) { serve(s, s.(*net.TCPConn)) }),
					"TLS":   secureService(t, certificate, func(s *tls.Conn) { serve(s, s.NetConn().(*net.TCPConn)) }),
				} {
					prefix := "/" + way + kind
					service := w.service(to, object{"retries": 0})
					w.route(service, object{"paths": []string{prefix + "/r"}})
					w.route(service, object{"paths": []string{prefix + "/s"}, "request_buffering": false})
					w.plugin("test-mid", "same", object{"route": object{"id": w.route(service, object{"paths": []string{prefix + "/f"}})}})
					for _, request := range []string{c.request, strings.Replace(c.request, " /r", " /f", 1)} {
						client := w.dial(0).say(strings.Replace(request, " /", " "+prefix+"/", 1))
						a := client.hear("GET")
						// A reset may overtake what was said before it.
						lost := way == "resets" && a.status == 502
						if !lost && (a.status != c.status || (a.err != nil) != c.cut) {
							t.Errorf("%s, %s: %+v", way, kind, a)
						}
						w.awaitInFlight(0)
						eventually(t, "the service to be released", func() bool { return held.Load() == 0 })
						client.Close()
					}
				}
			}
			eventually(t, "no connection", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
		})
	}
}

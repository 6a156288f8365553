package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/proxy/http1"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines makes a header of names and values.
func lines(pairs ...[2]string) *http1.Fields {
	f := new(http1.Fields)
	for _, p := range pairs {
		f.Add(p[0], p[1])
	}
	return f
}

// service answers connections one by one with the n-th function; the last one
// answers all further ones.
type service struct {
	target   Target
	accepted atomic.Int64
}

func newService(t *testing.T, serve ...func(c net.Conn, r *bufio.Reader)) *service {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{target: target(t, "http://"+ln.Addr().String())}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n := min(int(s.accepted.Add(1)), len(serve))
			wg.Go(func() {
				defer c.Close()
				serve[n-1](c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return s
}

func target(t *testing.T, raw string) Target {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return Target{Host: u.Hostname(), Port: port, TLS: u.Scheme == "https"}
}

func newClient(t *testing.T) *client {
	t.Helper()
	c := New(Config{}).(*client)
	t.Cleanup(c.Close)
	return c
}

func get(to Target) *Request {
	return &Request{
		Target: to, Method: "GET", URI: "/", Authority: "example.com", Header: lines(),
		Timeouts: Timeouts{Connect: 5 * time.Second, Write: 5 * time.Second, Read: 5 * time.Second},
	}
}

// ask sends a request and reads the whole answer.
func ask(c Client, req *Request) (string, error) {
	resp, err := c.Do(context.Background(), req)
	if err != nil {
		return "", err
	}
	defer resp.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.Status, body), err
}

// say reads one request and answers with text, again and again.
func say(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// sayOnce is say for one request; the connection is closed after it.
func sayOnce(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		if req, err := http.ReadRequest(r); err == nil {
			if _, err := io.Copy(io.Discard, req.Body); err == nil {
				_, _ = io.WriteString(c, text)
			}
		}
	}
}

func TestReadsAnswers(t *testing.T) {
	for _, c := range []struct {
		name, method, wire string
		want               string
		err                error
		kept               bool
	}{
		{name: "length", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi", kept: true},
		{name: "no length, closed", wire: "HTTP/1.1 200 OK\r\n\r\nhi", want: "200 hi"},
		{name: "chunked", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", want: "200 hi", kept: true},
		{name: "trailer", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", want: "200 hi", kept: true},
		{name: "closing", wire: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi"},
		{name: "HTTP/1.0", wire: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi"},
		{name: "HTTP/1.0 kept", wire: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi", kept: true},
		{name: "no reason", wire: "HTTP/1.1 204\r\n\r\n", want: "204 ", kept: true},
		{name: "not modified", wire: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", want: "304 ", kept: true},
		{name: "no content of a length", wire: "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", want: "204 "},
		{name: "HEAD", method: "HEAD", wire: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", want: "200 ", kept: true},
		{name: "interim", wire: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi", kept: true},
		{name: "equal lengths", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi", kept: true},
		{name: "more than asked for", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", want: "200 hi"},

		{name: "garbage", wire: "220 smtp.example.com ESMTP\r\n", err: ErrInvalid},
		{name: "HTTP/2", wire: "HTTP/2.0 200 OK\r\n\r\n", err: ErrInvalid},
		{name: "bad status", wire: "HTTP/1.1 2x0 OK\r\n\r\n", err: ErrInvalid},
		{name: "long status", wire: "HTTP/1.1 2000 OK\r\n\r\n", err: ErrInvalid},
		{name: "bare LF", wire: "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", err: ErrInvalid},
		{name: "space in a name", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n", err: ErrInvalid},
		{name: "bad field", wire: "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", err: ErrInvalid},
		{name: "two framings", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", err: ErrInvalid},
		{name: "unknown encoding", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", err: ErrInvalid},
		{name: "two lengths", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", err: ErrInvalid},
		{name: "signed length", wire: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", err: ErrInvalid},
		{name: "huge length", wire: "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", err: ErrInvalid},
		{name: "huge head", wire: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", err: ErrInvalid},
		{name: "unasked switch", wire: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", err: ErrInvalid},
		{name: "endless interim", wire: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim+1), err: ErrInvalid},
		{name: "closed at once", wire: "", err: io.ErrUnexpectedEOF},
		{name: "closed in the head", wire: "HTTP/1.1 200 OK\r\nContent-", err: io.ErrUnexpectedEOF},
		{name: "closed in the body", wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", err: io.ErrUnexpectedEOF},
		{name: "closed in a chunk", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi", err: io.ErrUnexpectedEOF},
		{name: "closed before the last chunk", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", err: io.ErrUnexpectedEOF},
		{name: "closed in the trailer", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", err: io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			serve := sayOnce(c.wire)
			if c.kept {
				serve = say(c.wire)
			}
			s := newService(t, serve)
			client := newClient(t)
			req := get(s.target)
			if c.method != "" {
				req.Method = c.method
			}
			got, err := ask(client, req)
			if !errors.Is(err, c.err) || c.err == nil && (err != nil || got != c.want) {
				t.Fatalf("got %q, %v; want %q, %v", got, err, c.want, c.err)
			}
			if kept := client.pool.count() == 1; kept != c.kept {
				t.Fatalf("connection kept: %t, want %t", kept, c.kept)
			}
		})
	}
}

func TestSendsRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Request)
		want string
	}{
		{"plain", func(*Request) {}, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n"},
		{"own framing", func(r *Request) {
			r.Header = lines([2]string{"Host", "evil"}, [2]string{"content-length", "7"}, [2]string{"Transfer-Encoding", "chunked"}, [2]string{"Connection", "close"}, [2]string{"A", "b"})
		}, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nA: b\r\n\r\n"},
		{"no second line", func(r *Request) {
			r.Header = lines([2]string{"A", "b\r\nC: d"}, [2]string{"E f", "g"}, [2]string{"", "h"})
		},
			"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nA: b  C: d\r\n\r\n"},
		{"empty body", func(r *Request) { r.Method = "POST" },
			"POST / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"},
		{"whole body", func(r *Request) { r.Method, r.Whole = "POST", []byte("hi") },
			"POST / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"},
		{"known body", func(r *Request) { stream(r, "hi!", 2) },
			"POST / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"},
		{"chunked body", func(r *Request) { stream(r, "hi", -1) },
			"POST / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		{"trailer", func(r *Request) {
			stream(r, "hi", -1)
			r.Trailer = func() *http1.Fields {
				fields := new(http1.Fields)
				fields.Add("X", "y")
				return fields
			}
		}, "POST / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n"},
		{"upgrade", func(r *Request) { r.Upgrade = "websocket" },
			"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan string, 1)
			s := newService(t, func(conn net.Conn, r *bufio.Reader) {
				buf := make([]byte, len(c.want))
				n, _ := io.ReadFull(r, buf)
				got <- string(buf[:n])
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			})
			req := get(s.target)
			c.edit(req)
			if _, err := ask(newClient(t), req); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != c.want {
				t.Fatalf("sent\n%q, want\n%q", g, c.want)
			}
		})
	}
}

// stream gives a request a streamed body.
func stream(r *Request, body string, length int64) {
	r.Method, r.Body, r.ContentLength, r.StopBody = "POST", strings.NewReader(body), length, func() {}
}

func TestRefusesTargets(t *testing.T) {
	client := newClient(t)
	for _, edit := range []func(*Request){
		func(r *Request) { r.URI = "" },
		func(r *Request) { r.URI = "a" },
		func(r *Request) { r.URI = "/a b" },
		func(r *Request) { r.URI = "/a\r\nX: y" },
		func(r *Request) { r.Method = "GET / HTTP/1.1\r\n" },
		func(r *Request) { r.Authority = "a\nb" },
	} {
		req := get(Target{Host: "127.0.0.1", Port: 1})
		edit(req)
		if _, err := ask(client, req); !errors.Is(err, ErrRequest) {
			t.Errorf("%q %q %q: %v", req.Method, req.URI, req.Authority, err)
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestConnectionsAreKept(t *testing.T) {
	s := newService(t, say(ok))
	client := newClient(t)
	for range 5 {
		if got, err := ask(client, get(s.target)); got != "200 ok" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if n := s.accepted.Load(); n != 1 {
		t.Fatalf("%d connections for five requests", n)
	}
	client.Close()
	if _, err := ask(client, get(s.target)); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

// TestDeadKeptConnection has the service close a kept connection when the
// second request comes, which is too late for the client to see.
func TestDeadKeptConnection(t *testing.T) {
	readThenClose := func(c net.Conn, r *bufio.Reader) {
		sayOnce(ok)(c, r)
		_, _ = http.ReadRequest(r)
	}
	for _, c := range []struct {
		name string
		edit func(*Request)
		want bool
	}{
		{"GET", func(*Request) {}, true},
		{"PUT with a whole body", func(r *Request) { r.Method, r.Whole = "PUT", []byte("x") }, true},
		{"POST", func(r *Request) { r.Method = "POST" }, false},
		{"PUT with a streamed body", func(r *Request) { stream(r, "x", 1); r.Method = "PUT" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, readThenClose, say(ok))
			client := newClient(t)
			if _, err := ask(client, get(s.target)); err != nil {
				t.Fatal(err)
			}
			req := get(s.target)
			req.Retries = 0 // a stale connection does not count
			c.edit(req)
			if _, err := ask(client, req); (err == nil) != c.want {
				t.Fatalf("second request: %v, want success: %t", err, c.want)
			}
		})
	}
}

// TestUnaskedOnKeptConnection has the service send what nobody has asked for, or
// that it is about to close, on a kept connection: the next request, one that could
// be repeated, must not get that for its answer.
func TestUnaskedOnKeptConnection(t *testing.T) {
	for name, unasked := range map[string]string{
		"answer":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
		"timeout": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"garbage": "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			later := make(chan struct{})
			s := newService(t, func(c net.Conn, r *bufio.Reader) {
				sayOnce(ok)(c, r)
				<-later
				_, _ = io.WriteString(c, unasked)
				_, _ = r.ReadByte() // until the client closes it
			}, say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"))
			client := newClient(t)
			if _, err := ask(client, get(s.target)); err != nil {
				t.Fatal(err)
			}
			close(later)
			awaitUnasked(t, client, s.target)
			if got, err := ask(client, get(s.target)); got != "200 own" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestSurplusInRecord: what follows an answer in the same TLS record is not in the
// socket any more, and not the next request's answer.
func TestSurplusInRecord(t *testing.T) {
	body := strings.Repeat("x", 12<<10) // longer than the buffer: read past it
	secure := tlsOrNot()["TLS"]
	secure.DynamicRecordSizingDisabled = true
	s := newService(t, func(c net.Conn, _ *bufio.Reader) {
		c = tls.Server(c, secure)
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 12288\r\n\r\n")
		_, _ = io.WriteString(c, body+"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
		_, _ = r.ReadByte() // until the client closes it
	}, func(c net.Conn, _ *bufio.Reader) {
		c = tls.Server(c, secure)
		say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")(c, bufio.NewReader(c))
	})
	s.target.TLS = true
	client := newClient(t)
	for _, want := range []string{"200 " + body, "200 own"} {
		if got, err := ask(client, get(s.target)); got != want || err != nil {
			t.Fatalf("%.60q, %v, want %.60q", got, err, want)
		}
	}
	if n := s.accepted.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestConnectionIsKept: also with TLS, and for longer than a read may take.
func TestConnectionIsKept(t *testing.T) {
	for name, secure := range tlsOrNot() {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(c net.Conn, r *bufio.Reader) {
				if secure != nil {
					c = tls.Server(c, secure)
					r = bufio.NewReader(c)
				}
				say(ok)(c, r)
			})
			s.target.TLS = secure != nil
			client := newClient(t)
			for range 3 {
				if _, err := ask(client, get(s.target)); err != nil {
					t.Fatal(err)
				}
				kept := client.pool.pop(s.target)
				if err := kept.SetReadDeadline(time.Unix(1, 0)); err != nil { // as if it had passed by now
					t.Fatal(err)
				}
				client.pool.put(kept)
			}
			if n := s.accepted.Load(); n != 1 {
				t.Errorf("%d connections for three requests", n)
			}
		})
	}
}

// tlsOrNot gives a service's TLS, nil for none. Its session tickets come after
// the handshake, and are no surplus.
func tlsOrNot() map[string]*tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return map[string]*tls.Config{"plain": nil, "TLS": {Certificates: s.TLS.Certificates}}
}

// awaitUnasked waits until something has come on the kept connection to a service.
func awaitUnasked(t *testing.T, client *client, from Target) {
	t.Helper()
	kept := client.pool.pop(from)
	for end := time.Now().Add(30 * time.Second); kept.alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing ever comes")
		}
	}
	client.pool.put(kept)
}

// TestClosedKeptConnection has the service close a kept connection while it is
// idle: requests that cannot be repeated must not be tried on it.
func TestClosedKeptConnection(t *testing.T) {
	s := newService(t, sayOnce(ok), say(ok))
	client := newClient(t)
	if _, err := ask(client, get(s.target)); err != nil {
		t.Fatal(err)
	}
	awaitUnasked(t, client, s.target)
	req := get(s.target)
	req.Method, req.Retries = "POST", 0
	if _, err := ask(client, req); err != nil {
		t.Fatal(err)
	}
}

func TestNewConnectionIsNotTriedAgain(t *testing.T) {
	s := newService(t, sayOnce(""))
	req := get(s.target)
	req.Retries = 5
	if _, err := ask(newClient(t), req); err == nil {
		t.Fatal("an answer out of nothing")
	}
	if n := s.accepted.Load(); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

func TestPoolForgetsOldConnections(t *testing.T) {
	s := newService(t, say(ok))
	client := newClient(t)
	if _, err := ask(client, get(s.target)); err != nil {
		t.Fatal(err)
	}
	c := client.pool.pop(s.target)
	client.pool.put(c)
	c.idleSince = time.Now().Add(-2 * client.pool.keep.IdleTimeout)
	if old := client.pool.takeOld(time.Now().Add(-client.pool.keep.IdleTimeout)); len(old) != 1 || client.pool.count() != 0 {
		t.Fatalf("%d old connections, %d left", len(old), client.pool.count())
	}
	client.pool.put(c)
	c.idleSince = time.Now().Add(-2 * client.pool.keep.IdleTimeout)
	if client.pool.get(s.target) != nil {
		t.Fatal("an old connection is given out")
	}
}

func TestPoolIsBounded(t *testing.T) {
	client := newClient(t)
	for range client.pool.keep.PoolSize + 10 {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		client.pool.put(&conn{Conn: a, tcp: a})
	}
	if n := client.pool.count(); n != client.pool.keep.PoolSize {
		t.Fatalf("%d idle connections", n)
	}
}

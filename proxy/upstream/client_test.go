package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a list of fields.
type lines [][2]string

func (l lines) All(f func(name, value string) bool) {
	for _, line := range l {
		if !f(line[0], line[1]) {
			return
		}
	}
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
		Target: to, Method: "GET", URI: "/", Authority: "example.com", Header: lines{},
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
		{name: "HEAD", method: "HEAD", wire: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", want: "200 ", kept: true},
		{name: "interim", wire: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi", kept: true},
		{name: "equal lengths", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi", kept: true},
		{name: "more than asked for", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", want: "200 hi"},

		{name: "garbage", wire: "220 smtp.example.com ESMTP\r\n", err: ErrInvalid},
		{name: "HTTP/2", wire: "HTTP/2.0 200 OK\r\n\r\n", err: ErrInvalid},
		{name: "bad status", wire: "HTTP/1.1 2x0 OK\r\n\r\n", err: ErrInvalid},
		{name: "long status", wire: "HTTP/1.1 2000 OK\r\n\r\n", err: ErrInvalid},
		{name: "bad field", wire: "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", err: ErrInvalid},
		{name: "two framings", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", err: ErrInvalid},
		{name: "unknown encoding", wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", err: ErrInvalid},
		{name: "two lengths", wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", err: ErrInvalid},
		{name: "signed length", wire: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", err: ErrInvalid},
		{name: "huge length", wire: "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", err: ErrInvalid},
		{name: "huge head", wire: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", err: ErrInvalid},
		{name: "unasked switch", wire: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", err: ErrInvalid},
		{name: "endless interim", wire: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim), err: ErrInvalid},
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
			r.Header = lines{{"Host", "evil"}, {"content-length", "7"}, {"Transfer-Encoding", "chunked"}, {"Connection", "close"}, {"A", "b"}}
		}, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nA: b\r\n\r\n"},
		{"no second line", func(r *Request) { r.Header = lines{{"A", "b\r\nC: d"}, {"E f", "g"}, {"", "h"}} },
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
			r.Trailer = func() http.Header { return http.Header{"X": {"y"}} }
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

// TestClosedKeptConnection has the service close a kept connection while it is
// idle: requests that cannot be repeated must not be tried on it.
func TestClosedKeptConnection(t *testing.T) {
	s := newService(t, sayOnce(ok), say(ok))
	client := newClient(t)
	if _, err := ask(client, get(s.target)); err != nil {
		t.Fatal(err)
	}
	closed := client.pool.pop(s.target)
	for end := time.Now().Add(5 * time.Second); alive(closed.tcp); {
		if time.Now().After(end) {
			t.Fatal("the close is never seen")
		}
		time.Sleep(time.Millisecond)
	}
	client.pool.put(closed)
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

func TestTimeouts(t *testing.T) {
	silent := func(c net.Conn, r *bufio.Reader) { _, _ = r.Discard(1 << 30) }
	halfway := func(c net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
		silent(c, r)
	}
	deaf := func(c net.Conn, r *bufio.Reader) { // fills its buffers, then reads nothing
		_ = c.(*net.TCPConn).SetReadBuffer(1 << 10)
		buf := make([]byte, 1)
		for {
			if _, err := r.Read(buf); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // the slow service itself, not a wait of the test
			if _, err := c.Write(nil); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name  string
		serve func(net.Conn, *bufio.Reader)
		edit  func(*Request)
	}{
		{"head", silent, func(r *Request) { r.Read = 50 * time.Millisecond }},
		{"body", halfway, func(r *Request) { r.Read = 50 * time.Millisecond }},
		{"write", deaf, func(r *Request) {
			r.Write = 50 * time.Millisecond
			r.Method, r.StopBody, r.ContentLength = "POST", func() {}, -1
			r.Body = endless{}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := get(newService(t, c.serve).target)
			req.Retries = 5
			c.edit(req)
			if _, err := ask(newClient(t), req); !errors.Is(err, ErrTimeout) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestReadTimeoutStartsAfterTheRequest: a client that sends slowly must not
// make its service look slow.
func TestReadTimeoutStartsAfterTheRequest(t *testing.T) {
	s := newService(t, say(ok))
	body, feed := io.Pipe()
	req := get(s.target)
	req.Method, req.Body, req.ContentLength, req.StopBody = "POST", body, -1, func() { body.Close() }
	req.Read = 300 * time.Millisecond
	go func() {
		for range 6 {
			time.Sleep(100 * time.Millisecond) // the slow client
			_, _ = feed.Write([]byte("x"))
		}
		feed.Close()
	}()
	if got, err := ask(newClient(t), req); got != "200 ok" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestEarlyAnswer(t *testing.T) {
	for _, closing := range []bool{false, true} {
		t.Run(fmt.Sprintf("closing %t", closing), func(t *testing.T) {
			release := make(chan struct{})
			s := newService(t, func(c net.Conn, r *bufio.Reader) {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
				if !closing {
					<-release
				}
			})
			body, feed := io.Pipe() // nobody ever writes
			defer feed.Close()
			req := get(s.target)
			req.Method, req.Body, req.ContentLength, req.StopBody = "POST", body, 10, func() { body.CloseWithError(io.ErrClosedPipe) }
			client := newClient(t)
			got, err := ask(client, req)
			close(release)
			if got != "413 no" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			if client.pool.count() != 0 {
				t.Fatal("a connection with half a request on it was kept")
			}
		})
	}
}

func TestBodyThatFails(t *testing.T) {
	broken := errors.New("client has gone")
	s := newService(t, say(ok))
	for _, length := range []int64{-1, 10} {
		req := get(s.target)
		stream(req, "", length)
		req.Body = io.MultiReader(strings.NewReader("hi"), iotestErr{broken})
		if _, err := ask(newClient(t), req); !errors.Is(err, ErrBody) || !errors.Is(err, broken) {
			t.Fatalf("length %d: %v", length, err)
		}
	}
	req := get(s.target)
	stream(req, "short", 10)
	if _, err := ask(newClient(t), req); !errors.Is(err, ErrBody) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("short body: %v", err)
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

func TestCancelCutsTheExchange(t *testing.T) {
	gone := errors.New("gone")
	for _, head := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"} {
		arrived, closed := make(chan struct{}), make(chan struct{})
		s := newService(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, head)
			close(arrived)
			_, _ = r.ReadByte()
			close(closed)
		})
		ctx, cancel := context.WithCancelCause(context.Background())
		client := newClient(t)
		go func() {
			<-arrived
			cancel(gone)
		}()
		resp, err := client.Do(ctx, get(s.target))
		if head == "" && !errors.Is(err, gone) {
			t.Fatalf("before the head: %v", err)
		}
		if resp != nil {
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Fatal("the body goes on after the cancel")
			}
			resp.Close()
		}
		<-closed
		if client.pool.count() != 0 {
			t.Fatal("a cut connection was kept")
		}
	}
}

func TestExpectContinue(t *testing.T) {
	for _, c := range []struct {
		name, first string
		read        bool
		want        string
	}{
		{"continue", "HTTP/1.1 100 Continue\r\n\r\n", true, "200 ok"},
		{"refused", "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", false, "417 "},
		{"old service", "", true, "200 ok"}, // says nothing, and gets the body anyway
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, func(conn net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, c.first)
				if c.read {
					_, _ = io.Copy(io.Discard, req.Body)
					_, _ = io.WriteString(conn, ok)
				}
				_, _ = r.ReadByte()
			})
			req := get(s.target)
			stream(req, "hello", 5)
			req.Expect = true
			read := &atomic.Bool{}
			req.Body = watchedBody{req.Body, read}
			got, err := ask(newClient(t), req)
			if got != c.want || err != nil || read.Load() != c.read {
				t.Fatalf("%q, %v, body read: %t", got, err, read.Load())
			}
		})
	}
}

type watchedBody struct {
	io.Reader
	read *atomic.Bool
}

func (b watchedBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.Reader.Read(p)
}

func TestInterimAndTrailer(t *testing.T) {
	s := newService(t, say("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n2\r\nhi\r\n0\r\nSum: 7\r\n\r\n"))
	var hints []string
	req := get(s.target)
	req.Interim = func(status int, h http.Header) { hints = append(hints, fmt.Sprintf("%d %s", status, h.Get("Link"))) }
	resp, err := newClient(t).Do(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if len(hints) != 1 || hints[0] != "103 x" || resp.Trailer().Get("Sum") != "7" {
		t.Fatalf("hints %q, trailer %v", hints, resp.Trailer())
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
	c.idleSince = time.Now().Add(-2 * idleTimeout)
	if old := client.pool.takeOld(time.Now().Add(-idleTimeout)); len(old) != 1 || client.pool.count() != 0 {
		t.Fatalf("%d old connections, %d left", len(old), client.pool.count())
	}
	client.pool.put(c)
	c.idleSince = time.Now().Add(-2 * idleTimeout)
	if client.pool.get(s.target, false) != nil {
		t.Fatal("an old connection is given out")
	}
}

func TestPoolIsBounded(t *testing.T) {
	client := newClient(t)
	for range maxIdlePerHost + 10 {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		client.pool.put(&conn{Conn: a, tcp: a})
	}
	if n := client.pool.count(); n != maxIdlePerHost {
		t.Fatalf("%d idle connections", n)
	}
}

// FuzzAnswer feeds bytes to the reader of answers: it must end, and what it
// takes for a whole answer must have clear framing.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{ok, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 x\r\n\r\nHTTP/1.0 200\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "\r\n", "HTTP/1.1 200 OK\r\n a: b\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := newTestConn(wire)
		h, err := c.readHead()
		if err != nil {
			return
		}
		if h.status < 100 || h.status > 999 {
			t.Fatalf("status %d", h.status)
		}
		if h.status < 200 {
			return
		}
		c.headLeft = noHeadLimit
		var b body
		if b.frame(c, h, "GET") != nil {
			return
		}
		n, err := io.Copy(io.Discard, &b)
		if err == nil && b.length >= 0 && b.length != n && h.status != 304 {
			t.Fatalf("%d bytes of an answer of %d", n, b.length)
		}
		if err == nil && !b.ended {
			t.Fatal("read to the end, but not ended")
		}
	})
}

// wireConn is a connection that only gives bytes.
type wireConn struct {
	net.Conn
	*bytes.Reader
}

func (wireConn) SetReadDeadline(time.Time) error { return nil }
func (c wireConn) Read(p []byte) (int, error)    { return c.Reader.Read(p) }

func newTestConn(wire []byte) *conn {
	c := &conn{Conn: wireConn{Reader: bytes.NewReader(wire)}}
	c.setReader()
	c.begin(Timeouts{Read: time.Second})
	return c
}

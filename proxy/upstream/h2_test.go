package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluicegate/sluice/proxy/http1"
)

// h2Service speaks HTTP/2 with prior knowledge, frame by frame: head is called
// for every request's head and data for every piece of body, with the number of
// the connection.
type h2Service struct {
	target Target
	conns  atomic.Int64
	heads  atomic.Int64
	window atomic.Int64 // of a stream, as the client has set it
	head   func(c *h2ServiceConn, stream uint32)
	data   func(c *h2ServiceConn, stream uint32, p []byte, end bool)
	update func(c *h2ServiceConn, stream, n uint32) // of a stream's window
}

type h2ServiceConn struct {
	*http2.Framer
	n int64
}

func (s *h2Service) start(t *testing.T) *h2Service {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.target = target(t, "http://"+ln.Addr().String())
	s.target.HTTP2 = true
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n := s.conns.Add(1)
			wg.Go(func() {
				defer c.Close()
				s.serve(c, n)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return s
}

func (s *h2Service) serve(c net.Conn, n int64) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	conn := &h2ServiceConn{Framer: http2.NewFramer(c, c), n: n}
	conn.AllowIllegalWrites = true
	conn.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if conn.WriteSettings() != nil {
		return
	}
	for {
		f, err := conn.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				s.window.Store(int64(v))
			}
			if !f.IsAck() {
				_ = conn.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			s.heads.Add(1)
			if s.head != nil {
				s.head(conn, f.StreamID)
			}
		case *http2.PingFrame: // comes with a RST_STREAM
			_ = conn.WritePing(true, f.Data)
		case *http2.WindowUpdateFrame:
			if s.update != nil && f.StreamID != 0 {
				s.update(conn, f.StreamID, f.Increment)
			}
		case *http2.DataFrame:
			_ = conn.WriteWindowUpdate(0, uint32(max(1, len(f.Data()))))
			if s.data != nil {
				s.data(conn, f.StreamID, f.Data(), f.StreamEnded())
			}
		}
	}
}

// answer sends 200 and a body. Errors show at the client.
func (c *h2ServiceConn) answer(stream uint32, body string, end bool) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, BlockFragment: block.Bytes()})
	_ = c.WriteData(stream, end, []byte(body))
}

func (s *h2Service) request() *Request {
	return &Request{Target: s.target, Timeouts: Timeouts{10 * time.Second, 10 * time.Second, 10 * time.Second},
		Method: "POST", URI: "/pkg.Service/Call", Authority: "example.com", Header: new(http1.Fields)}
}

// streamed gives the request a body that comes in two pieces.
func streamed(req *Request, first, second string) *Request {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, first) // stopped, at the latest, by StopBody
		_, _ = io.WriteString(w, second)
		_ = w.Close()
	}()
	req.Body, req.ContentLength = r, -1
	req.StopBody = func() { _ = r.CloseWithError(errors.New("stopped")) }
	return req
}

func newH2Client(t *testing.T) Client {
	c := New(Config{})
	t.Cleanup(c.Close)
	return c
}

// collect keeps bodies by stream and answers with them.
func collect() func(c *h2ServiceConn, stream uint32, p []byte, end bool) {
	bodies := map[uint32]string{}
	return func(c *h2ServiceConn, stream uint32, p []byte, end bool) {
		bodies[stream] += string(p)
		if end {
			c.answer(stream, bodies[stream], true)
		}
	}
}

// TestH2SentAgain: what the service says it has not processed is sent again,
// with its body from the beginning, on the same connection after REFUSED_STREAM
// and on another after GOAWAY.
func TestH2SentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		refuse func(c *h2ServiceConn, stream uint32)
		conns  int64
	}{
		"REFUSED_STREAM": {func(c *h2ServiceConn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeRefusedStream) }, 1},
		"GOAWAY":         {func(c *h2ServiceConn, _ uint32) { _ = c.WriteGoAway(0, http2.ErrCodeNo, nil) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &h2Service{}
			echo := collect()
			refused := uint32(0)
			s.data = func(c2 *h2ServiceConn, stream uint32, p []byte, end bool) {
				switch {
				case refused == 0: // the first piece of the first try
					refused = stream
					c.refuse(c2, stream)
				case stream != refused || c.conns > 1 && c2.n > 1:
					echo(c2, stream, p, end)
				}
			}
			s.start(t)
			resp, err := newH2Client(t).Do(context.Background(), streamed(s.request(), "one ", "two"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != "one two" {
				t.Fatalf("%q %v", body, err)
			}
			// net/http may make one more that it does not need after all.
			if s.conns.Load() < c.conns || s.heads.Load() != 2 {
				t.Errorf("%d connections, %d heads", s.conns.Load(), s.heads.Load())
			}
		})
	}
}

// TestH2NotSentAgain: what may have been processed is not, and neither is a
// body whose beginning is not kept any more.
func TestH2NotSentAgain(t *testing.T) {
	large := strings.Repeat("x", 2*maxReplay)
	for name, c := range map[string]struct {
		code  http2.ErrCode
		after int // bytes of the body
		body  string
	}{
		"INTERNAL_ERROR":      {http2.ErrCodeInternal, 1, "m"},
		"CANCEL":              {http2.ErrCodeCancel, 1, "m"},
		"refused, large body": {http2.ErrCodeRefusedStream, len(large), large},
	} {
		t.Run(name, func(t *testing.T) {
			s, got := &h2Service{}, 0
			s.data = func(conn *h2ServiceConn, stream uint32, p []byte, _ bool) {
				_ = conn.WriteWindowUpdate(stream, uint32(max(1, len(p))))
				if got += len(p); got >= c.after {
					got = 0
					_ = conn.WriteRSTStream(stream, c.code)
				}
			}
			s.start(t)
			_, err := newH2Client(t).Do(context.Background(), streamed(s.request(), c.body, ""))
			if err == nil || errors.Is(err, ErrTimeout) {
				t.Fatalf("error %v", err)
			}
			if s.heads.Load() != 1 {
				t.Errorf("sent %d times", s.heads.Load())
			}
		})
	}
}

func TestH2ConnectionIsShared(t *testing.T) {
	s := &h2Service{data: collect()}
	s.start(t)
	client := newH2Client(t)
	var users sync.WaitGroup
	ask := func() {
		req := s.request()
		req.Whole = []byte("m")
		resp, err := client.Do(context.Background(), req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "m" {
			t.Errorf("%q %v", body, err)
		}
	}
	// net/http takes a moment to see that a connection has room again, and
	// makes others meanwhile; but soon none is made any more.
	for range 10 {
		before := s.conns.Load()
		for range 20 {
			users.Go(ask)
		}
		users.Wait()
		if s.conns.Load() == before {
			return
		}
	}
	t.Errorf("%d connections", s.conns.Load())
}

// TestH2Timeouts: connecting (here, the handshake), the head, and between two
// pieces.
func TestH2Timeouts(t *testing.T) {
	const short = 100 * time.Millisecond
	t.Run("connect", func(t *testing.T) {
		s := newService(t, silent)
		req := (&h2Service{target: s.target}).request()
		req.HTTP2, req.TLS, req.Connect = true, true, short
		if _, err := newH2Client(t).Do(context.Background(), req); !errors.Is(err, ErrTimeout) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("head", func(t *testing.T) {
		s := (&h2Service{}).start(t)
		req := s.request()
		req.Read = short
		if _, err := newH2Client(t).Do(context.Background(), req); !errors.Is(err, ErrTimeout) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("body", func(t *testing.T) {
		s := (&h2Service{head: func(c *h2ServiceConn, stream uint32) { c.answer(stream, "some", false) }}).start(t)
		req := s.request()
		req.Read = short
		resp, err := newH2Client(t).Do(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Close()
		if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "some" {
			t.Fatalf("%q %v", body, err)
		}
	})
}

// TestH2SlowClient: who does not read holds the service up at the window, which
// is all that is kept of the answer.
func TestH2SlowClient(t *testing.T) {
	written := make(chan struct{})
	var window, opened atomic.Int64
	s := &h2Service{}
	s.head = func(c *h2ServiceConn, stream uint32) {
		window.Store(s.window.Load())
		c.answer(stream, "", false)
		for left := window.Load(); left > 0; left -= 16 << 10 {
			_ = c.WriteData(stream, false, make([]byte, min(left, 16<<10)))
		}
		close(written)
	}
	s.update = func(_ *h2ServiceConn, _, n uint32) {
		opened.Add(int64(n))
	}
	s.start(t)
	resp, err := newH2Client(t).Do(context.Background(), s.request())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	<-written
	if window.Load() != h2Window || opened.Load() != 0 {
		t.Fatalf("window of %d bytes, opened by %d before anything was read", window.Load(), opened.Load())
	}
	if n, err := io.ReadFull(resp.Body, make([]byte, h2Window)); err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// TestWatchRests: the read timeout is the service's, not that of a client which
// takes its time.
func TestWatchRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expired atomic.Bool
		var w watch
		w.start(time.Second, func() { expired.Store(true) })
		for range 3 {
			time.Sleep(900 * time.Millisecond)
			w.moved()
		}
		w.rest()
		w.moved()
		time.Sleep(time.Hour)
		synctest.Wait()
		if expired.Load() {
			t.Fatal("expired while nobody waited")
		}
		w.wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if !expired.Load() {
			t.Fatal("has not expired")
		}
		w.stop()
	})
}

// TestHTTP2AnswerBeforeTheBody: an exchange ends with its answer, though the
// client sends no more of the body.
func TestHTTP2AnswerBeforeTheBody(t *testing.T) {
	s := (&h2Service{head: func(c *h2ServiceConn, stream uint32) { c.answer(stream, "early", true) }}).start(t)
	client := newClient(t)
	body, feed := io.Pipe()
	defer feed.Close()
	req := s.request()
	req.Body, req.ContentLength = body, -1
	req.StopBody = func() { body.CloseWithError(errBodyEnded) }
	ended := make(chan error, 1)
	go func() {
		got, err := ask(client, req)
		if got != "200 early" {
			err = errors.Join(err, errors.New(got))
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the exchange does not end")
	}
}

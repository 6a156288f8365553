package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// onPipe sends a request over a pipe in virtual time and says how long the
// answer took. It waits for the service to end.
func onPipe(req *Request, serve func(net.Conn, *bufio.Reader)) (answer string, took time.Duration, err error) {
	ours, theirs := net.Pipe()
	c := &client{pool: newPool(Keepalive{}.complete())}
	defer c.pool.close()
	cn := &conn{Conn: ours, tcp: ours}
	cn.setReader()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer theirs.Close()
		serve(theirs, bufio.NewReader(theirs))
	})
	start := time.Now()
	resp, _, err := c.exchange(context.Background(), cn, req)
	if err != nil {
		return "", time.Since(start), err
	}
	body, err := io.ReadAll(resp.Body)
	took = time.Since(start)
	resp.Close()
	cn.cut()
	return string(body), took, err
}

func silent(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(net.Conn, *bufio.Reader)
		edit  func(*Request)
		want  time.Duration
	}{
		{"no head", silent, func(*Request) {}, 5 * time.Second},
		{"half a body", func(c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			time.Sleep(4 * time.Second) // each step is in time
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
			time.Sleep(4 * time.Second)
			_, _ = io.WriteString(c, "hi")
			silent(c, r)
		}, func(*Request) {}, 13 * time.Second},
		{"head not read", func(_ net.Conn, r *bufio.Reader) { time.Sleep(time.Hour) }, func(r *Request) { r.Write = 3 * time.Second }, 3 * time.Second},
		{"body not read", func(_ net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			time.Sleep(time.Hour)
		}, func(r *Request) {
			r.Write = 2 * time.Second
			r.Method, r.StopBody, r.ContentLength, r.Body = "POST", func() {}, -1, endless{}
		}, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				req := get(Target{})
				c.edit(req)
				if _, took, err := onPipe(req, c.serve); !errors.Is(err, ErrTimeout) || took != c.want {
					t.Fatalf("%v after %v, want it after %v", err, took, c.want)
				}
			})
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestReadTimeoutStartsAfterTheRequest: a client that sends slowly must not
// make its service look slow.
func TestReadTimeoutStartsAfterTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, feed := io.Pipe()
		req := get(Target{})
		req.Method, req.Body, req.ContentLength, req.StopBody = "POST", body, -1, func() { body.Close() }
		go func() {
			for range 10 {
				time.Sleep(4 * time.Second)
				_, _ = feed.Write([]byte("x"))
			}
			feed.Close()
		}()
		got, took, err := onPipe(req, func(c net.Conn, r *bufio.Reader) {
			in, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, in.Body)
			time.Sleep(4 * time.Second)
			_, _ = io.WriteString(c, ok)
		})
		if got != "ok" || err != nil || took != 44*time.Second {
			t.Fatalf("%q, %v after %v", got, err, took)
		}
	})
}

// TestExpectOfAnOldService: one that does not know of 100 gets the body after a
// second.
func TestExpectOfAnOldService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req := get(Target{})
		stream(req, "hello", 5)
		req.Expect = true
		got, took, err := onPipe(req, func(c net.Conn, r *bufio.Reader) {
			in, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, in.Body)
			_, _ = io.WriteString(c, ok)
		})
		if got != "ok" || err != nil || took != continueTimeout {
			t.Fatalf("%q, %v after %v", got, err, took)
		}
	})
}

// TestSweeper: a connection that nobody asks for is closed when its time is
// over.
func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(Keepalive{}.complete())
		defer p.close()
		ours, theirs := net.Pipe()
		p.put(&conn{Conn: ours, tcp: ours})
		start := time.Now()
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("got %v", err)
		}
		if idle := time.Since(start); idle < p.keep.IdleTimeout || idle > p.keep.IdleTimeout+2*sweepEvery {
			t.Fatalf("closed after %v", idle)
		}
	})
}

package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

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

package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fullDuplex lets a service read the request while it answers.
func fullDuplex(w http.ResponseWriter) {
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 always is
}

// TestBothDirectionsAtOnce: a conversation within one exchange: each line is
// answered before the next is sent.
func TestBothDirectionsAtOnce(t *testing.T) {
	for _, buffering := range []bool{true, false} {
		t.Run(fmt.Sprint("buffering ", buffering), func(t *testing.T) {
			w := newBothWays(t, object{"request_buffering": buffering}, func(w http.ResponseWriter, r *http.Request) {
				fullDuplex(w)
				line := make([]byte, 6)
				for {
					if _, err := io.ReadFull(r.Body, line); err != nil {
						fmt.Fprint(w, err)
						return
					}
					_, _ = w.Write(line)
					_ = http.NewResponseController(w).Flush()
				}
			})
			w.each(t, func(t *testing.T, client *http.Client, url string) {
				body, feed := io.Pipe()
				go func() { _, _ = io.WriteString(feed, "line 0") }()
				resp, err := client.Post(url, "", body)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				line := make([]byte, 6)
				for i := range 20 {
					if _, err := io.ReadFull(resp.Body, line); err != nil || string(line) != fmt.Sprint("line ", i%10) {
						t.Fatalf("%q, %v", line, err)
					}
					if i < 19 {
						fmt.Fprintf(feed, "line %d", (i+1)%10)
					}
				}
				feed.Close()
				if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "EOF" {
					t.Fatalf("%q, %v", rest, err)
				}
			})
		})
	}
}

// TestLargeBodiesBothWays: bodies larger than what any buffer holds, at the same
// time. (The client has to take the answer meanwhile: net/http's HTTP/2 server
// asks for no more of a body behind an answer that waits for its client.)
func TestLargeBodiesBothWays(t *testing.T) {
	up, down := noise(9<<20, 1), noise(9<<20, 2)
	w := newBothWays(t, nil, func(w http.ResponseWriter, r *http.Request) {
		fullDuplex(w)
		read := make(chan error, 1)
		go func() {
			got, err := io.ReadAll(r.Body)
			if err == nil && !bytes.Equal(got, up) {
				err = fmt.Errorf("%d bytes that are others", len(got))
			}
			read <- err
		}()
		_, _ = w.Write(down)
		fmt.Fprint(w, <-read)
	})
	for name, c := range map[string]struct{ path, head, end string }{
		"HTTP/1.1":           {"/1", fmt.Sprintf("Content-Length: %d\r\n\r\n", len(up)), ""},
		"HTTP/2":             {"/2", fmt.Sprintf("Content-Length: %d\r\n\r\n", len(up)), ""},
		"HTTP/2 from chunks": {"/2", fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(up)), "\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			client := w.dial(0).say("POST ", c.path, " HTTP/1.1\r\nHost: a\r\n", c.head)
			var sending sync.WaitGroup
			sending.Go(func() { client.say(string(up), c.end) })
			a := client.hear("POST")
			sending.Wait()
			if want := string(down) + "<nil>"; a.status != 200 || a.err != nil || a.body != want {
				t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
			}
		})
	}
}

// noise gives bytes that do not repeat soon.
func noise(size int, seed int64) []byte {
	block := make([]byte, 99_991)
	_, _ = rand.New(rand.NewSource(seed)).Read(block) // never fails
	return bytes.Repeat(block, size/len(block)+1)[:size]
}

// TestServiceStopsTheUpload: a service over HTTP/2 that does not read stops the
// client, and hears of it when the client leaves.
func TestServiceStopsTheUpload(t *testing.T) {
	left := make(chan struct{})
	w := newBothWays(t, nil, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(left)
	})
	c := w.dial(0).say("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
	var sent atomic.Int64
	go func() {
		piece := make([]byte, 64<<10)
		for {
			n, err := c.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	last, same := int64(-1), 0
	eventually(t, "the client to stand still", func() bool {
		if now := sent.Load(); now == last && now > 0 {
			same++
		} else {
			last, same = now, 0
		}
		return same == 25 // looks in a row
	})
	// The kernel's buffers on both connections hold most of it.
	if last > 64<<20 {
		t.Fatalf("%d bytes were taken", last)
	}
	c.reset()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("the service does not hear that the client has left")
	}
	eventually(t, "the exchange to end", func() bool { return w.proxy.inFlight.sum() == 0 })
	eventually(t, "the log to say so", func() bool { return strings.Contains(w.access.String(), " 499 ") })
}

// TestBadBodiesToHTTP2: what is wrong with a streamed body is answered as it is
// for services that speak HTTP/1.1, and the service gets no body that looks
// whole.
func TestBadBodiesToHTTP2(t *testing.T) {
	var whole atomic.Int64
	w := newWorld(t)
	w.config.MaxBodyBytes, w.config.BodyTimeout = 1000, 300*time.Millisecond
	w.start()
	to := frameService(t, nil, func(s *h2ServiceStream) {
		whole.Add(1)
		s.say("200", "whole")
	})
	early := frameService(t, func(s *h2ServiceStream) { s.say("403", "early") }, nil)
	w.route(w.service(to, object{"protocol": "grpc"}), object{"paths": []string{"/2"}})
	w.route(w.service(early, object{"protocol": "grpc"}), object{"paths": []string{"/early"}})
	for name, c := range map[string]struct {
		path, body string
		halfClose  bool
		status     int // 0: no answer
	}{
		"too large":           {"/2", "800\r\n" + strings.Repeat("x", 2048) + "\r\n0\r\n\r\n", false, 413},
		"stalls":              {"/2", "4\r\nbody\r\n", false, 408},
		"no chunk":            {"/2", "4\r\nbody\r\nzz\r\n", false, 400},
		"ends in the middle":  {"/2", "4\r\nbody\r\n", true, 0},
		"answered before end": {"/early", "4\r\nbody\r\n", false, 403},
	} {
		t.Run(name, func(t *testing.T) {
			client := w.dial(0).say("POST ", c.path, " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", c.body)
			if c.halfClose {
				client.closeWrite()
			}
			if a := client.hear("POST"); a.status != c.status || c.status != 0 && !a.close {
				t.Errorf("%d %q, close %v, want %d", a.status, a.body, a.close, c.status)
			}
		})
	}
	eventually(t, "no exchange is left", func() bool { return w.proxy.inFlight.sum() == 0 })
	if n := whole.Load(); n > 0 {
		t.Errorf("the service got %d whole requests", n)
	}
	// What comes after is in order.
	client := w.dial(0)
	for range 3 {
		client.say("POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
		if a := client.hear("POST"); a.status != 200 || a.body != "whole" || a.close {
			t.Errorf("%+v", a)
		}
	}
}

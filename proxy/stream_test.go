package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPiecesArriveOneByOne: each piece waits until the client has the one
// before, so nothing may be held back.
func TestPiecesArriveOneByOne(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(http.ResponseWriter)
		route object
	}{
		{"chunked", func(http.ResponseWriter) {}, nil},
		{"event stream", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Content-Length", "9")
		}, nil},
		{"unbuffered", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "9") }, object{"response_buffering": false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := make(chan bool)
			w := serving(t, func(w http.ResponseWriter, r *http.Request) {
				c.write(w)
				for i := range 3 {
					if err := http.NewResponseController(w).Flush(); err != nil {
						return
					}
					if !<-next {
						return
					}
					fmt.Fprintf(w, "%03d", i)
				}
			})
			for e := range w.machine.View().All("services") {
				w.route(e.ID, merged(object{"paths": []string{"/r/stream"}}, c.route))
			}
			resp, err := w.client.Get(w.url("/r/stream")) // the head comes before any piece
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			defer close(next)
			buf := make([]byte, 3)
			for i := range 3 {
				next <- true
				if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprintf("%03d", i) {
					t.Fatalf("piece %d: %q, %v", i, buf, err)
				}
			}
		})
	}
}

// TestBackPressure: a client that does not read stops the service.
func TestBackPressure(t *testing.T) {
	const total = 64 << 20
	var written atomic.Int64
	w := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for written.Load() < total {
			n, err := w.Write(piece)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	resp, err := w.client.Get(w.url("/r"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	last, same := int64(-1), 0
	eventually(t, "the service to stand still", func() bool {
		if now := written.Load(); now == last && now > 0 {
			same++
		} else {
			last, same = now, 0
		}
		return same == 25 // looks in a row
	})
	if last >= total {
		t.Fatal("the whole answer was taken from the service")
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != total {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// TestUploadIsStreamed: the service reads the beginning of a body whose end the
// client has not sent.
func TestUploadIsStreamed(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, buf)
		_ = http.NewResponseController(w).EnableFullDuplex()
		fmt.Fprintf(w, "got %s", buf)
		_ = http.NewResponseController(w).Flush()
		rest, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, " and %s", rest)
	})
	body, feed := io.Pipe()
	go func() { _, _ = feed.Write([]byte("hello")) }()
	req, err := http.NewRequest("POST", w.url("/r"), body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, len("got hello"))
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "got hello" {
		t.Fatalf("%q, %v", buf, err)
	}
	_, _ = feed.Write([]byte("world"))
	feed.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != " and world" {
		t.Fatalf("%q, %v", rest, err)
	}
}

// TestAnswerBeforeTheBodyIsRead: the answer arrives although the client never
// ends its body, and the connection is closed after it.
func TestAnswerBeforeTheBodyIsRead(t *testing.T) {
	for _, length := range []string{"Content-Length: 10000000", "Transfer-Encoding: chunked"} {
		w := serving(t, nil)
		raw := rawService(t, func(c net.Conn) {
			r := bufio.NewReader(c)
			if _, err := http.ReadRequest(r); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nno!")
				_, _ = r.ReadByte()
			}
		})
		w.route(w.service(raw, nil), object{"paths": []string{"/early"}})
		c, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /early HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", length)
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 413 || string(body) != "no!" || !resp.Close {
			t.Fatalf("%s: %d %q %v, close %t", length, resp.StatusCode, body, err, resp.Close)
		}
	}
}

func TestServiceThatBreaksOff(t *testing.T) {
	raw := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, text)
			}
		}
	}
	for _, c := range []struct {
		name, text string
		status     int
		cut        bool
	}{
		{"at once", "", 502, false},
		{"garbage", "SSH-2.0-OpenSSH_9.0\r\n", 502, false},
		{"in the head", "HTTP/1.1 200 OK\r\nContent-", 502, false},
		{"two framings", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 502, false},
		{"in the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi", 200, true},
		{"in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t).start()
			w.route(w.service(rawService(t, raw(c.text)), nil), object{"paths": []string{"/r"}})
			resp, err := w.client.Get(w.url("/r"))
			if err != nil {
				if c.cut { // net/http may break off before it has sent the head
					return
				}
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || (err != nil) != c.cut {
				t.Fatalf("%d, %v", resp.StatusCode, err)
			}
		})
	}
}

func TestServiceThatStalls(t *testing.T) {
	w := newWorld(t).start()
	silent := rawService(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	w.route(w.service(silent, object{"read_timeout": 50}), object{"paths": []string{"/r"}})
	w.get("/r", "Accept", "*/*").want(t, 504, `"message":"The upstream server is timing out"`)
}

// TestClientThatLeaves: the service sees the end at once, and the log says 499.
func TestClientThatLeaves(t *testing.T) {
	for _, head := range []bool{false, true} {
		arrived, released := make(chan bool, 1), make(chan bool, 1)
		w := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if head {
				_ = http.NewResponseController(w).Flush()
			}
			arrived <- true
			<-r.Context().Done()
			released <- true
		})
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, "GET", w.url("/r"), nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-arrived
			cancel()
		}()
		if resp, err := w.client.Do(req); err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil {
				t.Fatal("the answer ended")
			}
		}
		<-released
		eventually(t, "a line with 499", func() bool { return strings.Contains(w.access.String(), `HTTP/1.1" 499 0 `) })
	}
}

// TestClientThatStopsSending: a stalled upload is cut, and the service let go.
func TestClientThatStopsSending(t *testing.T) {
	released := make(chan bool, 2)
	w := newWorld(t)
	w.config.BodyTimeout = 1100 * time.Millisecond // more than deadlineStep
	w.behind(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		released <- err != nil
	})
	for _, length := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		c, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /r HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n5\r\nhello\r\n", length)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 408 {
			t.Fatalf("%s: %v, %v; %v", length, resp, err, w.logs.All())
		}
		if !<-released {
			t.Fatal("the service took the part for the whole")
		}
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.config.MaxBodyBytes = 10
	w.behind(echo)
	w.do("POST", "/r", strings.NewReader("0123456789")).want(t, 200, "body=0123456789")
	w.do("POST", "/r", io.MultiReader(strings.NewReader("0123456789"))).want(t, 200, "body=0123456789")
	w.do("POST", "/r", strings.NewReader("0123456789x")).want(t, 413, "")
	w.do("POST", "/r", io.MultiReader(strings.NewReader("0123456789x"))).want(t, 413, "")
}

func TestInterimAnswersAndTrailers(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", body, r.Trailer.Get("Check"))
		w.Header().Set("Sum", "7")
	})
	var hints []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprintf("%d %s", code, h.Get("Link")))
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, "POST", w.url("/r"), io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"Check": {"9"}}
	a := w.send(req).want(t, 200, "body 9")
	if len(hints) != 1 || hints[0] != "103 </a.css>" || a.Trailer.Get("Sum") != "7" {
		t.Fatalf("hints %q, trailer %v", hints, a.Trailer)
	}
}

func TestExpectContinue(t *testing.T) {
	refusing := rawService(t, func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 417 No\r\nContent-Length: 0\r\nX-Expect: %s\r\nConnection: close\r\n\r\n", r.Header.Get("Expect"))
		}
	})
	w := serving(t, echo)
	w.route(w.service(refusing, nil), object{"paths": []string{"/no"}, "request_buffering": false})
	ask := func(path string) (interim bool, resp *http.Response) {
		c, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", path)
		r := bufio.NewReader(c)
		resp, err = http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 100 {
			return false, resp
		}
		_, _ = io.WriteString(c, "hello")
		if resp, err = http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		return true, resp
	}
	if interim, resp := ask("/r"); !interim || resp.StatusCode != 200 {
		t.Errorf("100: %t, then %d", interim, resp.StatusCode)
	}
	if interim, resp := ask("/no"); interim || resp.StatusCode != 417 || resp.Header.Get("X-Expect") != "100-continue" {
		t.Errorf("100: %t, then %d %v", interim, resp.StatusCode, resp.Header)
	}
	if interim, resp := ask("/absent"); interim || resp.StatusCode != 404 {
		t.Errorf("100: %t, then %d", interim, resp.StatusCode)
	}
}

func TestAnswersWithoutBody(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.Header().Set("Etag", `"x"`)
		if r.Method == "HEAD" {
			w.Header().Set("Content-Length", "12345")
		}
		w.WriteHeader(status)
	})
	for range 2 { // the connection is in order afterwards
		w.get("/r/204").want(t, 204, "")
		w.get("/r/304").want(t, 304, "")
		if a := w.do("HEAD", "/r/200", nil).want(t, 200, ""); a.ContentLength != 12345 {
			t.Fatalf("length %d", a.ContentLength)
		}
		if a := w.do("HEAD", "/none", nil).want(t, 404, ""); a.ContentLength <= 0 {
			t.Fatalf("length %d", a.ContentLength)
		}
	}
	if n := w.proxy.Stats().ConnectionsAccepted; n != 1 {
		t.Fatalf("%d connections", n)
	}
}

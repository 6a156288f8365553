//go:build linux

package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestExtraAnswerInARecordOfItsOwn: what a service sends after its answer, in
// the same segment but in another TLS record, answers nobody.
func TestExtraAnswerInARecordOfItsOwn(t *testing.T) {
	certificate, _ := certified(t)
	to := secureService(t, certificate, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := readHead(r)
			if err != nil {
				return
			}
			// One write of the socket: crypto/tls makes a record of each 16 KiB at
			// most, here by a first record that is as small as they begin.
			id := req.URL.Path
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(id))
			stolen := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
			cork(c)
			_, _ = io.WriteString(c, head+id)
			_, _ = io.WriteString(c, stolen)
			uncork(c)
		}
	})
	w := newWorld(t).start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	for i := range 20 {
		w.get(fmt.Sprintf("/r/%d", i)).want(t, 200, fmt.Sprintf("/%d", i))
	}
}

// TestFinalAnswerInsteadOfContinue: a service that answers at once and takes its
// time for the body; nothing else is put in between.
func TestFinalAnswerInsteadOfContinue(t *testing.T) {
	part := make(chan struct{})
	to := rawService(t, func(c net.Conn) {
		if _, err := readHead(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nabc")
		<-part
		_, _ = io.WriteString(c, "def")
	})
	w := newWorld(t).start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}, "request_buffering": false})
	c := w.dial(0).say("POST /r HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	// Longer than a 100 is awaited.
	time.AfterFunc(1500*time.Millisecond, func() { close(part) })
	if a := c.hear("POST"); a.status != 403 || a.body != "abcdef" || a.err != nil {
		t.Errorf("%+v", a)
	}
	if rest := c.ends(); rest != "" {
		t.Errorf("after the answer: %q", rest)
	}
}

// TestOldClientIsNotToldToContinue: HTTP/1.0 knows no interim answers (RFC 9110,
// section 10.1.1).
func TestOldClientIsNotToldToContinue(t *testing.T) {
	w := serving(t, echo)
	for _, buffering := range []bool{true, false} {
		path := fmt.Sprintf("/%v", buffering)
		w.route(serviceID(w), object{"paths": []string{path}, "request_buffering": buffering})
		c := w.dial(0).say("POST " + path + " HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		w.awaitInFlight(1)
		c.say("abc")
		if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			t.Errorf("%q, %v", line, err)
		}
		c.ends()
		w.awaitInFlight(0)
	}
}

// TestHeadThatFillsTheBuffer: interim answers and a head that end exactly where
// the buffer does leave room for the body.
func TestHeadThatFillsTheBuffer(t *testing.T) {
	var interim string
	for _, first := range []int{0, 30 << 10} {
		if first > 0 {
			interim = "HTTP/1.1 103 Early Hints\r\n"
			interim += "A: " + strings.Repeat("x", first-len(interim)-len("A: \r\n\r\n")) + "\r\n\r\n"
		}
		for size := downloadSize - 3; size <= downloadSize+1; size++ {
			head := "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n"
			head += "A: " + strings.Repeat("x", size-len(interim)-len(head)-len("A: \r\n\r\n")) + "\r\n\r\n"
			to := rawService(t, func(c net.Conn) {
				if _, err := readHead(bufio.NewReader(c)); err != nil {
					return
				}
				_, _ = io.WriteString(c, interim+head+strings.Repeat("b", 70000))
			})
			w := newWorld(t).start()
			w.route(w.service(to, nil), object{"paths": []string{"/r"}})
			a := w.dial(0).say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n").hear("GET")
			if a.status != 502 && (a.status != 200 || len(a.body) != 70000) {
				t.Errorf("interim of %d, head up to %d: %d, %d bytes, %v", first, size, a.status, len(a.body), a.err)
			}
			w.stop()
		}
	}
}

// TestCutAnswerOverTLS: an answer that ends with the connection is not taken for
// whole when it was cut.
func TestCutAnswerOverTLS(t *testing.T) {
	to := rawService(t, func(c net.Conn) {
		if _, err := readHead(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
	})
	w, roots := secure(t)
	w.start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	// A body of unknown length is one that ends with the connection for HTTP/1.0.
	w.hook("same", bodyHook(func(_ *plugExchange, p []byte, _ bool) []byte { return p }))
	w.plugin("test-low", "same", nil)
	c := w.dialTLS(1, roots).say("GET /r HTTP/1.0\r\nHost: a\r\n\r\n")
	all, err := io.ReadAll(c.r)
	if err == nil {
		t.Errorf("a cut answer ends in order: %q", all)
	}
}

// TestHalfClosedTunnelOverTLS: the end of one direction leaves the other.
func TestHalfClosedTunnelOverTLS(t *testing.T) {
	got := make(chan string, 1)
	to := switching(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(c, "bye")
		_ = c.(*net.TCPConn).CloseWrite()
		all, _ := io.ReadAll(r)
		got <- string(all)
	})
	w, roots := secure(t)
	w.start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	c := w.dialTLS(1, roots).say("GET /r HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
	if a := c.hear("GET"); a.status != 101 {
		t.Fatalf("%+v", a)
	}
	if said := c.ends(); said != "bye" {
		t.Errorf("service said %q", said)
	}
	for range 3 {
		c.say("more")
	}
	c.closeWrite()
	if all := <-got; all != "moremoremore" {
		t.Errorf("client said %q", all)
	}
}

// TestResetDuringUpload: a client that is gone is found out although the service
// takes nothing, and although what it sent is not all read.
func TestResetDuringUpload(t *testing.T) {
	gone := make(chan struct{}, 1)
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReaderSize(c, 16)
		if _, err := readHead(r); err != nil {
			return
		}
		if awaitEnd(c) {
			gone <- struct{}{}
		}
	})
	w := newWorld(t).start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	c := w.dial(0).say("POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
	fill(c)
	c.reset()
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("the service is not released")
	}
	eventually(t, "a line with 499", func() bool { return strings.Contains(w.access.String(), `" 499 `) })
}

// TestStalledBodyDuringDrain: a shutdown that looks at its connections again and
// again gives none of them more time.
func TestStalledBodyDuringDrain(t *testing.T) {
	w := newWorld(t)
	w.config.BodyTimeout = 200 * time.Millisecond
	w.behind(echo)
	c := w.dial(0).say("POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
	w.awaitInFlight(1)
	if err := shutdownWithin(w, true); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if a := c.hear("POST"); a.status != 408 {
		t.Errorf("%+v", a)
	}
}

// TestFilterAnswersEarly: the answer of a header filter has its own time, not
// what was left for the body of the request.
func TestFilterAnswersEarly(t *testing.T) {
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := readHead(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = io.Copy(io.Discard, r)
		}
	})
	w := newWorld(t)
	w.config.BodyTimeout = 100 * time.Millisecond
	w.start()
	const length = 32 << 20 // more than sockets hold
	w.hook("instead", headerHook(func(ex *plugExchange) {
		ex.Exit(200, "")
		ex.Response.Body = make([]byte, length)
	}))
	w.plugin("test-mid", "instead", nil)
	w.route(w.service(to, nil), object{"paths": []string{"/r"}, "request_buffering": false})
	c := w.dial(0).say("POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
	if _, err := c.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * w.config.BodyTimeout) // a slow reader
	if a := c.hear("POST"); a.status != 200 || len(a.body) < length {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

//go:build linux

package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLargeHeads: a large body after a head that takes nearly all of a buffer,
// in either direction, comes through.
func TestLargeHeads(t *testing.T) {
	body := strings.Repeat("0123456789abcde\n", 1<<16)
	for _, left := range []int{300, 2000, 30 << 10} {
		field := "X-Large: " + strings.Repeat("x", 64<<10-left) + "\r\n"
		to := rawService(t, func(c net.Conn) {
			r := bufio.NewReader(c)
			for {
				req, err := readHead(r)
				if err != nil {
					return
				}
				got, err := io.ReadAll(req.Body)
				if err != nil {
					return
				}
				if req.Method == http.MethodPost {
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(got), got)
				} else {
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", field, len(body), body)
				}
			}
		})
		w := newWorld(t)
		w.config.MaxHeadBytes = 64 << 10
		w.start()
		w.route(w.service(to, nil), object{"paths": []string{"/r"}})
		c := w.dial(0)
		for range 3 {
			go c.say(fmt.Sprintf("POST /r HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s", field, len(body), body))
			if a := c.hear("POST"); a.status != 200 || a.body != body {
				t.Errorf("%d bytes left by the request's head: status %d, %d bytes of body, %v", left, a.status, len(a.body), a.err)
			}
			c.say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
			if a := c.hear("GET"); a.status != 200 || a.body != body || a.header.Get("X-Large") == "" {
				t.Errorf("%d bytes left by the answer's head: status %d, %d bytes of body, %v", left, a.status, len(a.body), a.err)
			}
		}
	}
}

// TestSteadyReaderOverTLS: a client that reads slowly, but all the time, is not
// cut, though a piece that TLS has taken needs longer than the send timeout.
func TestSteadyReaderOverTLS(t *testing.T) {
	const size = 128 << 10
	w, roots := secure(t)
	w.config.SendTimeout = time.Second
	w.behind(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	})
	// Small buffers of the sockets, or else the kernel takes everything.
	smallBuffer := func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<10)
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		})
	}
	for _, f := range w.proxy.fronts {
		raw, err := f.(*eventFront).ln.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := smallBuffer("", "", raw); err != nil { // connections inherit it
			t.Fatal(err)
		}
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Control: smallBuffer}, Config: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	plain, err := dialer.Dial("tcp", w.proxy.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	c := w.faulty(plain).say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for piece := make([]byte, 1<<10); ; time.Sleep(20 * time.Millisecond) {
		n, err := resp.Body.Read(piece)
		if got += n; err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes of %d: %v", got, size, err)
		}
	}
	if got != size {
		t.Errorf("%d bytes of %d", got, size)
	}
}

// TestShutdownLeavesLingeringClients: a client that has its answer and neither
// sends the rest of its request nor closes does not hold a shutdown up.
func TestShutdownLeavesLingeringClients(t *testing.T) {
	w := newWorld(t)
	w.config.lingering = time.Hour
	w.behind(echo)
	c := w.dial(0).say("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
	if a := c.hear("POST"); a.status != 404 || !a.close {
		t.Fatalf("%+v", a)
	}
	if err := shutdownWithin(w, true); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	c.ended()
}

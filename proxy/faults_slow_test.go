//go:build linux

package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestSlowReader: a client that hardly reads holds the service back, and is cut
// once it reads nothing at all.
func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	slowReader(t, w, func() *faultyClient { return w.dial(0) })
}

func TestSlowReaderOverTLS(t *testing.T) {
	w, roots := secure(t)
	slowReader(t, w, func() *faultyClient { return w.dialTLS(1, roots) })
}

func slowReader(t *testing.T, w *world, dial func() *faultyClient) {
	const length = 100 << 20
	var sent atomic.Int64
	stopped := make(chan struct{})
	to := rawService(t, func(c net.Conn) {
		if _, err := readHead(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", length)
		piece := make([]byte, 64<<10)
		for {
			n, err := c.Write(piece)
			if sent.Add(int64(n)); err != nil {
				close(stopped)
				return
			}
		}
	})
	w.config.SendTimeout = 500 * time.Millisecond
	w.start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	c := dial().say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
	var one [1]byte
	for range 5 {
		if _, err := c.Read(one[:]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("a client that reads nothing is not cut")
	}
	// Four sockets' buffers, of a few megabytes each at most.
	if n := sent.Load(); n > length/3 {
		t.Errorf("%d bytes of %d were taken from the service", n, length)
	}
	w.awaitInFlight(0)
	eventually(t, "a line with 499", func() bool { return strings.Contains(w.access.String(), `" 499 `) })
}

// TestShutdownLeavesNothing: no descriptor and no goroutine is left, whatever was
// under way.
func TestShutdownLeavesNothing(t *testing.T) {
	before := descriptors(t)
	goroutines := runtime.NumGoroutine()
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) { shutDownBusy(t, round%2 == 0) })
	}
	for end := time.Now().Add(10 * time.Second); len(descriptors(t)) > len(before) && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	if after := descriptors(t); len(after) > len(before) {
		t.Errorf("descriptors before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	eventually(t, "the goroutines of before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// descriptors tells what the open ones of this process are, without pipes:
// Sluice opens none, and the standard library keeps those that io.Copy splices
// through until a garbage collection.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		what, err := os.Readlink("/proc/self/fd/" + e.Name())
		if !strings.HasPrefix(what, "pipe:") {
			all = append(all, fmt.Sprintf("%s %s %v", e.Name(), what, err))
		}
	}
	return all
}

// fullBacklog is a service that takes no connection and refuses none: a listening
// socket whose backlog is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for { // until one has to wait
		c, err := net.DialTimeout("tcp", addr, 50*time.Millisecond)
		if err != nil {
			return "http://" + addr
		}
		t.Cleanup(func() { c.Close() })
	}
}

// shutDownBusy stops a proxy while everything that it can do is under way.
func shutDownBusy(t *testing.T, patiently bool) {
	w, roots := secure(t)
	release := make(chan struct{})
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := readHead(r)
			if err != nil {
				return
			}
			switch {
			case req.Header.Get("Upgrade") != "":
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
				_, _ = io.Copy(c, r)
				return
			case req.URL.Path == "/wait":
				<-release
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
	w.start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}, "request_buffering": false})
	w.route(w.service(fullBacklog(t), object{"connect_timeout": 30000}), object{"paths": []string{"/dial"}})

	idle := w.dial(0).say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
	idle.hear("GET")
	idleTLS := w.dialTLS(1, roots).say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
	idleTLS.hear("GET")
	waiting := w.dial(0).say("GET /r/wait HTTP/1.1\r\nHost: a\r\n\r\n")
	waitingTLS := w.dialTLS(1, roots).say("GET /r/wait HTTP/1.1\r\nHost: a\r\n\r\n")
	inFlight := int64(2)
	var cut []*faultyClient
	if !patiently {
		upload := w.dial(0).say("POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
		dialing := w.dial(0).say("GET /dial HTTP/1.1\r\nHost: a\r\n\r\n")
		tunnel := w.dial(0).say("GET /r HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		tunnel.hear("GET")
		tunnelTLS := w.dialTLS(1, roots).say("GET /r HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		tunnelTLS.hear("GET")
		shaking := w.dial(1).say("\x16\x03\x01")
		preface := w.dial(3).say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		head := w.dial(0).say("GET /r HT")
		cut = append(cut, upload, dialing, tunnel, tunnelTLS, shaking, preface, head)
		inFlight += 3
	}
	eventually(t, "the requests in work", func() bool { return w.proxy.inFlight.sum() >= inFlight })
	stopped := make(chan error, 1)
	go func() { stopped <- shutdownWithin(w, patiently) }()
	for _, c := range []*faultyClient{idle, idleTLS} {
		if rest := c.ends(); rest != "" {
			t.Errorf("an idle connection ends with %q", rest)
		}
	}
	if patiently {
		close(release)
		for _, c := range []*faultyClient{waiting, waitingTLS} {
			if a := c.hear("GET"); a.status != 200 || a.body != "ok" || a.err != nil {
				t.Errorf("a request in flight: %+v", a)
			}
			c.ends()
		}
	}
	err := <-stopped
	if patiently && err != nil {
		t.Error(err)
	}
	if !patiently {
		close(release)
		for _, c := range append(cut, waiting, waitingTLS) {
			c.ended()
		}
	}
	for _, c := range append(cut, waiting, waitingTLS, idle, idleTLS) {
		c.Close()
	}
}

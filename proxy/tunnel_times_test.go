//go:build linux

package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// tunnelled opens a tunnel on a connection.
func (c *faultyClient) tunnelled(path string) *faultyClient {
	c.t.Helper()
	c.say("GET ", path, " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
	if a := c.hear("GET"); a.status != 101 {
		c.t.Fatalf("%+v", a)
	}
	return c
}

// tunnelWorld has a route /t to a service that switches protocols.
func tunnelWorld(t *testing.T, timeouts object, change func(*Config), serve func(net.Conn, *bufio.Reader)) (w *world, dials map[string]func() *faultyClient) {
	w, roots := secure(t)
	w.config.Loops = 1
	if change != nil {
		change(&w.config)
	}
	w.start()
	w.route(w.service(switching(t, serve), timeouts), object{"paths": []string{"/t"}})
	return w, map[string]func() *faultyClient{
		"plain": func() *faultyClient { return w.dial(0) }, "TLS": func() *faultyClient { return w.dialTLS(1, roots) },
	}
}

// TestTunnelReadTimeout: a tunnel lives as long as something moves in it either
// way, and no longer than the service's read timeout after that.
func TestTunnelReadTimeout(t *testing.T) {
	const timeout = 600 * time.Millisecond
	w, dials := tunnelWorld(t, object{"read_timeout": timeout.Milliseconds()}, nil,
		func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	for name, dial := range dials {
		c := dial().tunnelled("/t")
		steady, last := true, time.Now()
		for began := last; time.Since(began) < 3*timeout/2; {
			c.say("x")
			steady = steady && time.Since(last) < timeout/2
			last = time.Now()
			time.Sleep(timeout / 20)
		}
		// On a machine that had us wait it may have ended.
		if steady && w.proxy.inFlight.sum() != 1 {
			t.Errorf("%s: the tunnel has ended while something moved", name)
		}
		if rest := c.ends(); rest != "" {
			t.Errorf("%q", rest)
		}
		w.awaitInFlight(0)
	}
}

// TestTunnelWriteTimeout: a service that takes nothing is left after its write
// timeout, although its read timeout is long.
func TestTunnelWriteTimeout(t *testing.T) {
	left := make(chan struct{}, 1)
	w, dials := tunnelWorld(t, object{"write_timeout": 200}, nil, func(c net.Conn, _ *bufio.Reader) {
		if awaitEnd(c) {
			left <- struct{}{}
		}
	})
	for _, dial := range dials {
		c := dial().tunnelled("/t")
		fill(c)
		await(t, left, "the service to be left")
		c.ended()
		w.awaitInFlight(0)
	}
}

// TestTunnelSendTimeout: a client that takes nothing is cut after its own time,
// which is not the service's read timeout.
func TestTunnelSendTimeout(t *testing.T) {
	left := make(chan struct{}, 1)
	shout := func(c net.Conn, _ *bufio.Reader) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := c.Write(piece); err != nil {
				left <- struct{}{}
				return
			}
		}
	}
	w, dials := tunnelWorld(t, nil, func(c *Config) { c.SendTimeout = 200 * time.Millisecond }, shout)
	for _, dial := range dials {
		c := dial().tunnelled("/t")
		await(t, left, "the service to be left")
		w.awaitInFlight(0)
		c.Close()
	}
}

// TestSlowReaderOfATunnel: what a client takes late is not lost to the service's
// read timeout, which is for a service that says nothing.
func TestSlowReaderOfATunnel(t *testing.T) {
	const length = 32 << 20 // more than sockets hold
	// Made beforehand: on a busy machine the race detector may take longer for so
	// much than the service may be silent.
	data := make([]byte, length)
	w, dials := tunnelWorld(t, object{"read_timeout": 1000}, nil, func(c net.Conn, _ *bufio.Reader) {
		_, _ = c.Write(data)
	})
	clients := map[string]*faultyClient{}
	for name, dial := range dials {
		clients[name] = dial().tunnelled("/t")
	}
	time.Sleep(2500 * time.Millisecond)
	for name, c := range clients {
		if n, err := io.Copy(io.Discard, c.r); n != length || err != nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		c.Close()
	}
	w.awaitInFlight(0)
}

// TestTunnelsTakeTurns: a client that never stops sending holds up neither what
// the service says to it nor other clients of the loop.
func TestTunnelsTakeTurns(t *testing.T) {
	w, dials := tunnelWorld(t, nil, nil, func(c net.Conn, r *bufio.Reader) {
		go func() {
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "%d\n", i); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		_, _ = io.Copy(io.Discard, r)
	})
	server := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(server.Close)
	w.route(w.service(server.URL, nil), object{"paths": []string{"/r"}})
	for name, dial := range dials {
		c := dial().tunnelled("/t")
		flooded := make(chan struct{})
		go func() {
			defer close(flooded)
			piece := make([]byte, 256<<10)
			for {
				if _, err := c.Write(piece); err != nil {
					return
				}
			}
		}()
		other := w.dial(0)
		for i := range 50 {
			if line, err := c.r.ReadString('\n'); err != nil || line != fmt.Sprintln(i) {
				t.Fatalf("%s: %q, %v", name, line, err)
			}
			if a := other.say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n").hear("GET"); a.status != 200 {
				t.Fatalf("%s, another client: %+v", name, a)
			}
		}
		c.socket().Close()
		<-flooded
	}
	w.awaitInFlight(0)
}

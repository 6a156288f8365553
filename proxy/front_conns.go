package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
)

// countingListener counts connections for Stats.
type countingListener struct {
	net.Listener
	counts *connCounts
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.counts.accepted.Add(1)
	return newCountedConn(c, l.counts), nil
}

// countedConn is a client's connection. It is counted until it is closed, also
// when it has become a tunnel.
type countedConn struct {
	net.Conn
	counts *connCounts
	// proxied is the client that a PROXY header named, zero without one.
	proxied netip.AddrPort

	mu     sync.Mutex // net/http closes idle connections from another goroutine
	idle   bool
	closed bool
}

func (c *countedConn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.setIdle(false)
		c.closed = true
		c.counts.active.Add(-1)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

func newCountedConn(c net.Conn, counts *connCounts) *countedConn {
	counts.active.Add(1)
	return &countedConn{Conn: c, counts: counts}
}

// SyscallConn gives access to the descriptor.
func (c *countedConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite lets net/http and tunnels close one direction.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// setIdle counts a change; mu is held.
func (c *countedConn) setIdle(idle bool) {
	switch {
	case c.closed || c.idle == idle:
		return
	case idle:
		c.counts.waiting.Add(1)
	default:
		c.counts.waiting.Add(-1)
	}
	c.idle = idle
}

// connState is net/http's report of what a connection is doing.
func connState(c net.Conn, state http.ConnState) {
	if counted := countedBelow(c); counted != nil {
		counted.mu.Lock()
		defer counted.mu.Unlock()
		counted.setIdle(state == http.StateIdle)
	}
}

// countedBelow gives the counted connection under TLS and others, or nil.
func countedBelow(c net.Conn) *countedConn {
	for {
		if counted, ok := c.(*countedConn); ok {
			return counted
		}
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = outer.NetConn()
	}
}

// proxiedKey is where a connection's context has the client that a PROXY header
// named.
type proxiedKey struct{}

// connContext is net/http's hook for new connections.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if counted := countedBelow(c); counted != nil && counted.proxied.IsValid() {
		return context.WithValue(ctx, proxiedKey{}, counted.proxied)
	}
	return ctx
}

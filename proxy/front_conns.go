package proxy

import (
	"errors"
	"net"
	"net/http"
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
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = outer.NetConn()
	}
	if counted, ok := c.(*countedConn); ok {
		counted.mu.Lock()
		defer counted.mu.Unlock()
		counted.setIdle(state == http.StateIdle)
	}
}

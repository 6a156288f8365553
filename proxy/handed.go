package proxy

import (
	"net"
	"sync"
)

// handedConns is a net.Listener of connections that are handed to it.
type handedConns struct {
	address net.Addr
	conns   chan net.Conn
	closing chan struct{}
	once    sync.Once
}

func newHandedConns(address net.Addr) *handedConns {
	return &handedConns{address: address, conns: make(chan net.Conn), closing: make(chan struct{})}
}

// give hands a connection over; false: nobody takes any more.
func (l *handedConns) give(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closing:
		return false
	}
}

// Accept implements net.Listener.
func (l *handedConns) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closing:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *handedConns) Close() error {
	l.once.Do(func() { close(l.closing) })
	return nil
}

// Addr implements net.Listener.
func (l *handedConns) Addr() net.Addr { return l.address }

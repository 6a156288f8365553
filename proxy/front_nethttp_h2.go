package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Bounds of HTTP/2 connections from clients.
const (
	// MaxConcurrentStreams is how many requests of one connection are served at
	// a time (nginx's http2_max_concurrent_streams).
	MaxConcurrentStreams = 128
	// MaxReadFrame is the largest frame that is taken, the least that RFC 9113,
	// section 4.2 allows and what nginx takes: the buffer for it stays with the
	// connection.
	MaxReadFrame = 16 << 10
	// Request bodies that nobody has read yet take no more than StreamWindow
	// bytes for a request and ConnectionWindow for a connection.
	StreamWindow     = 256 << 10
	ConnectionWindow = 1 << 20
)

// http2Config is how net/http and x/net are told so.
func http2Config(sendTimeout time.Duration) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          MaxConcurrentStreams,
		MaxReadFrameSize:              MaxReadFrame,
		MaxReceiveBufferPerStream:     StreamWindow,
		MaxReceiveBufferPerConnection: ConnectionWindow,
		WriteByteTimeout:              sendTimeout,
	}
}

// h2Server serves connections that are known to speak HTTP/2 with x/net's
// server, without net/http's around it: so what a client sends can be watched,
// also below TLS, and a connection costs one goroutine less.
type h2Server struct {
	proxy *Proxy
	base  *http.Server
	//lint:ignore SA1019 net/http's own HTTP/2 gives no access to its connections, which frameGuard watches
	server *http2.Server

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	closed  bool
	serving sync.WaitGroup // a connection's first is added under mu
}

func newH2Server(p *Proxy, base *http.Server) *h2Server {
	base.HTTP2.WriteByteTimeout = 0 // joinedWriter's
	//lint:ignore SA1019 net/http's own HTTP/2 gives no access to its connections, which frameGuard watches
	return &h2Server{proxy: p, base: base, server: new(http2.Server), conns: map[net.Conn]struct{}{}}
}

// configure lets base's Shutdown reach the connections. Call it once, before
// serve.
//
//lint:ignore SA1019 net/http's own HTTP/2 gives no access to its connections, which frameGuard watches
func (s *h2Server) configure() error { return http2.ConfigureServer(s.base, s.server) }

// serve takes connections until the listener is closed.
func (s *h2Server) serve(ln net.Listener) error {
	for {
		c, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return http.ErrServerClosed
		case err != nil:
			return err
		case !s.begin(c):
			return errors.Join(http.ErrServerClosed, c.Close())
		}
	}
}

// begin serves a connection on a goroutine of its own, unless close was called,
// which waits for all that have begun.
func (s *h2Server) begin(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.serving.Go(func() {
		defer s.remove(c)
		s.serveConn(c)
	})
	return true
}

// serveConn ends when the connection does.
func (s *h2Server) serveConn(c net.Conn) {
	w := &h2Conn{Conn: c, out: newJoinedWriter(c, s.proxy.cfg.SendTimeout), guard: newFrameGuard(time.Now())}
	s.serving.Go(w.out.run)
	var conn net.Conn = w
	if secure, ok := c.(*tls.Conn); ok {
		conn = &h2SecureConn{w, secure}
	}
	defer conn.Close()
	//lint:ignore SA1019 net/http's own HTTP/2 gives no access to its connections, which frameGuard watches
	s.server.ServeConn(conn, &http2.ServeConnOpts{Context: connContext(s.proxy.ctx, c), BaseConfig: s.base})
}

func (s *h2Server) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *h2Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// drain tells every client by GOAWAY which of its requests are still served,
// and waits until they are and the connections are closed. A connection is
// closed by its client, or a second after the last answer: sooner, a client
// whose request is under way would see a reset before the GOAWAY.
func (s *h2Server) drain(ctx context.Context) error {
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for {
		// It has no connections of its own; it only passes the word on, also to
		// connections that have begun since the last time.
		if err := s.base.Shutdown(ctx); err != nil {
			return err
		}
		if s.open() == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// close cuts what drain has left.
func (s *h2Server) close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		cutBelowTLS(c)
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// cutBelowTLS closes a connection without waiting to say goodbye.
func cutBelowTLS(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	// There is nothing to do about a connection that cannot be closed.
	_ = c.Close()
}

// h2Conn is a client's connection under x/net's server. It reads ahead, for the
// server reads each frame in two pieces, and watches what comes.
type h2Conn struct {
	net.Conn
	out   *joinedWriter
	guard *frameGuard
	ended error
	ahead []byte // read, and not taken yet
	buf   [4 << 10]byte
}

// Read implements net.Conn. A client that floods gets a GOAWAY that says so:
// the error is the one that x/net's server makes it from.
func (c *h2Conn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		if c.ended != nil {
			return 0, c.ended
		}
		n, err := c.Conn.Read(c.buf[:])
		c.ahead, c.ended = c.buf[:n], err
		if !c.guard.received(c.ahead, time.Now) {
			c.ahead, c.ended = nil, http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		if len(c.ahead) == 0 {
			return 0, c.ended
		}
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// Write implements net.Conn. What is written leaves a moment later.
func (c *h2Conn) Write(p []byte) (int, error) {
	c.guard.sent(p)
	return c.out.Write(p)
}

// Close implements net.Conn.
func (c *h2Conn) Close() error {
	c.out.close()
	return c.Conn.Close()
}

// NetConn gives the connection below.
func (c *h2Conn) NetConn() net.Conn { return c.Conn }

// h2SecureConn says what the handshake has agreed on.
type h2SecureConn struct {
	*h2Conn
	secure *tls.Conn
}

// ConnectionState is what x/net's server asks for.
func (c *h2SecureConn) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }

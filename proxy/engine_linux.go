package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/internal/proxyproto"
	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// engine serves HTTP/1.1 on event loops. DESIGN.md has the states of a
// connection.
type engine struct {
	proxy    *Proxy
	group    *evloop.Group
	links    *upstream.Links
	requests sync.Pool // of *h1
	limits   http1.Limits
	dates    dates
	clock    wallClock
	draining atomic.Bool
	open     atomic.Int64 // client connections in loops
}

// maxFields bounds the field lines of a request's head.
const maxFields = 256

func newEngine(p *Proxy) (*engine, error) {
	e := &engine{proxy: p, limits: http1.Limits{Bytes: p.cfg.MaxHeadBytes, Fields: maxFields}}
	backend := evloop.Backend(p.cfg.EventLoop)
	if backend == EventLoopAuto {
		backend = evloop.Auto
	}
	group, err := evloop.New(evloop.Config{Loops: p.cfg.Loops, Hold: p.cfg.Hold, Backend: backend,
		Local: func() any { return new(spares) }, Failed: func(err error) { p.log.Error("event loop has failed", zap.Error(err)) }})
	if err != nil {
		return nil, fmt.Errorf("start event loops: %w", err)
	}
	used, why := group.Backend()
	p.log.Debug("event loops have started", zap.String("event_loop", string(used)), zap.NamedError("no_io_uring", why))
	e.group = group
	e.clock.group = group
	e.links = upstream.NewLinks(p.upstreamConfig(), group)
	e.requests.New = func() any { return newH1(e) }
	return e, nil
}

// drain ends idle connections and waits for the others.
func (e *engine) drain(ctx context.Context) error {
	e.draining.Store(true)
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for e.open.Load() > 0 {
		e.group.Each(func(c *evloop.Conn) {
			if t := c.Task(); t != nil {
				t.Poke()
			}
		})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// close cuts what is left and stops the loops.
func (e *engine) close() error {
	e.draining.Store(true)
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for {
		e.links.Close()
		left := 0
		e.group.Each(func(c *evloop.Conn) { left++; c.Cut() })
		if left == 0 && e.open.Load() == 0 {
			break
		}
		<-ticker.C
	}
	if err := e.group.Close(); err != nil {
		return fmt.Errorf("stop event loops: %w", err)
	}
	return nil
}

// eventFront is one listener whose connections speak HTTP/1.1 in the engine's
// loops. HTTP/2 is left to net/http.
type eventFront struct {
	engine   *engine
	ln       net.Listener
	listener *evloop.Listener
	scheme   string
	port     uint16
	portStr  string
	proxied  bool // connections begin with a PROXY header

	tls    *tls.Config // nil: plain
	http2  *httpFront  // nil: off
	handed *handedConns

	mu      sync.Mutex
	closing bool           // guarded by mu
	shaking sync.WaitGroup // handshakes in work; added to under mu
}

func newEventFront(e *engine, l Listener, ln net.Listener) *eventFront {
	f := &eventFront{engine: e, ln: ln, scheme: "http", proxied: l.ProxyProtocol}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		f.port = uint16(addr.Port)
	}
	f.portStr = strconv.Itoa(int(f.port))
	if l.TLS {
		f.scheme = "https"
		f.tls = e.proxy.serverTLS(l)
	}
	if l.HTTP2 {
		f.handed = newHandedConns(ln.Addr())
		f.http2 = newHandedFront(e.proxy, l, f.handed)
	}
	return f
}

func (f *eventFront) addr() net.Addr { return f.ln.Addr() }

// start takes connections until drain or close.
func (f *eventFront) start() error {
	if f.http2 != nil {
		if err := f.http2.start(); err != nil {
			return err
		}
	}
	tcp, ok := f.ln.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("listener %s is no TCP listener", f.ln.Addr())
	}
	// One loop takes the connections of a listener and deals them out: the
	// kernel's own ways either wake every loop or give some of them more.
	listener, err := f.engine.group.Pick().Listen(tcp, f.taken, func(err error) {
		f.engine.proxy.log.Error("connection cannot be taken", zap.String("address", f.ln.Addr().String()), zap.Error(err))
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", f.ln.Addr(), err)
	}
	f.listener = listener
	return nil
}

// taken is given every new connection.
func (f *eventFront) taken(a evloop.Accepted) {
	p := f.engine.proxy
	p.conns.accepted.Add(1)
	if f.tls != nil {
		if !f.spawn(func() { f.shake(a) }) {
			f.failed(errors.Join(net.ErrClosed, syscall.Close(a.FD)))
		}
		return
	}
	c := f.newConn(f.engine.group.Pick(), a.Peer)
	c.stream, c.conn = &c.plain, &c.plain
	if f.proxied {
		c.state = connProxied
	}
	if err := c.plain.Bind(a.FD, &c.task); err != nil {
		c.forget()
		f.failed(errors.Join(err, syscall.Close(a.FD)))
	}
}

// spawn runs what may wait on a goroutine of the front's. False: it is closed.
func (f *eventFront) spawn(work func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return false
	}
	f.shaking.Go(work)
	return true
}

// failed is told of a connection that fails before it has said anything.
func (f *eventFront) failed(err error) {
	f.engine.proxy.log.Debug("connection failed", zap.Error(err))
}

// shake does the TLS handshake of a new connection on an ordinary goroutine: it
// computes for a millisecond and waits for the client several times.
func (f *eventFront) shake(a evloop.Accepted) {
	p := f.engine.proxy
	std, err := fileConn(a.FD)
	if err != nil {
		f.failed(err)
		return
	}
	counted := newCountedConn(std, &p.conns)
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.ReadHeaderTimeout)
	defer cancel()
	socket := &evloop.Socket{Conn: counted}
	if f.proxied {
		if socket.Conn, err = readProxied(ctx, counted); err != nil {
			f.failed(errors.Join(err, counted.Close()))
			return
		}
	}
	secure := tls.Server(socket, f.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		f.failed(errors.Join(err, counted.Close()))
		return
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		f.handOver(secure)
		return
	}
	s := evloop.NewSecure(secure, socket)
	c := f.newConn(f.engine.group.Pick(), a.Peer)
	c.tls, c.stream, c.conn, c.proxied = &state, s, s.Socket(), counted.proxied
	if err := s.Move(&c.task); err != nil {
		c.forget()
		f.failed(errors.Join(err, secure.Close()))
	}
}

// readProxied reads the header of the PROXY protocol from a connection, and
// gives one that goes on after it.
func readProxied(ctx context.Context, c *countedConn) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
	}
	buf := make([]byte, 0, proxyproto.MaxHeader)
	for {
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return nil, err
		}
		n, header, err := proxyproto.Parse(buf)
		switch {
		case err != nil:
			return nil, err
		case n > 0:
			c.proxied = header.Source
			return &replayedConn{Conn: c, early: buf[n:]}, c.SetReadDeadline(time.Time{})
		}
	}
}

// handOver gives a connection that speaks HTTP/2 to net/http.
func (f *eventFront) handOver(c net.Conn) {
	if !f.handed.give(c) {
		f.failed(errors.Join(net.ErrClosed, c.Close()))
	}
}

// drain takes no more connections and waits for the requests in flight of those
// that are not in the loops; the engine waits for the rest.
func (f *eventFront) drain(ctx context.Context) error {
	f.stopListening()
	if f.http2 != nil {
		return f.http2.drain(ctx)
	}
	return nil
}

func (f *eventFront) stopListening() {
	if f.listener != nil {
		f.listener.Close()
		f.listener = nil
	}
	// The socket itself; a second close means nothing.
	_ = f.ln.Close()
}

// close closes what drain has left.
func (f *eventFront) close() error {
	f.stopListening()
	f.mu.Lock()
	f.closing = true // connections in the loops may still ask to be handed over
	f.mu.Unlock()
	f.shaking.Wait()
	if f.http2 != nil {
		return f.http2.close()
	}
	return nil
}

// fileConn makes an ordinary connection of a descriptor, which is closed in any
// case.
func fileConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "connection")
	c, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("take connection: %w", err)
	}
	return c, nil
}

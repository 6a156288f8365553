package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/internal/proxyproto"
	"github.com/sluicegate/sluice/proxy/http1"
)

// clientState is what a client's connection is doing.
type clientState uint8

const (
	connProxied   clientState = iota // waits for a header of the PROXY protocol
	connHead                         // waits for a head, or for the rest of one
	connForward                      // a request is with a service
	connAnswer                       // an answer made here is being sent
	connTunnel                       // two protocols that are not ours
	connLingering                    // answered, and closed for writing
	connClosed
)

// clientConn is a client's connection that speaks HTTP/1.1. While it is idle it
// holds no buffer and no goroutine. Everything in it belongs to its task.
type clientConn struct {
	task   evloop.Task
	plain  evloop.Conn // the socket, if there is no TLS
	stream evloop.Stream
	conn   *evloop.Conn
	front  *eventFront
	tls    *tls.ConnectionState // nil: plain
	peer   netip.AddrPort
	// peerText is its address, for the fields that name it.
	peerText string
	// proxied is the client that a PROXY header named.
	proxied  netip.AddrPort
	requests int // begun

	x     *h1 // the request in work; nil while nothing of one has come
	state clientState
	work  int // of this turn
	// heard is when a lingering client has said something last.
	heard evloop.Time
	// waiting says that it is counted as idle between two requests.
	waiting bool
}

func (f *eventFront) newConn(l *evloop.Loop, peer netip.AddrPort) *clientConn {
	c := &clientConn{front: f, peer: peer, peerText: peer.Addr().String(), state: connHead}
	c.task.Init(l, c)
	c.task.SetDeadline(f.engine.group.Now().Add(f.engine.proxy.cfg.ReadHeaderTimeout))
	f.engine.open.Add(1)
	f.engine.proxy.conns.active.Add(1)
	return c
}

// forget is the end of a connection, as far as others know of it.
func (c *clientConn) forget() {
	c.state = connClosed
	c.setWaiting(false)
	c.task.Retire()
	c.front.engine.proxy.conns.active.Add(-1)
	c.front.engine.open.Add(-1)
}

// close closes the connection at once.
func (c *clientConn) close() {
	if c.state == connClosed {
		return
	}
	cut := false
	if c.x != nil {
		cut = c.x.aborted
		c.front.engine.put(c.x)
		c.x = nil
	}
	if c.tls != nil && c.state != connLingering && !cut {
		// An orderly end, which tells the client that nothing was cut off. A
		// connection that does not take it is lost anyway.
		_ = c.stream.CloseWrite()
	}
	// There is nothing to do about a connection that cannot be closed.
	_ = c.conn.Close()
	c.forget()
}

func (c *clientConn) setWaiting(waiting bool) {
	if c.waiting == waiting {
		return
	}
	c.waiting = waiting
	if waiting {
		c.front.engine.proxy.conns.waiting.Add(1)
	} else {
		c.front.engine.proxy.conns.waiting.Add(-1)
	}
}

// Run implements evloop.Handler: it goes on as far as the sockets let it, or up
// to the end of its turn.
func (c *clientConn) Run() {
	defer c.recover()
	c.work = 0
	for c.step() {
		if c.tired() && !c.nearlyDone() {
			c.task.Yield()
			return
		}
	}
}

// nearlyDone says that it is cheaper to go on than to come back: others wait for
// one more piece of an answer at most, or for nothing, if an exchange has ended
// and nothing is known to have come of the next.
func (c *clientConn) nearlyDone() bool {
	switch c.state {
	case connHead:
		return (c.x == nil || len(c.x.in) == 0) && !c.conn.Readable()
	case connForward:
		return c.x.lastPiece()
	}
	return false
}

// step does one thing. False means that there is nothing to do before the next
// event or the deadline.
func (c *clientConn) step() bool {
	switch c.state {
	case connHead:
		return c.readHead()
	case connProxied:
		return c.readProxied()
	case connForward:
		return c.x.exchangeBytes()
	case connAnswer:
		return c.x.sendAnswer()
	case connTunnel:
		return c.x.pumpTunnel()
	case connLingering:
		return c.linger()
	}
	return false
}

// recover turns a panic of the core into an answer, or a cut one when the
// client has been given a status.
func (c *clientConn) recover() {
	v := recover()
	if v == nil {
		return
	}
	x := c.x
	defer c.recoverAgain(x)
	id := ""
	if x != nil {
		id = x.Request.ID
	}
	c.front.engine.proxy.log.Error("panic in an exchange", zap.Any("panic", v), zap.String("request_id", id),
		zap.ByteString("stack", debug.Stack()))
	switch {
	case x == nil || !x.live || c.state == connAnswer:
		if x != nil && x.live {
			x.aborted = true
			x.finish()
		}
		c.x = nil // it is in no state to be used again
		c.close()
	default:
		x.panicked()
		c.task.Poke()
	}
}

// recoverAgain is for a panic while one is being answered: what has broken the
// exchange once may do so again. Nothing of it is trusted any more.
func (c *clientConn) recoverAgain(x *h1) {
	v := recover()
	if v == nil {
		return
	}
	c.front.engine.proxy.log.Error("panic after a panic in an exchange", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
	if x != nil {
		x.dropLink()
		if x.live {
			x.aborted = true
			x.finish()
		}
	}
	c.x = nil
	c.close()
}

// readProxied reads the header of the PROXY protocol that comes before
// everything else. A connection without one means nothing.
func (c *clientConn) readProxied() bool {
	if c.x == nil {
		c.x = c.front.engine.take(c)
	}
	x := c.x
	for {
		n, header, err := proxyproto.Parse(x.in)
		switch {
		case err != nil:
			c.front.failed(err)
			c.close()
			return false
		case n > 0:
			c.proxied = header.Source
			x.in = x.in[:copy(x.in, x.in[n:])]
			c.state = connHead
			return true
		}
		k, err := c.stream.Read(x.in[len(x.in):cap(x.in)])
		x.in = x.in[:len(x.in)+k]
		switch {
		case k > 0:
		case err == evloop.ErrAgain && !c.task.Expired():
			return false
		default:
			c.close()
			return false
		}
	}
}

// readHead reads up to the end of a head and begins the exchange.
func (c *clientConn) readHead() bool {
	if c.x == nil {
		if c.front.engine.draining.Load() || c.task.Expired() {
			c.close()
			return false
		}
		c.x = c.front.engine.take(c)
	}
	x := c.x
	for first := true; ; first = false {
		if !first && c.tired() {
			return true // a head in very many TLS records
		}
		if len(x.in) > 0 {
			x.unused = false
			n, err := x.req.Parse(x.in, c.front.engine.limits)
			switch {
			case err != nil:
				return c.badHead(err)
			case n > 0:
				c.setWaiting(false)
				c.conn.KeepReceiving()
				x.head, x.at = n, n
				c.worked(headWork)
				x.begin()
				return true
			}
		}
		x.growHead()
		n, err := c.stream.Read(x.in[len(x.in):cap(x.in)])
		c.worked(readWork)
		if n > 0 {
			if len(x.in) == 0 {
				c.setWaiting(false)
				x.Times.Started = c.front.engine.clock.at(c.task.Now())
			}
			x.in = x.in[:len(x.in)+n]
			continue
		}
		if err == evloop.ErrAgain {
			return c.awaitHead()
		}
		c.close()
		return false
	}
}

// awaitHead waits for the first byte of a request, without a buffer, or for the
// rest of a head, for which a client has a fixed time in all.
func (c *clientConn) awaitHead() bool {
	x := c.x
	switch {
	case c.conn.HungUp() || c.task.Expired():
		c.close()
	case len(x.in) == 0:
		c.x = nil
		c.front.engine.put(x)
		if c.front.engine.draining.Load() {
			c.close()
		}
	case !x.headDue:
		x.headDue = true
		c.task.SetDeadline(c.task.Now().Add(c.front.engine.proxy.cfg.ReadHeaderTimeout))
	}
	return false
}

// badHead answers what is no HTTP/1.1. A client that begins with HTTP/2 is
// handed over; after a request that is no beginning (RFC 9113, section 3.4).
func (c *clientConn) badHead(err error) bool {
	if errors.Is(err, http1.ErrPreface) && c.front.http2 != nil && c.tls == nil && c.requests == 0 {
		c.handOver()
		return false
	}
	c.setWaiting(false)
	c.x.beginRefused(refusal(err))
	return true
}

// handOver gives the connection to net/http, with what was read of it.
func (c *clientConn) handOver() {
	f := c.front
	early := append([]byte(nil), c.x.in...)
	f.engine.put(c.x)
	c.x = nil
	fd := c.conn.Release()
	c.forget()
	std, err := fileConn(fd)
	if err != nil {
		f.failed(err)
		return
	}
	counted := newCountedConn(std, &f.engine.proxy.conns)
	counted.proxied = c.proxied
	if !f.spawn(func() { f.handOver(&replayedConn{Conn: counted, early: early}) }) {
		f.failed(errors.Join(net.ErrClosed, counted.Close()))
	}
}

// next goes on to the next request, or ends the connection in an orderly way.
func (c *clientConn) next(keepAlive bool) {
	if !keepAlive {
		c.beginLingering()
		return
	}
	c.state = connHead
	c.setWaiting(true)
	c.task.SetDeadline(c.task.Now().Add(c.front.engine.proxy.cfg.IdleTimeout))
}

// beginLingering closes the connection. If something of the client is unread or
// may still come, it is read first: a connection that is closed with something
// unread is reset, and the client may lose the answer.
func (c *clientConn) beginLingering() {
	unread := c.x != nil && (!c.x.body.done() || c.x.at < len(c.x.in))
	if !unread && !c.conn.Readable() {
		c.close()
		return
	}
	if c.x != nil {
		c.front.engine.put(c.x)
		c.x = nil
	}
	if c.stream.CloseWrite() != nil {
		c.close()
		return
	}
	c.state, c.heard = connLingering, c.task.Now()
	c.task.SetDeadline(c.heard.Add(c.front.engine.proxy.cfg.lingering))
}

// lingeringQuiet is how long a client says nothing of which a shutdown assumes
// that it has the answer and has nothing more to say.
const lingeringQuiet = 50 * time.Millisecond

// lingers says whether the rest of the request may still come.
func (c *clientConn) lingers() bool {
	return !c.task.Expired() && !(c.front.engine.draining.Load() && c.task.Now().Sub(c.heard) > lingeringQuiet)
}

// linger reads what nobody wants.
func (c *clientConn) linger() bool {
	var nowhere [4 << 10]byte
	for !c.tired() {
		n, err := c.conn.Read(nowhere[:])
		c.worked(n)
		switch {
		case err == evloop.ErrAgain && c.lingers():
			return false
		case err != nil || c.task.Expired():
			c.close()
			return false
		}
		c.heard = c.task.Now()
	}
	return true
}

// replayedConn is a connection of which something was read already.
type replayedConn struct {
	net.Conn
	early []byte
}

func (c *replayedConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// SyscallConn gives access to the descriptor, once nothing is left to replay.
func (c *replayedConn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok && len(c.early) == 0 {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// NetConn gives the connection below.
func (c *replayedConn) NetConn() net.Conn { return c.Conn }

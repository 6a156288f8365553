package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// h1 is one request on an event loop, from its first byte to its log line. It
// is taken from a pool when the first byte comes.
type h1 struct {
	exchange
	c *clientConn

	// in holds what was read from the client: the head, up to head, and what
	// came with it, read up to at. Strings of the request lie in it.
	in       []byte
	head, at int
	headDue  bool // the head has a deadline
	// unused says that clear has nothing to do.
	unused bool
	req    http1.Request
	// live says that the exchange has begun and has to be logged.
	live      bool
	keepAlive bool
	// halfClosed says that the client had closed its direction by the end of
	// its request. It may still want the answer.
	halfClosed bool
	aborted    bool
	ctx        *h1Context

	body requestBody
	// duplex is a body on its way to a service that speaks HTTP/2.
	duplex *duplex

	link *upstream.Link
	// repeatable says that the request may be sent again if a kept connection
	// turns out to be closed.
	repeatable bool
	up         upload
	down       download

	// out is what goes to the client, sent up to outAt, and then direct.
	out    []byte
	outAt  int
	direct []byte
	// delimited says that the answer ends with the connection.
	delimited bool
	// blocking lets writes to the client wait.
	blocking bool

	tunnels [2]flow

	waits [waitKinds]evloop.Time
}

const (
	inSize = 16 << 10
	// maxKept keeps rare large buffers from staying in the pool.
	maxKept = 32 << 10
)

func newH1(e *engine) *h1 {
	x := &h1{exchange: *newExchange(e.proxy), in: make([]byte, 0, inSize)}
	x.body.x = x
	x.exchange.front = (*h1Front)(x)
	return x
}

// spares is what a loop keeps of what its handlers use.
type spares struct {
	requests  evloop.Spares[*h1]
	downloads evloop.Spares[*[downloadSize]byte]
}

// A request is held for as long as the service takes, the buffer of an answer most
// often for one turn. One request is some 20 KiB, where heads are large up to five
// times that; more than these go to the pools, which the garbage collector empties.
const (
	spareRequests  = 128
	spareDownloads = 4
)

// sparesOf gives those of a task's loop, nil if it has left that.
func sparesOf(t *evloop.Task) *spares {
	s, _ := t.Local().(*spares)
	return s
}

// take gives a pooled request to a connection.
func (e *engine) take(c *clientConn) *h1 {
	var x *h1
	if s := sparesOf(&c.task); s != nil {
		x, _ = s.requests.Take()
	}
	if x == nil {
		x = e.requests.Get().(*h1)
	}
	x.c = c
	return x
}

// put gives it back.
func (e *engine) put(x *h1) {
	s := sparesOf(&x.c.task)
	x.clear()
	x.in = x.in[:0]
	if cap(x.in) > inSize {
		x.in = make([]byte, 0, inSize)
	}
	x.c = nil
	if s == nil || !s.requests.Keep(x, spareRequests) {
		e.requests.Put(x)
	}
}

// clear makes it ready for another request; what was read stays.
func (x *h1) clear() {
	if x.unused {
		return
	}
	x.unused = true
	x.exchange.reset()
	x.exchange.front = (*h1Front)(x)
	x.req.Reset()
	x.head, x.at, x.headDue = 0, 0, false
	x.live, x.keepAlive, x.halfClosed, x.aborted = false, false, false, false
	if x.ctx != nil && x.ctx.end() {
		x.ctx = nil
	}
	x.body.reset()
	x.duplex, x.repeatable = nil, false
	x.up.reset()
	x.down.reset(&x.c.task)
	if cap(x.out) > maxKept {
		x.out = nil
	}
	x.out, x.outAt, x.direct, x.delimited, x.blocking = x.out[:0], 0, nil, false, false
	x.tunnels = [2]flow{}
	x.waits = [waitKinds]evloop.Time{}
}

// growHead makes room for more of a head. Parse refuses one that is too large
// before the buffer outgrows its limit by more than its own size.
func (x *h1) growHead() {
	if len(x.in) == cap(x.in) {
		x.in = append(make([]byte, 0, 2*cap(x.in)), x.in...)
	}
}

// identify fills what is known of a request with its head.
func (x *h1) identify() {
	c, q := x.c, &x.Request
	x.live = true
	if x.Times.Started.IsZero() { // it came with the one before
		x.Times.Started = x.now()
	}
	x.proxy.inFlight.add(x.Shard, 1)
	q.Method, q.Host = x.req.Method, x.req.Host()
	q.Scheme, q.TLS = c.front.scheme, c.tls
	q.RawPath, q.Query, q.HasQuery = x.req.PathQuery()
	q.ProtoMajor, q.ProtoMinor = 1, x.req.Minor
	x.Listener, x.Peer, x.peerText, x.proxied = c.front.port, c.peer, c.peerText, c.proxied
	x.requestSize = int64(x.head)
	x.requestFields.CopyFrom(&x.req.Fields)
	x.received.MoveFrom(&x.req.Fields)
	if x.ctx == nil {
		x.ctx = &h1Context{c: c}
	}
	x.ctx.c = c
	x.SetContext(x.ctx)
}

// begin takes a complete head through routing and plugins.
func (x *h1) begin() {
	x.identify()
	framing, err := x.req.Framing()
	switch {
	case err != nil:
		x.refuse(refusal(err))
		return
	case x.req.Method == http.MethodConnect: // nginx: this is no forward proxy
		x.refuse(http.StatusMethodNotAllowed)
		return
	case x.Request.RawPath == "*": // nginx: there is no path
		x.refuse(http.StatusBadRequest)
		return
	}
	x.c.requests++
	x.keepAlive = x.req.KeepAlive() && !x.c.front.engine.draining.Load() && x.c.requests < x.proxy.cfg.KeepaliveRequests
	x.halfClosed = x.c.conn.Ended()
	x.body.begin(framing)
	if x.body.present() {
		x.Request.Body, x.Request.ContentLength = &x.body, framing.Length
	}
	if limit := x.proxy.cfg.MaxBodyBytes; limit > 0 && framing.Length > limit {
		x.refuse(http.StatusRequestEntityTooLarge)
		return
	}
	if x.proxy.admit(&x.exchange) == plugin.Continue {
		x.forward()
		return
	}
	x.body.held() // a body that is there already does not end the connection
	x.exchange.answer()
	x.c.state = connAnswer
}

// refusal is the status for what is no HTTP.
func refusal(err error) int {
	var refused *http1.Error
	if errors.As(err, &refused) {
		return refused.Status
	}
	return http.StatusBadRequest
}

// beginRefused answers a head that is no HTTP.
func (x *h1) beginRefused(status int) {
	x.received.Reset()
	x.head, x.at = len(x.in), len(x.in)
	x.identify()
	x.refuse(status)
}

// refuse answers a request that does not come as far as the plugins, after
// which the connection ends: where the next request begins is not certain.
func (x *h1) refuse(status int) {
	x.keepAlive = false
	x.proxy.begin(&x.exchange)
	x.selectAll(x.snapshot.unmatched)
	x.exchange.Error(status, "")
	x.exchange.answer()
	x.c.state = connAnswer
}

// forward sends the request on its way.
func (x *h1) forward() {
	err := x.prepareUpstream()
	if err == nil && x.outgoing.HTTP2 {
		x.forwardHTTP2()
		return
	}
	if err == nil {
		err = upstream.Check(&x.outgoing)
	}
	if err == nil {
		x.Times.UpstreamStarted = x.now()
		x.repeatable = x.outgoing.Repeatable()
		err = x.connect(true)
	}
	switch {
	case err == nil:
		x.c.state = connForward
	case errors.Is(err, upstream.ErrBody) && x.body.failure == nil:
		x.bodyFailed(err)
	default:
		x.fail(err)
	}
}

// connect gets a connection and makes the request ready to be sent on it. A
// kept one is taken only if kept says so.
func (x *h1) connect(kept bool) error {
	q := &x.outgoing
	pool := x.pool()
	if kept {
		x.link = pool.Get(&x.c.task)
	}
	if x.link == nil {
		if err := x.dial(pool); err != nil {
			return err
		}
	}
	x.Upstream.Addr, x.Upstream.Kept = x.link.Addr, x.link.Kept
	x.up.begin(q)
	return nil
}

// dial makes a new connection, and tries again as often as the service's
// retries say.
func (x *h1) dial(pool *upstream.LinkPool) error {
	x.c.task.Detach()
	ctx := x.Context()
	for failed := 0; ; {
		link, err := pool.Dial(ctx, &x.outgoing, &x.c.task)
		if err == nil {
			x.link = link
			return nil
		}
		if failed++; failed > x.outgoing.Retries || ctx.Err() != nil || errors.Is(err, upstream.ErrResolve) {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", context.Canceled, err)
			}
			return err
		}
	}
}

// pool gives the connections of the request's target, which is the route's
// unless a plugin has chosen another.
func (x *h1) pool() *upstream.LinkPool {
	links := x.c.front.engine.links
	if x.outgoing.Target != x.route.target {
		return links.Pool(x.outgoing.Target)
	}
	p := x.route.pool.Load()
	if p == nil {
		p = links.Pool(x.route.target)
		x.route.pool.Store(p)
	}
	return p
}

// exchangeBytes moves what can be moved between client and service.
func (x *h1) exchangeBytes() bool {
	c := x.c
	if c.task.Expired() && x.expire() {
		return true
	}
	if x.gone() {
		x.fail(errLeft)
		return true
	}
	// Either may end the exchange, and x is another's then.
	up := x.pumpUp()
	if c.state != connForward {
		return true
	}
	down := x.pumpDown()
	if up || down || c.state != connForward {
		return true
	}
	x.setDeadline()
	return false
}

// errLeft is the end of a request whose client did not wait for its answer.
var errLeft = fmt.Errorf("%w: %w", context.Canceled, errClientGone)

// gone says whether the client has left. A client that closes its direction
// after its request has left, as far as nginx is concerned; one that closes it
// together with the request waits for the answer.
func (x *h1) gone() bool {
	return x.c.conn.HungUp() && (x.c.conn.Broken() || !x.patient())
}

// patient says that a client that has closed its direction may still wait for
// its answer, or has sent more than was read.
func (x *h1) patient() bool { return x.halfClosed || !x.body.done() }

// now is the present, or the time of the event for which the loop runs.
func (x *h1) now() time.Time { return x.c.front.engine.clock.at(x.c.task.Now()) }

// fail ends the request with an error: answered if the client has been told
// nothing yet, cut otherwise.
func (x *h1) fail(err error) {
	x.dropLink()
	if x.headSent {
		x.cutAnswer(err)
		x.end()
		return
	}
	x.waits = [waitKinds]evloop.Time{} // none of them is about the answer
	x.exchange.failed(err)
	if x.aborted {
		x.end()
		return
	}
	x.c.state = connAnswer
}

// panicked answers a fault of our own.
func (x *h1) panicked() {
	x.dropLink()
	x.keepAlive = false
	if x.headSent {
		x.aborted = true
		x.end()
		return
	}
	x.responseFields.Reset()
	x.unexpected()
	x.exchange.answer()
	x.c.state = connAnswer
}

// dropLink closes the connection to the service: nothing more is wanted of it.
func (x *h1) dropLink() {
	if x.link != nil {
		if !x.up.done || x.tunnels[0].stuck {
			x.link.Reset()
		}
		x.link.Close()
		x.link = nil
	}
}

// sendAnswer sends an answer that was made here.
func (x *h1) sendAnswer() bool {
	c := x.c
	switch {
	case c.task.Expired() && x.expire():
	case x.flushOut():
		x.end()
	case c.state == connAnswer:
		x.setDeadline()
		return false
	}
	return true
}

// end is the end of every exchange.
func (x *h1) end() {
	c := x.c
	x.dropLink()
	x.down.release(&x.c.task)
	x.up.release()
	keepAlive := x.keepAlive && !x.aborted && x.body.done()
	x.finish()
	if x.aborted {
		if x.delimited {
			c.conn.Reset() // or else the client takes the part for the whole
		}
		c.close()
		return
	}
	if !keepAlive {
		c.next(false)
		return
	}
	rest := x.in[x.at:]
	x.in = x.in[:copy(x.in, rest)]
	x.clear()
	c.next(true)
}

// finish logs and counts the exchange.
func (x *h1) finish() {
	x.live = false
	x.Times.Finished = x.now()
	x.proxy.finish(&x.exchange)
	x.proxy.inFlight.add(x.Shard, -1)
}

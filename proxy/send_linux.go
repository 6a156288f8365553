package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/http1"
)

// flushOut sends what waits for the client. False: some is left, or the client
// has gone and the exchange is over.
func (x *h1) flushOut() bool {
	for {
		// What TLS holds goes first, so that its progress shows.
		n, err := x.c.stream.Flush()
		if n > 0 {
			x.arrived(waitClientWrite)
		}
		if err != nil {
			return x.clientBlocked(err)
		}
		if x.outAt == len(x.out) && len(x.direct) == 0 {
			break
		}
		n, err = x.c.stream.WriteBoth(x.out[x.outAt:], x.direct)
		if n > 0 {
			k := min(n, len(x.out)-x.outAt)
			x.outAt += k
			x.direct = x.direct[n-k:]
			x.arrived(waitClientWrite)
		}
		if err != nil {
			return x.clientBlocked(err)
		}
	}
	x.out, x.outAt, x.direct = x.out[:0], 0, nil
	return true
}

// clientBlocked deals with a client that takes no more. It gives false.
func (x *h1) clientBlocked(err error) bool {
	switch {
	case err == evloop.ErrAgain:
		x.wait(waitClientWrite, x.proxy.cfg.SendTimeout)
	case x.blocking: // whoever waits for the flush ends the exchange
		x.aborted = true
	default:
		x.cutAnswer(errors.Join(errClientGone, err))
		x.end()
	}
	return false
}

// flushWaiting is flushOut for who may wait.
func (x *h1) flushWaiting() error {
	t := &x.c.task
	for !x.flushOut() {
		if x.duplex != nil {
			x.duplex.pump() // the client may take no more before it has sent its body
		}
		switch {
		case x.aborted:
			return errClientGone
		case x.gone():
			return errLeft
		case x.overdue(waitClientWrite):
			return fmt.Errorf("%w: nothing written for %v", errLeft, x.proxy.cfg.SendTimeout)
		}
		x.setDeadline()
		t.Wait()
	}
	return nil
}

// h1Front is the front of an h1. What is sent goes into its buffer.
type h1Front h1

var _ front = (*h1Front)(nil)

// interim sends a 1xx answer, which HTTP/1.0 does not know.
func (f *h1Front) interim(status int, h *http1.Fields) {
	if f.req.Minor == 0 {
		return
	}
	removeHopByHop(h)
	h.Del("Content-Length")
	f.out = http1.AppendStatusLine(f.out, status)
	f.out = h.AppendTo(f.out)
	f.out = append(f.out, "\r\n"...)
	if f.blocking {
		// A client that is not there any more shows at the next write.
		_ = (*h1)(f).flushWaiting()
	}
}

// sendHead decides how the body is framed, and whether the connection goes on
// after it.
func (f *h1Front) sendHead(status int, h *http1.Fields, length int64) {
	engine := f.c.front.engine
	if length < 0 && f.Request.Method != http.MethodHead && bodyAllowed(status) {
		f.down.chunked = f.req.Minor > 0
		f.delimited = !f.down.chunked
	}
	if f.delimited || !f.body.done() || engine.draining.Load() {
		f.keepAlive = false
	}
	if !f.down.chunked && nameTrailer.In(h) {
		h.Del("Trailer") // none will follow
	}
	b := http1.AppendStatusLine(f.out, status)
	if !nameDate.In(h) {
		b = append(b, "Date: "...)
		b = append(b, engine.dates.text((*h1)(f).now())...)
		b = append(b, "\r\n"...)
	}
	b = h.AppendTo(b)
	if f.keepAlive {
		b = append(b, "Connection: keep-alive\r\n"...)
	} else {
		b = append(b, "Connection: close\r\n"...)
	}
	switch {
	case f.down.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0 && status != http.StatusNoContent: // RFC 9110, section 8.6
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	}
	f.out = append(b, "\r\n"...)
}

func (f *h1Front) write(p []byte) error {
	x := (*h1)(f)
	if !x.blocking {
		x.out = append(x.out, p...)
		return nil
	}
	x.frame(p)
	if len(x.direct) == 0 && len(x.out) < downloadSize/2 {
		return nil
	}
	return x.flushWaiting() // p is not ours
}

func (f *h1Front) flush() error {
	if !f.blocking {
		return nil
	}
	return (*h1)(f).flushWaiting()
}

func (f *h1Front) sendTrailer(h *http1.Fields) {
	x := (*h1)(f)
	if x.down.chunked {
		x.down.framing.Chunked = true
		x.down.chunks.Trailer().CopyFrom(h)
	}
}

// upgrade is never asked for: see beginTunnel.
func (f *h1Front) upgrade(*http1.Fields, time.Duration) (clientTunnel, error) {
	return nil, errors.ErrUnsupported
}

func (f *h1Front) heldBody() []byte       { return f.body.held() }
func (f *h1Front) abort()                 { f.aborted = true }
func (f *h1Front) streamBody()            { f.body.polling = true }
func (f *h1Front) stopBody()              { f.body.failure = errBodyStopped }
func (f *h1Front) bodyRead() int64        { return f.body.read }
func (f *h1Front) bodyFailure() error     { return f.body.failure }
func (f *h1Front) trailer() *http1.Fields { return f.body.chunks.Trailer() }
func (f *h1Front) portText() string       { return f.c.front.portStr }

// wallClock gives the calendar time of instants on a group's clock. Asking the
// system for it costs several times as much as the rest of what a request does
// with clocks.
type wallClock struct {
	group *evloop.Group
	base  atomic.Pointer[clockBase]
}

// clockBase is one moment on both clocks.
type clockBase struct {
	at   evloop.Time
	wall time.Time
}

// at gives the calendar time of an instant of now. The two clocks are compared
// once a second, so a clock that is set shows soon.
func (c *wallClock) at(t evloop.Time) time.Time {
	b := c.base.Load()
	if b == nil || t.Sub(b.at) > time.Second {
		b = &clockBase{at: c.group.Now(), wall: time.Now()}
		c.base.Store(b)
	}
	return b.wall.Add(t.Sub(b.at))
}

// dates gives the time as Date has it, made once a second.
type dates struct{ last atomic.Pointer[clockText] }

func (d *dates) text(now time.Time) string {
	second := now.Unix()
	if c := d.last.Load(); c != nil && c.second == second {
		return c.text
	}
	text := now.UTC().Format(http.TimeFormat)
	d.last.Store(&clockText{second: second, text: text})
	return text
}

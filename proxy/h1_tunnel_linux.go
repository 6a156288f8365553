package proxy

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// flow is one direction of a tunnel.
type flow struct {
	buf     *[downloadSize]byte // held only while something waits in it
	pending []byte
	// ended says that no more comes, closed that the other side knows.
	ended, closed bool
	// moved says that the last move has read or written something, or sent what
	// TLS held, stuck that it found no room to write.
	moved, stuck bool
}

// beginTunnel connects client and service after a switch of protocols, until
// both have ended, one has failed, nothing has moved for too long (see
// tunnelTimeout), or the node stops.
func (x *h1) beginTunnel() {
	d := &x.down
	x.Response.Source = plugin.FromService
	x.exchange.streaming = true
	x.keepAlive = false
	protocol := cmp.Or(d.resp.Fields.Joined("Upgrade"), x.outgoing.Upgrade)
	x.takeFields(&d.resp.Fields)
	x.filterHeader()
	x.proxy.headers.mark(&x.exchange, x.now())
	h := &x.responseFields
	h.Del("Connection")
	h.Del("Content-Length")
	x.out = http1.AppendStatusLine(x.out, 101)
	x.out = h.AppendTo(x.out)
	x.out = append(x.out, "Connection: Upgrade\r\n"...)
	x.out = http1.AppendField(x.out, "Upgrade", protocol)
	x.out = append(x.out, "\r\n"...)
	x.headSent = true
	x.tunnels[0].pending = x.in[x.at:]
	x.at = len(x.in)
	x.tunnels[1].pending = d.buf[d.at:d.n]
	x.waits = [waitKinds]evloop.Time{}
	x.c.state = connTunnel
	x.c.task.SetDeadline(x.c.task.Now().Add(x.outgoing.Timeouts.Read))
}

// pumpTunnel moves what can be moved both ways in this turn.
func (x *h1) pumpTunnel() bool {
	c := x.c
	if c.task.Expired() || c.conn.IsCut() {
		x.end()
		return true
	}
	if !x.flushOut() {
		return c.state != connTunnel
	}
	up, down := &x.tunnels[0], &x.tunnels[1]
	if c.conn.Broken() && !down.closed {
		x.aborted = true // reset; what it has sent may wait for the service for long
		x.end()
		return true
	}
	sent, more, err := up.move(x.link, c.stream)
	got, more2, err2 := down.move(c.stream, x.link)
	x.body.read += sent
	x.bodySent += got
	if err = errors.Join(err, err2); err != nil || up.closed && down.closed {
		x.aborted = err != nil
		up.release()
		down.release()
		x.end()
		return true
	}
	if up.moved || down.moved {
		c.task.SetDeadline(c.task.Now().Add(x.tunnelTimeout()))
	}
	if more || more2 {
		c.worked(turnBytes) // others of the loop have their turn
	}
	return more || more2
}

// tunnelTimeout is how long nothing may move, which as in nginx goes by what is
// waited for: a service that takes nothing has its write timeout, one that says
// nothing its read timeout, and a client that takes nothing Config.SendTimeout,
// for meanwhile the service is not listened to.
func (x *h1) tunnelTimeout() time.Duration {
	t := &x.outgoing.Timeouts
	limit := t.Read
	if x.tunnels[1].stuck {
		limit = x.proxy.cfg.SendTimeout
	}
	if x.tunnels[0].stuck {
		limit = min(limit, t.Write)
	}
	return limit
}

// move passes on what is there. It stops when one side has to be waited for, or
// when the other direction should have its turn: more is true then.
func (f *flow) move(to, from evloop.Stream) (sent int64, more bool, err error) {
	defer f.release()
	f.moved, f.stuck = false, false
	for range turnBytes / readWork {
		n, err := 0, error(nil)
		if len(f.pending) > 0 { // TLS takes no write at all after CloseWrite
			n, err = to.Write(f.pending)
			sent += int64(n)
			f.moved = f.moved || n > 0
			f.pending = f.pending[n:]
		}
		if err == nil {
			var left int
			left, err = to.Flush()
			f.moved = f.moved || left > 0
		}
		switch {
		case err == evloop.ErrAgain:
			f.stuck = true
			return sent, false, nil
		case err != nil:
			return sent, false, err
		case f.closed:
			return sent, false, nil
		case f.ended:
			f.closed = true
			return sent, false, to.CloseWrite()
		case sent >= turnBytes:
			return sent, true, nil
		}
		if f.buf == nil {
			f.buf = downloads.Get().(*[downloadSize]byte)
		}
		n, err = from.Read(f.buf[:])
		f.pending = f.buf[:n]
		f.moved = f.moved || n > 0
		switch {
		case n > 0 || err == nil:
		case err == evloop.ErrAgain:
			return sent, false, nil
		case errors.Is(err, io.EOF):
			f.ended = true
		default:
			return sent, false, err
		}
	}
	return sent, true, nil
}

// release gives the buffer back if nothing waits in it.
func (f *flow) release() {
	if f.buf != nil && len(f.pending) == 0 {
		downloads.Put(f.buf)
		f.buf, f.pending = nil, nil
	}
}

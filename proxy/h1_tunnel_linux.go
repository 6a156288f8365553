package proxy

import (
	"cmp"
	"errors"
	"io"

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
	// flushed says that something has left that TLS held.
	flushed bool
}

// beginTunnel connects client and service after a switch of protocols, until
// both have ended, one has failed, nothing has moved for the service's read
// timeout (as in nginx), or the node stops.
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
	sent, err := up.move(x.link, c.stream)
	got, err2 := down.move(c.stream, x.link)
	x.body.read += sent
	x.bodySent += got
	if err = errors.Join(err, err2); err != nil || up.closed && down.closed {
		x.aborted = err != nil
		up.release()
		down.release()
		x.end()
		return true
	}
	if sent+got > 0 || up.flushed || down.flushed {
		up.flushed, down.flushed = false, false
		c.task.SetDeadline(c.task.Now().Add(x.outgoing.Timeouts.Read))
	}
	c.worked(int(sent + got))
	return c.tired()
}

// move passes on what is there. It stops when one side has to be waited for, or
// at the end of a turn.
func (f *flow) move(to, from evloop.Stream) (moved int64, err error) {
	defer f.release()
	for {
		n, err := 0, error(nil)
		if len(f.pending) > 0 { // TLS takes no write at all after CloseWrite
			n, err = to.Write(f.pending)
			moved += int64(n)
			f.pending = f.pending[n:]
		}
		if err == nil {
			var left int
			left, err = to.Flush()
			f.flushed = f.flushed || left > 0
		}
		switch {
		case err == evloop.ErrAgain:
			return moved, nil
		case err != nil:
			return moved, err
		case f.closed:
			return moved, nil
		case f.ended:
			f.closed = true
			return moved, to.CloseWrite()
		case moved >= int64(turnBytes):
			return moved, nil
		}
		if f.buf == nil {
			f.buf = downloads.Get().(*[downloadSize]byte)
		}
		n, err = from.Read(f.buf[:])
		f.pending = f.buf[:n]
		switch {
		case n > 0 || err == nil:
		case err == evloop.ErrAgain:
			return moved, nil
		case errors.Is(err, io.EOF):
			f.ended = true
		default:
			return moved, err
		}
	}
}

// release gives the buffer back if nothing waits in it.
func (f *flow) release() {
	if f.buf != nil && len(f.pending) == 0 {
		downloads.Put(f.buf)
		f.buf, f.pending = nil, nil
	}
}

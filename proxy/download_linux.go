package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// download is the way of the answer from the service.
type download struct {
	downloadState
	resp   http1.Response
	chunks http1.Chunked
}

// downloadState is what is forgotten between two answers.
type downloadState struct {
	// buf is filled up to n and read up to at. The head stays at its beginning
	// up to the end of the exchange: fields lie in it.
	buf  *[downloadSize]byte
	head int
	// spare takes the place of buf for the body if the head has left little room.
	spare    *[downloadSize]byte
	at, n    int
	framing  http1.Framing
	left     int64
	interims int
	// relaying says that the head of the answer has gone to the client's buffer,
	// ended that all of the body has been read, marked that its end is in the
	// client's buffer.
	relaying, ended, marked bool
	// chunked: the client gets chunks. opened says that one waits for its end.
	chunked, opened bool
}

const (
	downloadSize = 64 << 10
	// together is how much of a body is copied behind what goes before it, so
	// that both leave in one piece.
	together = 4 << 10
)

var downloads = sync.Pool{New: func() any { return new([downloadSize]byte) }}

func (d *download) reset(t *evloop.Task) {
	d.release(t)
	if d.framing.Chunked {
		d.chunks.Reset()
	}
	d.resp.Reset()
	d.downloadState = downloadState{}
}

// hold gets a buffer.
func (d *download) hold(t *evloop.Task) {
	if s := sparesOf(t); s != nil {
		d.buf, _ = s.downloads.Take()
	}
	if d.buf == nil {
		d.buf = downloads.Get().(*[downloadSize]byte)
	}
}

// release gives the buffers back.
func (d *download) release(t *evloop.Task) {
	if d.buf != nil {
		if s := sparesOf(t); s == nil || !s.downloads.Keep(d.buf, spareDownloads) {
			downloads.Put(d.buf)
		}
		d.buf = nil
	}
	if d.spare != nil {
		downloads.Put(d.spare)
		d.spare = nil
	}
}

// room is the buffer of the body, and where it begins in it.
func (d *download) room() (*[downloadSize]byte, int) {
	if d.spare != nil {
		return d.spare, 0
	}
	return d.buf, d.head
}

// makeRoom gives the body a buffer of its own after a large head, or else each
// piece of it would be as small as what is left.
func (d *download) makeRoom() {
	if d.head > downloadSize/2 {
		d.spare = downloads.Get().(*[downloadSize]byte)
		d.at, d.n = 0, copy(d.spare[:], d.buf[d.at:d.n])
	}
}

// pumpDown moves what can be moved of the answer. True means that something has
// moved.
func (x *h1) pumpDown() bool {
	if x.down.relaying {
		return x.relayBytes()
	}
	return x.readAnswer()
}

// fill reads more from the service behind the head. ErrAgain begins the wait for
// it.
func (x *h1) fill() error {
	d := &x.down
	if d.buf == nil {
		if !x.link.Readable() {
			return evloop.ErrAgain
		}
		d.hold(&x.c.task)
	}
	buf, start := d.room()
	if d.at == d.n {
		d.at, d.n = start, start
	}
	n, err := x.link.Read(buf[d.n:])
	if n > 0 {
		d.n += n
		x.c.worked(n)
		x.arrived(waitLinkRead)
		return nil
	}
	return err
}

// readAnswer reads up to the head of the final answer.
func (x *h1) readAnswer() (moved bool) {
	d := &x.down
	for {
		err := x.fill()
		switch {
		case err == evloop.ErrAgain:
			if x.up.done {
				x.wait(waitLinkRead, x.outgoing.Timeouts.Read)
			}
			x.flushOut() // interim answers
			return moved
		case err != nil:
			x.answerFailed(err)
			return true
		}
		moved = true
		for d.at < d.n {
			n, err := d.resp.Parse(d.buf[d.at:d.n], http1.Limits{Bytes: downloadSize - 1})
			if err != nil {
				x.answerInvalid(err)
				return true
			}
			if n == 0 {
				break
			}
			d.at += n
			if !x.takeHead() {
				return true
			}
			// Interim answers must not take the room of the final one.
			d.at, d.n = 0, copy(d.buf[:], d.buf[d.at:d.n])
		}
	}
}

// answerFailed is for a connection that ends before the answer.
func (x *h1) answerFailed(err error) {
	if x.down.n > 0 { // it had begun
		x.fail(fmt.Errorf("upstream closed the connection in the head of its answer: %w", err))
		return
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("upstream closed the connection before it answered: %w", io.ErrUnexpectedEOF)
	}
	x.linkFailed(err)
}

func (x *h1) answerInvalid(err error) { x.fail(fmt.Errorf("%w: %w", upstream.ErrInvalid, err)) }

// takeHead deals with a head. True means that the final one is still to come.
func (x *h1) takeHead() bool {
	d := &x.down
	status := d.resp.Status
	framing, err := d.resp.Framing(x.outgoing.Method)
	if err != nil {
		x.answerInvalid(err)
		return false
	}
	upgrade := ""
	if status == http.StatusSwitchingProtocols {
		upgrade = d.resp.Fields.Joined("Upgrade")
	}
	kind, err := x.outgoing.Head(status, d.interims, upgrade)
	switch {
	case err != nil:
		x.fail(err)
		return false
	case kind == upstream.SwitchHead:
		x.answered()
		x.beginTunnel()
		return false
	case kind == upstream.ContinueHead:
		x.arrived(waitContinue)
		x.up.started = !x.up.ended
		return x.nextHead()
	case kind == upstream.InterimHead:
		x.exchange.front.interim(status, &d.resp.Fields)
		return x.nextHead()
	}
	d.framing = framing
	d.head = d.at
	if !x.up.started && !x.up.ended {
		// The service has not asked for the body. Nobody else may do so now: a 100
		// would end up within the answer.
		x.up.done, x.up.broken = true, true
		x.arrived(waitContinue)
	}
	x.answered()
	x.beginRelay()
	return false
}

// nextHead makes room for the head that follows an interim answer.
func (x *h1) nextHead() bool {
	x.down.interims++
	x.down.resp.Reset()
	return true
}

func (x *h1) answered() {
	x.Times.UpstreamAnswered = x.now()
	x.Response.Status, x.Response.UpstreamStatus = x.down.resp.Status, x.down.resp.Status
}

// beginRelay takes the head of the answer through the plugins to the client.
func (x *h1) beginRelay() {
	d := &x.down
	x.Response.Source = plugin.FromService
	x.exchange.streaming = true
	x.takeFields(&d.resp.Fields)
	x.filterHeader()
	if x.Response.Source == plugin.FromKong { // a header filter has answered instead
		x.dropLink()
		x.waits = [waitKinds]evloop.Time{} // none of them is about this answer
		x.deliver()
		x.c.state = connAnswer
		return
	}
	x.proxy.headers.mark(&x.exchange, x.now())
	length := d.framing.Length
	empty := d.framing.NoBody || x.emptyAnswer()
	switch {
	case empty:
		d.ended, d.marked = true, true
		if !x.emptyAnswer() { // a plugin has made HEAD of another method
			length = 0
		}
	case x.filtersBody:
		length = -1
	}
	d.left = d.framing.Length
	d.relaying = true
	d.makeRoom()
	x.sendHead(length)
}

// relayBytes moves what can be moved of the body in this turn, but one piece at
// least: the request may have used the turn up.
func (x *h1) relayBytes() (moved bool) {
	d := &x.down
	for first := true; ; first = false {
		// What has come already leaves together with the head.
		if (d.at < d.n || d.emptyLeft()) && !d.ended && x.outAt == 0 && len(x.direct) == 0 {
			moved = true
			if err := x.produce(); err != nil {
				c := x.c
				if x.flushOut() || c.state == connForward { // what was sound of it
					x.cutShort(err)
				}
				return true
			}
		}
		if !x.flushOut() {
			return moved
		}
		switch {
		case d.marked:
			x.relayed()
			return true
		case d.ended:
			x.frameEnd()
			moved = true
			continue
		}
		switch {
		case d.at < d.n:
			continue
		case !first && x.c.tired() && !x.lastPiece():
			return true
		}
		err := x.fill()
		switch {
		case err == nil:
		case err == evloop.ErrAgain:
			x.wait(waitLinkRead, x.outgoing.Timeouts.Read)
			return moved
		case errors.Is(err, io.EOF) && d.framing.UntilClose:
			d.ended = true
			x.produceLast()
		default:
			x.cutShort(err)
			return true
		}
		moved = true
	}
}

// emptyLeft says that a body of known length has nothing more to come.
func (d *download) emptyLeft() bool {
	return !d.framing.Chunked && !d.framing.UntilClose && d.left == 0
}

// lastPiece says that one more read may end the answer, and that nothing else is
// left to do.
func (x *h1) lastPiece() bool {
	d := &x.down
	return d.relaying && x.up.done && 0 <= d.left && d.left <= int64(d.n-d.at)+downloadSize
}

// cutShort ends an answer that the service does not complete.
func (x *h1) cutShort(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	x.fail(err)
}

// produce makes output of what is buffered. It stops when there is enough to be
// sent.
func (x *h1) produce() error {
	d := &x.down
	for len(x.direct) == 0 && len(x.out) < downloadSize/2 {
		data, err := d.take()
		if err != nil {
			return err
		}
		data = x.filterBody(data, d.ended)
		x.bodySent += int64(len(data))
		x.frame(data)
		if d.ended {
			if len(x.direct) == 0 || !d.chunked {
				x.frameEnd()
			}
			return nil
		}
		if d.at == d.n {
			return nil
		}
	}
	return nil
}

// produceLast lets the body filters see the end of a body that ends with the
// connection.
func (x *h1) produceLast() {
	data := x.filterBody(nil, true)
	x.bodySent += int64(len(data))
	x.frame(data)
}

// take gives the next piece of the body from the buffer.
func (d *download) take() ([]byte, error) {
	buffered := d.buffered()
	switch {
	case d.framing.Chunked:
		data, n, err := d.chunks.Next(buffered)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", upstream.ErrInvalid, err)
		}
		d.at += n
		d.ended = d.chunks.Done()
		return data, nil
	case d.framing.UntilClose:
		d.at = d.n
		return buffered, nil
	}
	data := buffered[:min(int64(len(buffered)), d.left)]
	d.at += len(data)
	d.left -= int64(len(data))
	d.ended = d.left == 0
	return data, nil
}

func (d *download) buffered() []byte {
	if d.buf == nil {
		return nil
	}
	buf, _ := d.room()
	return buf[d.at:d.n]
}

// frame adds a piece of the body to the output.
func (x *h1) frame(data []byte) {
	if len(data) == 0 {
		return
	}
	if d := &x.down; d.chunked {
		if d.opened {
			x.out = append(x.out, "\r\n"...)
		}
		x.out = http1.AppendChunkSize(x.out, len(data))
		d.opened = true
	}
	if len(data) <= together {
		x.out = append(x.out, data...)
		return
	}
	x.direct = data
}

// frameEnd adds the end of the body.
func (x *h1) frameEnd() {
	d := &x.down
	d.marked = true
	if !d.chunked {
		return
	}
	if d.opened {
		x.out = append(x.out, "\r\n"...)
	}
	x.out = append(x.out, "0\r\n"...)
	if d.framing.Chunked {
		x.out = d.chunks.Trailer().AppendTo(x.out)
	}
	x.out = append(x.out, "\r\n"...)
}

// relayed is the end of an answer that has been sent.
func (x *h1) relayed() {
	d, l := &x.down, x.link
	whole := x.up.done && !x.up.broken && d.at == d.n
	if whole && d.ended && d.resp.KeepAlive() && !d.framing.UntilClose {
		x.link = nil
		l.Put()
	}
	x.end()
}

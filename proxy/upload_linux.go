package proxy

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// upload is the way of a request to the service: its head, with the body if that
// was read before, and then the body piece by piece.
type upload struct {
	head    []byte // buffer of heads
	pending []byte // being sent
	at      int    // sent of pending
	whole   []byte // and then this
	piece   *[uploadPiece]byte
	// started says that the body may be read, ended that all of it was, done
	// that all was sent, or as much as the service wants.
	started, ended, done bool
	left                 int64 // of a body of known length
	// sent says that a byte of the request has left, broken that the service
	// has stopped reading.
	sent, broken bool
}

const (
	uploadPiece = 64 << 10
	// chunkRoom is kept free before a piece for the size of its chunk.
	chunkRoom = len("ffffffff\r\n")
	// chunkEnd is kept free after it.
	chunkEnd = len("\r\n")
)

var uploadPieces = sync.Pool{New: func() any { return new([uploadPiece]byte) }}

func (u *upload) reset() {
	u.release()
	head := u.head
	if cap(head) > maxKept {
		head = nil
	}
	*u = upload{head: head}
}

func (u *upload) release() {
	if u.piece != nil {
		uploadPieces.Put(u.piece)
		u.piece, u.pending, u.at = nil, nil, 0
	}
}

// begin makes the head of a request ready to be sent.
func (u *upload) begin(q *upstream.Request) {
	u.head = upstream.AppendHead(u.head[:0], q)
	u.whole = q.Whole
	if len(u.whole) <= together {
		u.head, u.whole = append(u.head, u.whole...), nil
	}
	u.pending, u.at = u.head, 0
	u.ended = q.Body == nil
	u.started = !u.ended && !q.Expect
	u.left = q.ContentLength
	u.sent, u.broken, u.done = false, false, false
}

// pumpUp sends what can be sent of the request in this turn. True means that
// something has moved.
func (x *h1) pumpUp() (moved bool) {
	u := &x.up
	for !u.done {
		n, err := x.flushUp()
		if n > 0 {
			moved = true
			x.arrived(waitLinkWrite)
		}
		if err != nil {
			return x.linkBlocked(err) || moved
		}
		switch {
		case u.ended:
			u.done = true
			x.arrived(waitClientRead)
			x.awaitAnswer()
			return true
		case !u.started:
			x.wait(waitContinue, x.outgoing.ContinueWait())
			return moved
		case moved && x.c.tired():
			return true
		case !x.takePiece():
			return moved
		}
		moved = true
	}
	return moved
}

// flushUp sends what is pending, and says how much has moved.
func (x *h1) flushUp() (moved int, err error) {
	u := &x.up
	for {
		// What TLS holds goes first, so that its progress shows.
		n, err := x.link.Flush()
		moved += n
		if err != nil || u.at == len(u.pending) && len(u.whole) == 0 {
			return moved, err
		}
		n, err = x.link.WriteBoth(u.pending[u.at:], u.whole)
		if n > 0 {
			k := min(n, len(u.pending)-u.at)
			u.at += k
			u.whole = u.whole[n-k:]
			u.sent = true
			moved += n
		}
		if err != nil {
			return moved, err
		}
	}
}

// linkBlocked deals with a connection that takes no more. True means that the
// state has changed.
func (x *h1) linkBlocked(err error) bool {
	if err == evloop.ErrAgain {
		x.wait(waitLinkWrite, x.outgoing.Timeouts.Write)
		return false
	}
	if !x.up.sent {
		x.linkFailed(err)
		return true
	}
	// The service has stopped reading in the middle. It may have answered.
	x.up.done, x.up.broken = true, true
	x.arrived(waitLinkWrite)
	x.arrived(waitClientRead)
	x.awaitAnswer()
	return true
}

// awaitAnswer begins to wait for the answer once the request is on its way. One
// that came before that is waited for only where more of it is needed.
func (x *h1) awaitAnswer() {
	if !x.down.relaying {
		x.wait(waitLinkRead, x.outgoing.Timeouts.Read)
	}
}

// takePiece makes the next piece of the body pending. False means that there is
// none at the moment, or that the request has failed.
func (x *h1) takePiece() bool {
	u := &x.up
	if u.piece == nil {
		u.piece = uploadPieces.Get().(*[uploadPiece]byte)
	}
	known := x.outgoing.ContentLength >= 0
	room := u.piece[:]
	if known {
		room = room[:min(int64(len(room)), u.left)]
	} else {
		room = room[chunkRoom : len(room)-chunkEnd]
	}
	n, err := x.outgoing.Body.Read(room)
	ended := errors.Is(err, io.EOF)
	x.c.worked(n)
	if n > 0 || ended {
		x.arrived(waitClientRead)
	}
	if known {
		if u.left -= int64(n); u.left == 0 {
			ended, err = true, nil
		} else if ended {
			err = io.ErrUnexpectedEOF
		}
	}
	if n == 0 && errors.Is(err, evloop.ErrAgain) {
		u.release() // very many clients may be slow
		x.wait(waitClientRead, x.proxy.cfg.BodyTimeout)
		return false
	}
	if err != nil && !ended || errors.Is(err, io.ErrUnexpectedEOF) {
		x.bodyFailed(err)
		return false
	}
	u.ended, u.at = ended, 0
	if known {
		u.pending = room[:n]
	} else {
		u.pending = x.frameChunk(n, ended)
	}
	return true
}

// bodyFailed is the end of a request whose body is not what it should be.
func (x *h1) bodyFailed(err error) {
	x.keepAlive = false
	if x.c.conn.HungUp() {
		err = errLeft
	}
	x.fail(fmt.Errorf("%w: %w", upstream.ErrBody, err))
}

// frameChunk makes a chunk of the n bytes in the middle of the piece, and the
// end of the body if it has ended.
func (x *h1) frameChunk(n int, ended bool) []byte {
	piece := x.up.piece
	start, end := chunkRoom, chunkRoom
	if n > 0 {
		var size [chunkRoom]byte
		digits := strconv.AppendInt(size[:0], int64(n), 16)
		digits = append(digits, "\r\n"...)
		start -= len(digits)
		copy(piece[start:], digits)
		end += n + copy(piece[chunkRoom+n:], "\r\n")
	}
	framed := piece[start:end]
	if !ended {
		return framed
	}
	// Longer than the room, it moves to a buffer of its own.
	framed = append(framed[:len(framed):len(framed)], "0\r\n"...)
	trailer := x.body.chunks.Trailer()
	for i := range trailer.Len() {
		f := trailer.At(i)
		framed = http1.AppendField(framed, f.Name, f.Value)
	}
	return append(framed, "\r\n"...)
}

// linkFailed deals with a connection that failed before the final answer.
func (x *h1) linkFailed(err error) {
	again := x.outgoing.Again(upstream.Progress{Kept: x.link.Kept, Sent: x.up.sent, BodyRead: x.up.piece != nil, Answered: x.down.interims > 0})
	x.dropLink()
	x.waits = [waitKinds]evloop.Time{}
	if again && !x.gone() {
		x.down.reset(&x.c.task)
		if err = x.connect(false); err == nil {
			return
		}
	}
	if x.gone() {
		err = errLeft
	}
	x.fail(err)
}

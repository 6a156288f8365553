package evloop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// What becomes of bytes that a connection was given to send and that are not in
// the socket yet.
const (
	sendNone   uint32 = iota
	sendQueued        // until the next look; the owner may take them back
	sendUnder         // way to the kernel; the loop has them
	sendRest          // the socket has no room for them; the loop has them
	sendFailed        // for good
)

// sendSize is how much is sent by the ring at once. It is copied, so that who
// writes may use his buffer again; what is larger goes straight into the socket.
const sendSize = 16 << 10

type sendBuffer [sendSize]byte

var sendBuffers = sync.Pool{New: func() any { return new(sendBuffer) }}

// spareSends is how many buffers a loop keeps. More are in use only while many
// connections are given something to send in one turn.
const spareSends = maxAnswers

// sendBuffer gives an empty buffer.
func (c *Conn) sendBuffer() *sendBuffer {
	if t := c.task.Load(); t != nil && t.lent != nil {
		if b, ok := t.lent.buffers.Take(); ok {
			return b
		}
	}
	return sendBuffers.Get().(*sendBuffer)
}

// outgoing is what a connection sends by io_uring. Who changes state from
// sendQueued has the rest, the loop's leader from sendUnder and sendRest.
type outgoing struct {
	state  atomic.Uint32
	buf    *sendBuffer
	at, n  int // sent and filled of buf
	failed syscall.Errno
	shut   bool // CloseWrite was called; of the leader
}

func (o *outgoing) release() {
	if o.buf != nil {
		sendBuffers.Put(o.buf)
		o.buf = nil
	}
	o.at, o.n = 0, 0
}

// queue takes bytes that leave with the next look at the kernel. False: they have
// to be written to the socket now, for which nothing is queued any more; or cannot
// be written, which err says.
func (c *Conn) queue(a, b []byte) (queued bool, err error) {
	o, l, size := &c.ring.out, c.loop, len(a)+len(b)
	switch o.state.Load() {
	case sendNone:
	case sendQueued:
		// Not by a store: another leader may have it by now, if the loop was taken
		// from this handler.
		if !o.state.CompareAndSwap(sendQueued, sendNone) {
			return false, c.awaitSent()
		}
	case sendUnder:
		return false, c.awaitSent()
	case sendRest:
		return false, ErrAgain
	case sendFailed:
		return false, fmt.Errorf("write: %w", o.failed)
	}
	// A leader in a handler looks soon: most often it is in this one.
	if o.n+size > sendSize || !inHandler(l.lead.Load()) {
		return false, c.sendNow()
	}
	if o.buf == nil {
		o.buf = c.sendBuffer()
	}
	o.n += copy(o.buf[o.n:], a)
	o.n += copy(o.buf[o.n:], b)
	o.state.Store(sendQueued)
	c.want(l, wantSend)
	return true, nil
}

// awaitSent is for an owner that has left the loop and writes before the loop
// knows what has become of the bytes before.
func (c *Conn) awaitSent() error {
	c.ready.And(^writable)
	if c.ring.out.state.Load() == sendUnder {
		c.loop.ring() // it may be waiting, and sets writable then
		return ErrAgain
	}
	// It may have been settled just before writable was cleared.
	c.ready.Or(writable)
	if t := c.task.Load(); t != nil {
		t.Poke()
	}
	return ErrAgain
}

// sendNow writes what was taken back into the socket.
func (c *Conn) sendNow() error {
	o := &c.ring.out
	if o.n == 0 {
		return nil
	}
	switch errno := c.sendRest(); errno {
	case 0:
		o.release()
		return nil
	case syscall.EAGAIN:
		o.state.Store(sendRest)
		c.want(c.loop, wantSend) // room may have come before the loop knew that it is waited for
		return ErrAgain
	default:
		o.release()
		o.failed = errno
		o.state.Store(sendFailed)
		return fmt.Errorf("write: %w", errno)
	}
}

// sendRest writes what is left of the bytes, as far as there is room.
func (c *Conn) sendRest() syscall.Errno {
	o := &c.ring.out
	c.ready.And(^writable)
	for o.at < o.n {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&o.buf[o.at])), uintptr(o.n-o.at),
			syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			o.at += int(n)
		case syscall.EINTR:
		default:
			return errno
		}
	}
	c.ready.Or(writable)
	return 0
}

// closeWriteRing is CloseWrite: it comes after what is to be sent. True: the
// caller does it.
func (c *Conn) closeWriteRing() bool {
	if c.takeBack() {
		return true
	}
	c.want(c.loop, wantShut)
	return false
}

// takeBack writes what is queued into the socket. False: the loop has it.
func (c *Conn) takeBack() bool {
	o := &c.ring.out
	if o.state.CompareAndSwap(sendQueued, sendNone) {
		_ = c.sendNow() // its error is the next write's
	}
	s := o.state.Load()
	return s == sendNone || s == sendFailed
}

// writeRing is Write of two parts; false if they have to be written to the
// socket.
func (c *Conn) writeRing(a, b []byte) (n int, done bool, err error) {
	switch ready := c.ready.Load(); {
	case len(a)+len(b) == 0:
		return 0, true, nil
	case ready&cut != 0:
		return 0, true, ErrCut
	case ready&writable == 0:
		return 0, true, ErrAgain
	}
	queued, err := c.queue(a, b)
	if queued {
		n = len(a) + len(b)
	}
	return n, queued || err != nil, err
}

// The rest is for the loop's leader.

// aboutSend marks the answer to a send; above it is its place in Loop.sends.
const aboutSend = 1 << 31

// sendFlags: a send that does not wait is over when enter returns. Because all is
// to be sent, a part of it is no success, and success alone is not answered.
const sendFlags = syscall.MSG_NOSIGNAL | syscall.MSG_DONTWAIT | syscall.MSG_WAITALL

// send has the kernel send what is queued, or tries again what had no room.
func (l *Loop) send(c *Conn) {
	o := &c.ring.out
	if o.state.Load() == sendRest {
		l.sendLeft(c)
		return
	}
	if !o.state.CompareAndSwap(sendQueued, sendUnder) {
		return
	}
	e := l.request()
	if e == nil {
		o.state.Store(sendRest)
		l.sendLeft(c)
		return
	}
	e.opcode, e.flags, e.fd, e.userData = opSend, sqeSkipSuccess, int32(c.fd), aboutSend|uint64(len(l.sends))<<32
	e.addr, e.len = uint64(uintptr(unsafe.Pointer(&o.buf[o.at]))), uint32(o.n-o.at)
	e.opFlags = sendFlags
	if slot := l.slotFor(c); slot > 0 {
		e.flags, e.fd = e.flags|sqeFixedFile, slot-1
	}
	l.sends = append(l.sends, c)
}

// settle finds out what has become of the sends. Answers from the given one on
// may be theirs.
func (l *Loop) settle(from uint32) {
	if len(l.sends) == 0 {
		return
	}
	r := l.uring
	for end := from + r.answersSince(from); from != end; from++ {
		e := &r.cqes[from&r.cqMask]
		if e.userData&(1<<32-1) == aboutSend {
			l.sentPart(l.sends[e.userData>>32], e.res)
		}
	}
	if r.queued() > 0 {
		return // some may be there yet
	}
	lost := r.overflown()
	for i, c := range l.sends {
		l.sends[i] = nil
		o := &c.ring.out
		switch {
		case o.state.Load() != sendUnder:
			continue
		case lost:
			// Never seen: a failure may be among the answers that have no room,
			// and nothing can be sent after what may have been sent in part.
			_ = syscall.Shutdown(c.fd, syscall.SHUT_RDWR)
		}
		l.sent(c)
	}
	l.sends = l.sends[:0]
}

// sent is the end of a send. An owner that has met it under way is told.
func (l *Loop) sent(c *Conn) {
	o := &c.ring.out
	if o.buf != nil && l.lent.buffers.Keep(o.buf, spareSends) {
		o.buf = nil
	}
	o.release()
	if o.shut {
		o.shut = false
		// What is broken needs no end.
		_ = syscall.Shutdown(c.fd, syscall.SHUT_WR)
	}
	o.state.Store(sendNone)
	// An owner that meets the state from before clears writable first.
	if c.ready.Load()&writable == 0 {
		c.ready.Or(writable)
		l.wake(c)
	}
}

// wake has the task of a connection run in the loop's queue.
func (l *Loop) wake(c *Conn) {
	l.runLater(c.nudge())
}

// runLater puts a task that has to be run, if it is one, into the loop's queue.
func (l *Loop) runLater(t *Task) {
	if t != nil {
		l.ready.push(t)
	}
}

// sentPart deals with a send that was not done, or not to the end.
func (l *Loop) sentPart(c *Conn, res int32) {
	o := &c.ring.out
	if res < 0 && res != -int32(syscall.EAGAIN) && res != -int32(syscall.EINTR) && res != -int32(syscall.ECANCELED) {
		l.sendBroken(c, syscall.Errno(-res))
		return
	}
	o.at += int(max(res, 0))
	o.state.Store(sendRest)
	l.sendLeft(c)
}

func (l *Loop) sendBroken(c *Conn, errno syscall.Errno) {
	o := &c.ring.out
	o.release()
	o.failed = errno
	o.state.Store(sendFailed)
	c.ready.Or(writable) // so that a write is told
	l.wake(c)
}

// sendLeft sends more of what had no room. Where there is none yet, an event
// says when there is.
func (l *Loop) sendLeft(c *Conn) {
	switch errno := c.sendRest(); errno {
	case 0:
		c.ready.And(^writable) // until the owner may write
		l.sent(c)
	case syscall.EAGAIN:
	default:
		l.sendBroken(c, errno)
	}
}

// shut does what CloseWrite could not do at once.
func (l *Loop) shut(c *Conn) {
	if s := c.ring.out.state.Load(); s == sendRest || s == sendUnder {
		c.ring.out.shut = true
		return
	}
	// What is broken needs no end.
	_ = syscall.Shutdown(c.fd, syscall.SHUT_WR)
}

// end closes the socket of a connection, once what is queued has left.
func (l *Loop) end(c *Conn) {
	r := &c.ring
	if r.out.state.Load() == sendUnder {
		c.want(l, wantClose) // the next look knows more
		return
	}
	l.leaveSlot(c)
	if r.flying() {
		if l.stop(c); !r.stopping {
			c.want(l, wantClose)
			return
		}
		r.thread.Store(0)
	}
	if l.partsWith(c) {
		return
	}
	if e := l.request(); e != nil {
		e.opcode, e.flags, e.fd, e.userData = opClose, sqeSkipSuccess, int32(c.fd), aboutNothing
		return
	}
	c.want(l, wantClose)
}

// partsWith sends what a closed connection has left. True: that takes longer, and
// another closes the socket.
func (l *Loop) partsWith(c *Conn) bool {
	o := &c.ring.out
	if s := o.state.Load(); s != sendQueued && s != sendRest {
		return false
	}
	o.state.Store(sendNone)
	if !c.ring.reset && c.sendRest() == syscall.EAGAIN && !l.group.closed.Load() {
		rest := append([]byte(nil), o.buf[o.at:o.n]...)
		l.group.owned.Go(func() { l.group.farewell(c.fd, rest) })
		o.release()
		return true
	}
	o.release()
	return false
}

// How long the peer of a closed connection may take for the last bytes, and how
// often it is looked whether the group closes meanwhile.
const (
	farewellTime = 30 * time.Second
	farewellLook = 100 * time.Millisecond
)

// farewell sends the last bytes of a connection and closes its socket.
func (g *Group) farewell(fd int, rest []byte) {
	f := os.NewFile(uintptr(fd), "connection")
	c, err := net.FileConn(f)
	_ = f.Close() // c is a duplicate
	if err != nil {
		return
	}
	// An error means that the peer is not to be told any more.
	defer c.Close()
	for end := time.Now().Add(farewellTime); len(rest) > 0 && time.Now().Before(end) && !g.closed.Load(); {
		if err := c.SetWriteDeadline(time.Now().Add(farewellLook)); err != nil {
			return
		}
		n, err := c.Write(rest)
		rest = rest[n:]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

package evloop

import (
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// More of what is known of a connection, where the kernel receives for it.
const (
	// armed: the kernel receives, or will from the next look on. Nobody else
	// must meanwhile, and readable is not set.
	armed uint32 = 1 << (iota + 8)
	// The end was told of while the kernel received. What it has received by
	// then comes first.
	lateHungUp
	lateBroken
)

// What a connection wants of its loop.
const (
	wantRecv  uint32 = 1 << iota // receive for it
	wantGive                     // take its buffer back
	wantSend                     // send what is queued
	wantShut                     // and then say that nothing follows
	wantClose                    // forget about it, and close the socket
	listed                       // it is in the stack, even if nothing is wanted any more
)

// byRing is the part of a connection for which the kernel receives by io_uring.
type byRing struct {
	on bool

	// wants is what the loop has not looked at yet. Who sets listed puts the
	// connection into the loop's stack, linked by next.
	wants atomic.Uint32
	next  *Conn

	// Of the loop's leader.
	flying bool   // the kernel receives
	lent   bool   // a buffer of the ring is in use
	id     uint16 // and which one

	// Handed to the connection's owner together with readable, and back with
	// wantGive and armed.
	rest   []byte        // received and not read
	more   bool          // there is more in the socket
	failed syscall.Errno // in place of bytes

	out   outgoing
	reset bool // Reset was called
}

// want has the loop do something at its next look. Safe for concurrent use.
func (c *Conn) want(l *Loop, bits uint32) {
	if c.ring.wants.Or(bits|listed)&listed != 0 {
		return
	}
	for {
		head := l.wanting.Load()
		c.ring.next = head
		if !l.wanting.CompareAndSwap(head, c) {
			continue
		}
		// A leader that is in a handler looks when that is over. One that is
		// not may be waiting already; if the stack was not empty, who began it
		// has rung or seen a handler that has not returned yet.
		if head == nil && l.lead.Load()&1 == 0 {
			l.ring()
		}
		return
	}
}

// drained has the kernel receive, now that nothing is left. Where the peer has
// closed its direction there is nothing to wait for.
func (c *Conn) drained(bits uint32) {
	for {
		old := c.ready.Load()
		if old&hungUp != 0 {
			break
		}
		if c.ready.CompareAndSwap(old, old&^readable|armed) {
			bits |= wantRecv
			break
		}
	}
	if bits != 0 {
		c.want(c.loop, bits)
	}
}

// readRing is Read: first what the kernel has received, and then what is left in
// the socket.
func (c *Conn) readRing(p []byte) (int, error) {
	r := &c.ring
	if errno := r.failed; errno != 0 {
		r.failed = 0
		return 0, fmt.Errorf("read: %w", errno)
	}
	n, bits := 0, uint32(0)
	if len(r.rest) > 0 {
		n = copy(p, r.rest)
		if r.rest = r.rest[n:]; len(r.rest) > 0 {
			return n, nil
		}
		r.rest, bits = nil, wantGive
		if !r.more {
			c.drained(bits)
			return n, nil
		}
	}
	for n < len(p) {
		k, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&p[n])), uintptr(len(p)-n), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			c.drained(bits)
			if n == 0 {
				return 0, ErrAgain
			}
			return n, nil
		case n > 0 && (errno != 0 || k == 0):
			r.failed = errno // the next call is told; of the end by the kernel
		case errno != 0:
			return 0, fmt.Errorf("read: %w", errno)
		case k == 0:
			return 0, io.EOF
		case int(k) < len(p)-n:
			c.drained(bits)
			return n + int(k), nil
		default:
			n += int(k)
			continue
		}
		break
	}
	if bits != 0 {
		c.want(c.loop, bits)
	}
	return n, nil
}

// received notes what the kernel has received for a connection, or why nothing.
// It gives the task if the caller, who leads the loop, has to run it.
func (l *Loop) received(c *Conn, e cqe) *Task {
	r, bits := &c.ring, readable
	r.flying = false
	switch errno := syscall.Errno(-e.res); {
	case e.res > 0:
		r.id, r.lent = uint16(e.flags>>cqeBufferShift), true
		r.rest, r.more = l.uring.buffer(r.id)[:e.res], e.flags&cqeSocketNotDone != 0
	case e.res == 0:
		bits |= hungUp
	case errno == syscall.ENOBUFS, errno == syscall.EAGAIN, errno == syscall.EINTR, errno == syscall.ECANCELED:
		// Read tries by itself.
	default:
		r.failed = errno
		bits |= broken | hungUp | writable
	}
	for {
		old := c.ready.Load()
		now := old&^(armed|lateHungUp|lateBroken) | bits
		if old&lateHungUp != 0 {
			now |= hungUp
		}
		if old&lateBroken != 0 {
			now |= broken
		}
		if c.ready.CompareAndSwap(old, now) {
			break
		}
	}
	return c.nudge()
}

// toldOfRing is happened for a connection that the kernel receives for: that
// there is something to read is not told of by events.
func (l *Loop) toldOfRing(c *Conn, bits uint32) *Task {
	bits &^= readable
	if bits&writable != 0 && c.ring.out.state.Load() == sendRest {
		bits &^= writable
		l.sendLeft(c)
	}
	for {
		old, now := c.ready.Load(), bits
		if old&armed != 0 {
			if now&hungUp != 0 {
				now = now&^hungUp | lateHungUp
			}
			if now&broken != 0 {
				now = now&^broken | lateBroken
			}
		}
		if !c.ready.CompareAndSwap(old, old|now) {
			continue
		}
		if now&(hungUp|broken|writable) == 0 {
			return nil // comes with what is received
		}
		return c.nudge()
	}
}

// inFlight says whether the kernel may receive at this moment.
func (c *Conn) inFlight() bool {
	return c.ready.Load()&armed != 0 && c.ring.wants.Load()&wantRecv == 0
}

// unasked says whether something has come that the connection has not been told
// of.
func (c *Conn) unasked() bool {
	r := &c.ring
	if c.ready.Load()&armed == 0 {
		return len(r.rest) > 0 || r.failed != 0
	}
	return c.loop.uring.answered(c.answerID())
}

// answerID is what the answers to requests about the connection have.
func (c *Conn) answerID() uint64 { return uint64(c.id)<<32 | uint64(c.fd) }

// closeRing is Close. The loop does it, since the kernel may be receiving, which
// keeps the socket open, and since the descriptor must not become another
// socket's while it makes a request of it.
func (c *Conn) closeRing() {
	l := c.loop
	l.group.table.drop(c.fd, c)
	c.loop = nil
	c.want(l, wantClose)
}

// releasable says whether the socket can be given away, and has nothing queued
// any more. The kernel must not be about to receive from it, and the loop must
// not have something to send.
func (c *Conn) releasable() bool {
	r := &c.ring
	asked := r.wants.And(^wantRecv)&wantRecv != 0
	if !asked && (c.ready.Load()&armed != 0 || len(r.rest) > 0) {
		return false
	}
	if r.out.state.CompareAndSwap(sendQueued, sendNone) {
		errno := c.sendRest()
		r.out.release()
		return errno == 0
	}
	s := r.out.state.Load()
	return s == sendNone || s == sendFailed
}

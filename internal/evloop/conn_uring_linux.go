package evloop

import (
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
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
	wantRecv  uint32 = 1 << iota // receive for it: once, unless
	wantOn                       // it is to go on, or
	wantWord                     // it is only to be told that there is something
	wantStop                     // end a receive that goes on
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

	urgent bool // SendFirst was called

	// Of the owner.
	keep bool  // KeepReceiving was called
	long uint8 // above 0: a message had no room in a buffer, not long ago
	took int   // read since the kernel was asked

	// Of the loop's leader.
	receiving
	slot  int32 // of the ring that the socket is in, 0 if in none
	sends uint8 // before it gets one

	// Handed to the connection's owner together with readable, and back with
	// wantGive and armed.
	rest   []byte        // received and not read
	more   bool          // there is more in the socket, and nobody else reads it
	follow bool          // more may come by the ring
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
		if head == nil && !inHandler(l.lead.Load()) {
			l.ring()
		}
		return
	}
}

// KeepReceiving says that what comes is most often a short message, read at once:
// the kernel need not be told to receive again after each. Release must not be
// called any more. For the owner.
func (c *Conn) KeepReceiving() { c.ring.keep = true }

// SendFirst has what is sent leave before what other connections of the loop send at
// the same look: whoever gets it works while the rest is sent. With epoll,
// where all is sent at once, it changes nothing. To be called before Bind.
func (c *Conn) SendFirst() { c.ring.urgent = true }

// shortAgain is how many messages in a row have to be short after a long one before
// they are received into buffers again.
const shortAgain = 8

// drained has the kernel receive, now that nothing is left. Where the peer has
// closed its direction there is nothing to wait for but what was received before.
func (c *Conn) drained(bits uint32) {
	r := &c.ring
	switch {
	case r.took >= uringBufferSize:
		r.long = shortAgain
	case r.took > 0 && r.long > 0:
		r.long--
	}
	r.took = 0
	how := wantRecv
	switch {
	case r.long > 0:
		how |= wantWord
	case r.keep:
		how |= wantOn
	}
	for {
		old := c.ready.Load()
		if old&hungUp != 0 && !r.follow {
			break
		}
		if c.ready.CompareAndSwap(old, old&^readable|armed) {
			bits |= how
			break
		}
	}
	c.wantSome(bits)
}

// wantSome is want, of anything at all.
func (c *Conn) wantSome(bits uint32) {
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
		r.took += n
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
		k, errno := c.recv(p[n:])
		switch {
		case errno == syscall.EAGAIN:
			c.drained(bits)
			if n == 0 {
				return 0, ErrAgain
			}
			return n, nil
		case errno != 0 && n == 0:
			return 0, fmt.Errorf("read: %w", errno)
		case k == 0 && n == 0:
			return 0, io.EOF
		case k == 0:
			r.failed = errno // the next call is told; of the end by the kernel
			c.wantSome(bits)
			return n, nil
		}
		r.took += k
		if n += k; n < len(p) {
			c.drained(bits)
			return n, nil
		}
	}
	c.wantSome(bits)
	return n, nil
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
		if bits&(hungUp|broken) != 0 {
			l.stopLasting(c)
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

// tells says whether the loop has heard of all that came before its last look. For
// the owner.
func (c *Conn) tells() bool { return c.ring.flyingFor(c.task.Load().lent) }

// untold says whether something is in the socket. What another thread has taken from
// it for the ring is among the answers after that.
func (c *Conn) untold() bool {
	if c.waiting() {
		return true
	}
	c.loop.uring.catchUp()
	return false
}

// unasked says whether something has come that the connection has not been told
// of.
func (c *Conn) unasked() bool {
	r := &c.ring
	armed := c.ready.Load()&armed != 0
	if !armed && (len(r.rest) > 0 || r.failed != 0) {
		return true
	}
	return (armed || r.follow) && (r.aside.Load() > 0 || c.loop.uring.answered(c.answerID()))
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
	// First whether the kernel receives: follow and rest are the loop's meanwhile.
	if !asked && (c.ready.Load()&armed != 0 || len(r.rest) > 0) || r.follow {
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

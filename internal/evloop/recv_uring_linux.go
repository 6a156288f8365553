package evloop

import (
	"sync/atomic"
	"syscall"
)

// receiving is what the leader of a loop knows of what the kernel receives for a
// connection. A receive ends with its first answer, or goes on ("multishot") where
// short messages are expected: its answers are delivered one by one, each when the
// connection's owner has read all of the one before, and held meanwhile. Where long
// ones are, which no buffer holds, the kernel only says that there is something.
type receiving struct {
	flying   bool   // the kernel receives
	stopping bool   // and was told to end that
	lent     bool   // a buffer of the ring is in use
	id       uint16 // and which one
	how      uint32 // which wantOn, wantWord or 0 says
	asked    uint32 // the same of the one that is due next
	crew     uint32 // Loop.crew at the time of asking

	// held is how many answers are held; the owner may look at it.
	held        atomic.Int32
	first, last uint16        // of them, linked through Loop.parts
	lost        syscall.Errno // an error after them, which the kernel tells of only once
}

// part is an answer that is held, in the place that its buffer's number gives.
type part struct {
	n       uint32
	notDone bool // there was more in the socket
	next    uint16
}

// receive has the kernel receive for a connection whose owner has read all, or
// delivers what was received meanwhile.
func (l *Loop) receive(c *Conn, how uint32) {
	r := &c.ring
	r.asked = how & (wantOn | wantWord)
	if c.ready.Load()&(hungUp|broken|lateHungUp|lateBroken) != 0 {
		r.asked = 0 // see stopAtEnd
	}
	switch {
	case r.held.Load() > 0:
		l.runLater(l.deliver(c, l.pick(c)))
		return
	case r.lost != 0:
		errno := r.lost
		r.lost = 0
		l.runLater(l.deliverNone(c, errno))
		return
	case r.flying:
		return
	}
	e := l.request()
	if e == nil {
		c.want(l, how&(wantRecv|wantOn|wantWord))
		return
	}
	e.fd, e.userData = int32(c.fd), c.answerID()
	switch r.asked {
	case wantWord:
		e.opcode, e.opFlags = opPollAdd, syscall.EPOLLIN|syscall.EPOLLRDHUP
	case wantOn:
		e.opcode, e.flags, e.ioprio = opRecv, sqeBufferSelect, recvPollFirst|recvMultishot
	default:
		e.opcode, e.flags, e.ioprio = opRecv, sqeBufferSelect, recvPollFirst
	}
	r.flying, r.stopping, r.how, r.crew = true, false, r.asked, l.crew
}

// received notes what the kernel has received for a connection, or why nothing.
// It gives the task if the caller, who leads the loop, has to run it.
func (l *Loop) received(c *Conn, e cqe) *Task {
	r := &c.ring
	r.flying = e.flags&cqeMore != 0
	due := c.ready.Load()&armed != 0 && !r.lent && r.held.Load() == 0
	switch {
	case e.res <= 0:
		return l.receivedNone(c, syscall.Errno(-e.res), due)
	case e.flags&cqeBuffer == 0: // there is something to read
		return l.receivedNone(c, syscall.EAGAIN, due)
	case r.flying && (e.res == uringBufferSize || !due || r.crew != l.crew):
		l.stop(c)
	}
	id := uint16(e.flags >> cqeBufferShift)
	l.parts[id] = part{n: uint32(e.res), notDone: e.flags&cqeSocketNotDone != 0}
	if !due {
		l.keep(c, id)
		return nil
	}
	return l.deliver(c, id)
}

// receivedNone is for the end of a receive without bytes. An error of 0 is the end
// of what the peer sends.
func (l *Loop) receivedNone(c *Conn, errno syscall.Errno, due bool) *Task {
	r := &c.ring
	switch {
	case !due && passing(errno): // the next receive is told the same
		return nil
	case !due:
		r.lost = errno
		return nil
	case r.stopping && errno == syscall.ECANCELED:
		c.want(l, wantRecv|r.asked)
		return nil
	}
	return l.deliverNone(c, errno)
}

// passing says whether a receive has ended for no reason of the connection's, or
// for one that the next receive is told as well.
func passing(errno syscall.Errno) bool {
	switch errno {
	case 0, syscall.ENOBUFS, syscall.EAGAIN, syscall.EINTR, syscall.ECANCELED:
		return true
	}
	return false
}

// deliver gives the owner of a connection what was received into a buffer.
func (l *Loop) deliver(c *Conn, id uint16) *Task {
	r, p := &c.ring, &l.parts[id]
	r.id, r.lent = id, true
	r.rest = l.uring.buffer(id)[:p.n]
	r.follow = r.flying || r.held.Load() > 0 || r.lost != 0
	r.more = p.notDone && !r.follow
	return c.handOver(readable)
}

// deliverNone tells the owner of a connection why nothing more was received.
func (l *Loop) deliverNone(c *Conn, errno syscall.Errno) *Task {
	r, bits := &c.ring, readable
	r.follow = false
	switch {
	case errno == 0:
		bits |= hungUp
	case passing(errno):
		// Read tries by itself.
	default:
		r.failed = errno
		bits |= broken | hungUp | writable
	}
	return c.handOver(bits)
}

// handOver ends that the kernel receives, for the owner of the connection. It
// gives the task if the caller has to run it.
func (c *Conn) handOver(bits uint32) *Task {
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
			return c.nudge()
		}
	}
}

// keep holds an answer until its turn.
func (l *Loop) keep(c *Conn, id uint16) {
	r := &c.ring
	if r.held.Load() == 0 {
		r.first = id
	} else {
		l.parts[r.last].next = id
	}
	r.last = id
	r.held.Add(1)
}

// pick gives the oldest answer that is held. There must be one.
func (l *Loop) pick(c *Conn) uint16 {
	r := &c.ring
	id := r.first
	r.first = l.parts[id].next
	r.held.Add(-1)
	return id
}

// giveAll gives back every buffer that a connection has.
func (l *Loop) giveAll(c *Conn) {
	for c.ring.held.Load() > 0 {
		l.giveBuffer(l.pick(c))
	}
	l.giveLent(c)
}

// giveLent gives back the buffer whose bytes the owner has read.
func (l *Loop) giveLent(c *Conn) {
	if r := &c.ring; r.lent {
		r.lent = false
		l.giveBuffer(r.id)
	}
}

// stopAtEnd is for the event that a connection is over: a receive that goes on does
// not tell of a reset that had come when it dealt with the data before it. The next
// one does, which does not go on.
func (l *Loop) stopAtEnd(c *Conn) {
	if c.ring.flying && c.ring.how == wantOn {
		l.stop(c)
	}
}

// stop ends a receive that goes on: of its answers one with cqeMore unset is the
// last. Without room for the request the next answer tries again.
func (l *Loop) stop(c *Conn) {
	r := &c.ring
	if r.stopping {
		return
	}
	if e := l.request(); e != nil {
		e.opcode, e.flags, e.addr, e.userData = opAsyncCancel, sqeSkipSuccess, c.answerID(), aboutNothing
		r.stopping = true
	}
}

package evloop

import (
	"sync/atomic"
	"syscall"
)

// receiving is what the leader of a loop knows of what the kernel receives for a
// connection. A receive ends with its first answer, or goes on ("multishot") where
// short messages are expected: its answers are delivered one by one, each when the
// connection's owner has read all of the one before, and set aside meanwhile. Where long
// ones are, which no buffer holds, the kernel only says that there is something.
type receiving struct {
	lasting  bool   // the kernel goes on after an answer
	stopping bool   // but was told to end that
	lent     bool   // a buffer of the ring is in use
	id       uint16 // and which one

	// The owner may look at these two: the thread that has asked the kernel to
	// receive, 0 if it does not, below that once it was told to end; and how many
	// answers are set aside.
	thread, aside atomic.Int32
	first, last   uint16        // of them, linked through Loop.parts
	lost          syscall.Errno // an error after them, which the kernel tells of only once
}

// part is an answer with bytes, in the place that its buffer's number gives.
type part struct {
	n       uint32
	notDone bool // there was more in the socket
	next    uint16
}

// flying says whether the kernel receives.
func (r *receiving) flying() bool { return r.thread.Load() != 0 }

// flyingFor says whether it does, and tells the thread of that leader of all that
// has come before it tells of anything later. Another one hears of it when the thread
// that has asked enters the kernel, after it has used up its time slice maybe, or once
// it has one.
func (r *receiving) flyingFor(leader *lent) bool {
	return leader != nil && r.thread.Load() == leader.thread
}

// receive has the kernel receive for a connection whose owner has read all, or
// delivers what was received meanwhile.
func (l *Loop) receive(c *Conn, how uint32) {
	r := &c.ring
	switch {
	case r.aside.Load() > 0:
		l.runLater(l.deliver(c, l.nextAside(c)))
		return
	case r.lost != 0:
		errno := r.lost
		r.lost = 0
		l.runLater(l.deliverNone(c, errno))
		return
	case r.flying():
		return
	}
	e := l.request()
	if e == nil {
		c.want(l, how&(wantRecv|wantOn|wantWord))
		return
	}
	e.fd, e.userData = int32(c.fd), c.answerID()
	over := c.ready.Load()&(hungUp|broken|lateHungUp|lateBroken) != 0
	r.lasting, r.stopping = how&wantOn != 0 && !over, false // over: see stopLasting
	r.thread.Store(l.lent.thread)
	switch {
	case how&wantWord != 0:
		e.opcode, e.opFlags = opPollAdd, syscall.EPOLLIN|syscall.EPOLLRDHUP
	case r.lasting:
		e.opcode, e.flags, e.ioprio = opRecv, sqeBufferSelect, recvPollFirst|recvMultishot
	default:
		e.opcode, e.flags, e.ioprio = opRecv, sqeBufferSelect, recvPollFirst
	}
}

// received notes what the kernel has received for a connection, or why nothing.
// It gives the task if the caller, who leads the loop, has to run it.
func (l *Loop) received(c *Conn, e cqe) *Task {
	r := &c.ring
	if e.flags&cqeMore == 0 {
		r.thread.Store(0)
	}
	due := c.ready.Load()&armed != 0 && !r.lent && r.aside.Load() == 0
	switch {
	case e.res <= 0:
		return l.receivedNone(c, syscall.Errno(-e.res), due)
	case e.flags&cqeBuffer == 0: // there is something to read
		return l.receivedNone(c, syscall.EAGAIN, due)
	case r.flying() && (e.res == uringBufferSize || !due || !r.flyingFor(l.lent)):
		l.stop(c)
	}
	id := uint16(e.flags >> cqeBufferShift)
	l.parts[id] = part{n: uint32(e.res), notDone: e.flags&cqeSocketNotDone != 0}
	if !due {
		l.setAside(c, id)
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
		c.want(l, wantRecv) // once: the owner says how from the next on
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
	r.follow = r.flying() || r.aside.Load() > 0 || r.lost != 0
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

// setAside keeps an answer until its turn.
func (l *Loop) setAside(c *Conn, id uint16) {
	r := &c.ring
	if r.aside.Load() == 0 {
		r.first = id
	} else {
		l.parts[r.last].next = id
	}
	r.last = id
	r.aside.Add(1)
}

// nextAside gives the oldest answer that was set aside. There must be one.
func (l *Loop) nextAside(c *Conn) uint16 {
	r := &c.ring
	id := r.first
	r.first = l.parts[id].next
	r.aside.Add(-1)
	return id
}

// giveAll gives back every buffer that a connection has.
func (l *Loop) giveAll(c *Conn) {
	for c.ring.aside.Load() > 0 {
		l.giveBuffer(l.nextAside(c))
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

// stopLasting ends a receive if it goes on. That is called for where the connection
// is over, too: such a receive does not tell of a reset that had come when it dealt
// with the data before it. The next one does, which does not go on.
func (l *Loop) stopLasting(c *Conn) {
	if c.ring.flying() && c.ring.lasting {
		l.stop(c)
	}
}

// stop ends a receive: its last answer is one with cqeMore unset.
func (l *Loop) stop(c *Conn) {
	r := &c.ring
	if r.stopping {
		return
	}
	e := l.request()
	if e == nil {
		c.want(l, wantStop)
		return
	}
	e.opcode, e.flags, e.addr, e.userData = opAsyncCancel, sqeSkipSuccess, c.answerID(), aboutNothing
	r.stopping = true
	r.thread.Store(-l.lent.thread) // what comes from now on may be told of to nobody
}

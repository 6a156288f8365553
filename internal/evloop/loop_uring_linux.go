package evloop

import (
	"runtime"
	"syscall"
	"time"
)

// What an answer is about that is about no connection. Connections have their
// descriptor in the lower half, which is at least 3.
const (
	aboutEvents = iota // the epoll set has some
	aboutNothing
)

// openRing makes the loop receive by io_uring. All else stays with the epoll
// set, which the ring watches.
func (l *Loop) openRing() error {
	r, err := newUring()
	if err != nil {
		return err
	}
	l.uring = r
	return nil
}

// answer deals with the next of the answers of this look. False: there is none
// left. A task that is given has to be run.
func (l *Loop) answer() (t *Task, some bool) {
	if l.todo == 0 {
		return nil, false
	}
	if l.todo--; l.todo%betweenClocks == 0 && l.group.Now().Sub(l.Now()) > longestTurn {
		l.todo = 0 // after this one
	}
	e := l.uring.take()
	switch uint32(e.userData) {
	case aboutNothing, aboutSend: // the latter is settled
	case aboutEvents:
		l.watching = false
		n, errno := l.epollWait(0)
		// The only error possible is a signal; the ring looks again then.
		if l.at = 0; errno == 0 {
			l.n = n
		}
	default:
		c := l.group.table.find(int(uint32(e.userData)), uint32(e.userData>>32))
		if c != nil {
			return l.received(c, e), true
		}
		// Closed meanwhile.
		if e.flags&cqeBuffer != 0 {
			l.giveBuffer(uint16(e.flags >> cqeBufferShift))
		}
	}
	return nil, true
}

// How many answers are dealt with before the kernel is told of the sends that come
// of them, and for how long. Peers that are faster than the loop sleep between its
// turns, and to wake one is dear: the more is sent at once, the less often.
const (
	maxAnswers    = 128
	longestTurn   = 500 * time.Microsecond
	betweenClocks = 16 // answers, between two looks at the clock
)

func (l *Loop) giveBuffer(id uint16) {
	l.uring.give(id)
	l.given = true
}

// lookRing tells the kernel what connections want, and waits for its answers as
// enter does.
func (l *Loop) lookRing(how int, limit int64) error {
	r := l.uring
	old := r.answers()
	from := r.taken + old
	l.gather()
	if old > 0 || l.ready.first != nil {
		how = noWait
	}
	var err error
	switch {
	case how == rawWait:
		err = l.await()
	case how == knownWait || r.queued() > 0 || r.pending():
		err = r.enter(how, limit)
	}
	if err != nil {
		return err
	}
	l.settle(from)
	l.todo = min(r.answers(), maxAnswers)
	return nil
}

// gather makes requests of what connections want, in the order in which they began
// to, and first for those of SendFirst.
func (l *Loop) gather() {
	var urgent, others *Conn // out of the stack, but listed, so that nobody puts them there
	for c := l.wanting.Swap(nil); c != nil; {
		next, list := c.ring.next, &others
		if c.ring.urgent {
			list = &urgent
		}
		c.ring.next, *list = *list, c
		c = next
	}
	l.serveAll(urgent)
	l.serveAll(others)
	if !l.watching {
		if e := l.request(); e != nil {
			e.opcode, e.fd, e.opFlags, e.userData = opPollAdd, int32(l.fd), syscall.EPOLLIN, aboutEvents
			l.watching = true
		}
	}
	if l.given {
		l.given = false
		l.uring.publish()
	}
}

func (l *Loop) serveAll(c *Conn) {
	for c != nil {
		next := c.ring.next // it may be in the stack from here on
		l.serve(c, c.ring.wants.Swap(0))
		c = next
	}
}

// request gives an empty request; nil if the kernel takes no more before its
// answers are taken.
func (l *Loop) request() *sqe {
	if e := l.uring.next(); e != nil {
		return e
	}
	// An error shows at the look that follows.
	_ = l.uring.enter(noWait, 0)
	return l.uring.next()
}

// serve does what one connection wants.
func (l *Loop) serve(c *Conn, wants uint32) {
	if wants&wantClose != 0 {
		l.giveAll(c)
		l.end(c)
		return
	}
	if wants&wantGive != 0 {
		l.giveLent(c)
	}
	if wants&wantSend != 0 {
		l.send(c)
	}
	if wants&wantShut != 0 {
		l.shut(c)
	}
	if wants&wantStop != 0 {
		l.stopLasting(c)
	}
	if wants&wantRecv != 0 {
		l.receive(c, wants)
	}
}

// closeRing closes what is to be closed yet, and the ring. Nobody leads the loop
// any more.
func (l *Loop) closeRing() error {
	for c := l.wanting.Swap(nil); c != nil; c = c.ring.next {
		if c.ring.wants.Swap(0)&wantClose != 0 {
			l.leaveSlot(c)
			_ = l.partsWith(c)
			_ = syscall.Close(c.fd)
		}
	}
	return l.uring.close()
}

// leave is called by the goroutine that has resigned. The thread that has asked
// the kernel for everything so far should stay with the loop: the next leader
// was made ready on this processor, and runs here once this goroutine gives way.
func (l *Loop) leave() {
	if l.uring != nil {
		runtime.UnlockOSThread()
		runtime.Gosched()
	}
}

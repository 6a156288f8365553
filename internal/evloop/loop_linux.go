package evloop

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// maxEvents is how many events one look at the kernel gives.
const maxEvents = 256

// Loop waits for the events of its connections and runs their tasks. At any
// time one goroutine leads it; lead changes hands when a handler detaches.
type Loop struct {
	group *Group
	index int
	fd    int
	bell  int // an eventfd that wakes the loop
	alarm int // a timerfd that ends a hold

	// lead says which handler the loop is in, see leading. A new term begins by
	// changing it from there.
	lead atomic.Uint64
	// spawned says that a goroutine was made ready on this processor, which
	// should not wait for the loop to give it up.
	spawned atomic.Bool
	// returned is a stack of tasks that have yielded elsewhere.
	returned atomic.Pointer[Task]

	// The rest belongs to the leader.
	lent    *lent
	events  [maxEvents]syscall.EpollEvent
	at, n   int
	todo    uint32 // answers of the ring
	expired []*Task
	ready   readyList // tasks that have yielded
	due     bool      // the first of them runs after the events
	wheel   wheel
	alarmed bool   // the alarm is set
	turns   uint32 // how often a handler was run
	held    uint32 // turns when it was set
	jiffies jiffies

	uring    *uring // nil: all is done with epoll
	parts    [uringBuffers]part
	watching bool    // the ring watches the epoll set
	given    bool    // buffers, of which the kernel has not been told
	sends    []*Conn // of which is not known what has become of them
	pauses   pauses
	// wanting is a stack of connections that want something of the ring.
	wanting atomic.Pointer[Conn]

	// now is the time of the last look at the kernel.
	now atomic.Int64

	// until is how long the loop sleeps, 0 if it does not. Guarded by wheel.mu.
	until Time
}

func newLoop(g *Group, index int, ring bool) (*Loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &Loop{group: g, index: index, fd: fd, bell: -1, alarm: -1}
	if err := errors.Join(l.openSignals(), l.jiffies.open(g)); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if ring {
		if err := l.openRing(); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	l.now.Store(int64(g.Now()))
	l.wheel.init(l.Now())
	return l, nil
}

// openSignals makes the two descriptors that wake the loop apart from sockets.
func (l *Loop) openSignals() error {
	bell, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return fmt.Errorf("eventfd: %w", errno)
	}
	l.bell = int(bell)
	var err error
	if l.alarm, err = newAlarm(); err != nil {
		return err
	}
	if err := l.control(syscall.EPOLL_CTL_ADD, l.bell, 0, syscall.EPOLLIN); err != nil {
		return err
	}
	// Setting the alarm again makes it unready, so it need never be read.
	return l.control(syscall.EPOLL_CTL_ADD, l.alarm, 0, syscall.EPOLLIN|edge)
}

// Now is the time of the last events, on the group's clock: good enough for
// whoever runs inline, and cheaper than the clock itself. Safe for concurrent use.
func (l *Loop) Now() Time { return Time(l.now.Load()) }

// Index is the loop's place in Group.Loops.
func (l *Loop) Index() int { return l.index }

func (l *Loop) close() error {
	var err error
	if l.uring != nil {
		err = l.closeRing()
	}
	for _, fd := range [...]int{l.fd, l.bell, l.alarm, l.jiffies.alarms[0], l.jiffies.alarms[1]} {
		if fd >= 0 {
			err = errors.Join(err, syscall.Close(fd))
		}
	}
	if err != nil {
		return fmt.Errorf("close epoll: %w", err)
	}
	return nil
}

// run leads the loop for one term, which ends when the loop is stopped or a
// handler has detached. anew: nobody has left anything to lend.
func (l *Loop) run(term uint32, anew bool) {
	if anew {
		l.lent = l.newLent()
	}
	if l.uring != nil {
		// The kernel finishes what a thread has asked for on that thread, which
		// would be woken for it if another led the loop.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		l.lent.thread = int32(syscall.Gettid())
	}
	for {
		t, some := l.event()
		switch {
		case t != nil && !l.handle(t, term):
			return
		case some:
			continue
		case !l.runDue(term):
			return
		}
		if err := l.wait(); err != nil {
			if !l.group.closed.Load() && l.group.cfg.Failed != nil {
				l.group.cfg.Failed(err)
			}
			return
		}
		l.now.Store(int64(l.group.Now()))
		if !l.expire(term) {
			return
		}
	}
}

// event takes the next event of the last look at the kernel. False: there is
// none left. A task that is given has to be run.
func (l *Loop) event() (t *Task, some bool) {
	if l.at == l.n {
		return l.answer()
	}
	e := &l.events[l.at]
	l.at++
	switch int(e.Fd) {
	case l.bell:
		l.rung()
	case l.alarm:
		l.alarmed = false
	default:
		if c := l.group.table.find(int(e.Fd), uint32(e.Pad)); c != nil { // or closed meanwhile
			return l.happened(c, e.Events), true
		}
	}
	return nil, true
}

// leading makes a value of Loop.lead: the leader's term in the upper half, the
// number of the turn below, and in the lowest bit whether the leader is in a handler.
func leading(term, turn uint32) uint64 { return uint64(term)<<32 | uint64(turn<<1) }

// handle runs a task that is owned by the caller. False means that the loop has
// another leader now.
func (l *Loop) handle(t *Task, term uint32) bool {
	l.turns++
	free, lent := leading(term, l.turns), l.lent
	l.lead.Store(free | 1) // from here on the loop may be another's
	yielded := t.runInline(term, lent)
	leads := l.lead.CompareAndSwap(free|1, free)
	switch {
	case yielded && leads:
		l.ready.push(t)
	case yielded: // the queue is another's
		l.giveBack(t)
	}
	return leads
}

// expire runs the tasks whose deadlines have passed.
func (l *Loop) expire(term uint32) bool {
	now := Time(l.now.Load())
	if len(l.expired) == 0 && int64(now)>>tickShift == l.wheel.cursor {
		return true
	}
	l.expired = l.wheel.advance(now, l.expired)
	for len(l.expired) > 0 {
		last := len(l.expired) - 1
		t := l.expired[last]
		l.expired[last] = nil
		l.expired = l.expired[:last]
		if t.nudge() && !l.handle(t, term) {
			return false // the next leader goes on with the rest
		}
	}
	return true
}

// resign ends a term from within its handler.
func (l *Loop) resign(term uint32) {
	if lead := l.lead.Load(); uint32(lead>>32) == term {
		l.succeed(lead, false)
	}
}

// takeAway ends a term if its leader is in the handler that lead tells of.
func (l *Loop) takeAway(lead uint64) { l.succeed(lead, true) }

// succeed has a new goroutine lead on, if the leader is in that handler.
func (l *Loop) succeed(lead uint64, anew bool) {
	if term := uint32(lead>>32) + 1; inHandler(lead) && l.lead.CompareAndSwap(lead, leading(term, uint32(lead)>>1)) {
		l.spawned.Store(true)
		l.group.owned.Go(func() { l.run(term, anew) })
	}
}

// inHandler says whether the leader was in a handler.
func inHandler(lead uint64) bool { return lead&1 == 1 }

// wait returns when there are events, a deadline may have passed, or the loop
// is interrupted. An error ends the loop.
func (l *Loop) wait() error {
	l.at, l.n, l.todo = 0, 0, 0
	if l.group.closed.Load() {
		return ErrClosed
	}
	l.takeBack()
	l.due = l.ready.first != nil
	spawned := l.spawned.Load()
	holds := !spawned && (l.alarmed || l.hold())
	if spawned || l.due && !holds {
		l.yield()
	}
	switch {
	case l.due:
		return l.poll(0)
	case holds:
		l.jiffies.beforeWait(l.Now())
		return l.poll(forever)
	}
	return l.sleep()
}

// forever is a wait without a time limit.
const forever = ^uintptr(0)

// hold sets the alarm anew if something was handled since it was set last. It
// also yields then: after 10 ms the runtime would interrupt the goroutine with
// a signal, which costs more. False means that the loop has nothing to do.
func (l *Loop) hold() bool {
	if l.group.cfg.Hold <= 0 || l.turns == l.held {
		return false
	}
	l.held = l.turns
	l.yield()
	l.alarmed = setAlarm(l.alarm, Time(l.group.cfg.Hold), relative)
	return l.alarmed
}

// yield lets other goroutines run that are ready on this processor.
func (l *Loop) yield() {
	l.spawned.Store(false)
	runtime.Gosched()
}

// poll waits for events, the alarm among them. The runtime is not told, so that
// it does not take the processor away: with syscall.Syscall every wait of a
// quarter of a millisecond would cost a change of threads. There is no time
// limit, because the kernel would set its own timer at each wait; or a limit of
// 0, which only looks.
func (l *Loop) poll(limit uintptr) error {
	if l.uring != nil {
		how := rawWait
		if limit == 0 {
			how = noWait
		}
		return l.lookRing(how, 0)
	}
	return l.polled(l.epollWait(limit))
}

func (l *Loop) epollWait(limit uintptr) (n int, errno syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.fd),
		uintptr(unsafe.Pointer(&l.events)), maxEvents, limit, 0, 0)
	return int(r), errno
}

func (l *Loop) polled(n int, errno syscall.Errno) error {
	switch errno {
	case 0:
		l.n = n
	case syscall.EINTR: // the runtime wants this goroutine to stop for a moment
	default:
		return fmt.Errorf("epoll_wait: %w", errno)
	}
	return nil
}

// sleep waits for events or the next timer, and gives up the processor.
func (l *Loop) sleep() error {
	l.wheel.mu.Lock()
	l.until = l.wheel.next() // who arms an earlier timer from now on rings
	limit := time.Duration(-1)
	if l.until != never {
		limit = max(0, l.until.Sub(l.group.Now()))
	}
	l.wheel.mu.Unlock()
	err := l.sleepFor(limit)
	l.wheel.mu.Lock()
	l.until = 0
	l.wheel.mu.Unlock()
	return err
}

// sleepFor waits for events and at most so long, below 0 for ever.
func (l *Loop) sleepFor(limit time.Duration) error {
	if l.uring != nil {
		return l.lookRing(knownWait, int64(limit))
	}
	ms := -1
	if limit >= 0 {
		ms = int((limit + time.Millisecond - 1) / time.Millisecond)
	}
	n, _, errno := syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.fd),
		uintptr(unsafe.Pointer(&l.events)), maxEvents, uintptr(ms), 0, 0)
	return l.polled(int(n), errno)
}

// ring wakes the loop. Safe for concurrent use.
func (l *Loop) ring() {
	one := uint64(1)
	// A bell that cannot take more has been rung.
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.bell), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// rung makes the bell ready to be rung again.
func (l *Loop) rung() {
	var count uint64
	_, _, _ = syscall.RawSyscall(syscall.SYS_READ, uintptr(l.bell), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
}

// control changes what the kernel tells of a descriptor.
func (l *Loop) control(op, fd int, id, events uint32) error {
	e := syscall.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(id)}
	if err := syscall.EpollCtl(l.fd, op, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (l *Loop) arm(t *timer, at Time) {
	l.wheel.mu.Lock()
	defer l.wheel.mu.Unlock()
	l.wheel.arm(t, at)
	if l.until != 0 && at < l.until {
		l.ring()
	}
}

func (l *Loop) disarm(t *timer) {
	l.wheel.mu.Lock()
	defer l.wheel.mu.Unlock()
	l.wheel.remove(t)
}

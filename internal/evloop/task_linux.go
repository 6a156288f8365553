package evloop

import (
	"sync/atomic"
	"time"
)

// Handler is what a task does.
type Handler interface {
	// Run goes as far as it can without waiting and returns. It is called again
	// when an event of one of the task's connections has come since it was
	// called last, or the deadline has passed; it may be called without any of
	// that. No two calls for one task overlap.
	Run()
}

// Watcher is told of events while a task's own goroutine is busy elsewhere.
type Watcher interface {
	// Poked is called by a loop's goroutine and must neither wait nor touch
	// what belongs to the task's owner.
	Poked()
}

// The states of a task.
const (
	idle    uint32 = iota
	running        // someone is in Run
	poked          // running, and Run is to be called again
	parked         // running, and its goroutine waits in Wait
)

// Task is a sequence of steps that are driven by the events of connections:
// one exchange with its two sockets, say. At any time at most one goroutine
// owns it, and runs its handler: the loop's own one ("inline"), which must not
// wait, or after Detach a goroutine that may.
type Task struct {
	handler Handler
	loop    *Loop
	state   atomic.Uint32
	// inline says that the owner is the loop's goroutine, term which of its
	// terms; both belong to the owner.
	inline bool
	// yielded says that the handler has called Yield.
	yielded bool
	term    uint32
	lent    *lent         // of the leader, while inline
	next    *Task         // in the loop's queue
	wake    chan struct{} // made by the first Wait
	watch   atomic.Pointer[Watcher]

	deadline atomic.Int64
	timer    timer // in the loop's wheel
}

// Init makes a task ready. It must come before any connection is bound to it.
func (t *Task) Init(l *Loop, h Handler) {
	t.handler, t.loop = h, l
	t.timer.task = t
}

// Loop gives the loop that the task runs on.
func (t *Task) Loop() *Loop { return t.loop }

// Inline says whether the handler is running on the loop's own goroutine, and
// so must return where it would have to wait. For the owner only.
func (t *Task) Inline() bool { return t.inline }

// Detach makes the calling goroutine free to wait: another one goes on with the
// loop. It costs the start of a goroutine, or nothing if it was called before.
// For the owner only; the task is inline again at the next event.
func (t *Task) Detach() {
	if t.inline {
		t.inline, t.lent = false, nil
		t.loop.resign(t.term)
		t.loop.leave()
	}
}

// Yield has the handler run again soon, inline, once it has returned: after the
// events that have come by then, and after the tasks that have yielded before.
// A handler with much to do calls it after a part of that and returns, so that
// others have their turn. After Detach, too, the task comes back to the loop.
// For the owner only.
func (t *Task) Yield() { t.yielded = true }

// gaveWay says whether the handler has called Yield, and forgets it. The task
// stays owned: by the loop's queue, where the caller puts it.
func (t *Task) gaveWay() bool {
	yielded := t.yielded
	t.yielded = false
	return yielded
}

// Wait waits for an event of the task's connections, for Poke or for the
// deadline. For the owner, after Detach. Whoever waits checks again what it was
// waiting for: an event may have come before.
func (t *Task) Wait() {
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
	}
	if t.state.CompareAndSwap(running, parked) {
		<-t.wake
		return
	}
	t.state.Store(running) // it was poked
}

// Poke has the handler run soon. It never waits and is safe for concurrent use.
func (t *Task) Poke() {
	if t.nudge() {
		t.loop.group.owned.Go(t.run)
	}
}

// nudge marks that something has happened. True means that the task was idle
// and that the caller owns it now and has to run it.
func (t *Task) nudge() bool {
	for {
		switch s := t.state.Load(); s {
		case idle:
			if t.state.CompareAndSwap(idle, running) {
				return true
			}
		case parked:
			if t.state.CompareAndSwap(parked, running) {
				t.wake <- struct{}{} // there is room: one token for each parking
				t.loop.spawned.Store(true)
				return false
			}
		case running:
			if !t.state.CompareAndSwap(running, poked) {
				continue
			}
			t.tellWatcher()
			return false
		default:
			t.tellWatcher()
			return false
		}
	}
}

func (t *Task) tellWatcher() {
	if w := t.watch.Load(); w != nil {
		(*w).Poked()
	}
}

// Watch has w told of every event that comes while the owner does not wait in
// Wait; nil ends that. For the owner. What came before is not told.
func (t *Task) Watch(w *Watcher) { t.watch.Store(w) }

// run runs the handler until nothing has happened meanwhile. The caller owns
// the task, and does not any more when run returns.
func (t *Task) run() {
	for {
		t.handler.Run()
		t.inline, t.lent = false, nil // whoever owns it next says so itself
		if t.gaveWay() {
			t.loop.giveBack(t)
			return
		}
		if t.state.CompareAndSwap(running, idle) {
			return
		}
		t.state.Store(running)
	}
}

// release ends an ownership in which the handler did not run. What has happened
// meanwhile has its turn on the loop.
func (t *Task) release() {
	if !t.state.CompareAndSwap(running, idle) {
		t.loop.giveBack(t)
	}
}

// runInline is run on the loop's goroutine. True means that the handler has
// yielded: the caller still owns the task and has to queue it.
func (t *Task) runInline(term uint32, lent *lent) (yielded bool) {
	for {
		t.inline, t.term, t.lent = true, term, lent
		t.handler.Run()
		detached := !t.inline
		t.inline, t.lent = false, nil
		if t.gaveWay() {
			return true
		}
		if t.state.CompareAndSwap(running, idle) {
			return false
		}
		t.state.Store(running)
		if detached {
			t.run()
			return false
		}
	}
}

// SetDeadline has the handler run, or Wait return, once the time has come, on
// the loop's clock and some milliseconds late; 0 is never. Moving a deadline
// further away costs a store. For the owner.
func (t *Task) SetDeadline(at Time) {
	t.deadline.Store(int64(at))
	if at != 0 && !t.timer.before(at) {
		t.loop.arm(&t.timer, at)
	}
}

// Expired says whether the deadline has passed.
func (t *Task) Expired() bool {
	at := Time(t.deadline.Load())
	return at != 0 && at <= t.Now()
}

// Now is the time on the group's clock: that of the event for which the handler
// runs inline, the present otherwise. For the owner.
func (t *Task) Now() Time {
	if t.inline {
		return t.loop.Now()
	}
	return t.loop.group.Now()
}

// Retire takes the task out of the loop's timers. Its connections have to be
// closed or bound to another task; the handler may still be called, once.
func (t *Task) Retire() {
	t.deadline.Store(0)
	t.loop.disarm(&t.timer)
}

// Time is an instant on a group's clock, in nanoseconds since a moment shortly
// before the group was made; 0 is no instant.
type Time int64

// Add gives an instant later by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub gives the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

package evloop

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// The wheel has two rings: slots of about 4 ms for the next second, and slots
// of about a second for the next four minutes. What lies further ahead goes
// into the last slot and is filed again from there.
const (
	tickShift = 22                    // a fine slot is 2^22 ns
	ringBits  = 8                     // slots of a ring
	ringSize  = 1 << ringBits         //
	ringMask  = ringSize - 1          //
	never     = Time(math.MaxInt64)   //
	farTicks  = ringSize*ringSize - 1 // ticks that the coarse ring reaches
)

// timer is a task's place in the wheel. Its time may be earlier than the
// task's deadline: most deadlines are moved on before they come, and then the
// timer is filed again when its own time has come, not at each move.
type timer struct {
	task       *Task
	at         atomic.Int64 // 0: not in the wheel
	next, prev *timer
	list       *timerList
}

// before says whether the timer will be looked at no later than at.
func (t *timer) before(at Time) bool {
	own := t.at.Load()
	return own != 0 && Time(own) <= at
}

// timerList is one slot.
type timerList struct {
	first *timer
	ring  *ring
	index int
}

type ring struct {
	slots  [ringSize]timerList
	filled [ringSize / 64]uint64
}

// wheel keeps the timers of one loop. Arming is safe for concurrent use.
type wheel struct {
	mu     sync.Mutex
	cursor int64 // ticks that have been dealt with
	count  int
	fine   ring
	coarse ring
}

func (w *wheel) init(now Time) {
	w.cursor = int64(now) >> tickShift
	for _, r := range []*ring{&w.fine, &w.coarse} {
		for i := range r.slots {
			r.slots[i].ring, r.slots[i].index = r, i
		}
	}
}

// arm files a timer for a time; the lock is held.
func (w *wheel) arm(t *timer, at Time) {
	w.remove(t)
	t.at.Store(int64(at))
	// Rounded up: a deadline never strikes early.
	tick := max(int64(at)>>tickShift+1, w.cursor+1)
	ahead := tick - w.cursor
	switch {
	case ahead < ringSize:
		w.fine.slots[tick&ringMask].add(t)
	case ahead <= farTicks-ringSize:
		w.coarse.slots[tick>>ringBits&ringMask].add(t)
	default:
		w.coarse.slots[(w.cursor+farTicks-ringSize)>>ringBits&ringMask].add(t)
	}
	w.count++
}

// remove takes a timer out, if it is in; the lock is held.
func (w *wheel) remove(t *timer) {
	if t.list != nil {
		t.list.remove(t)
		t.at.Store(0)
		w.count--
	}
}

func (l *timerList) add(t *timer) {
	t.list, t.prev, t.next = l, nil, l.first
	if l.first != nil {
		l.first.prev = t
	}
	l.first = t
	l.ring.filled[l.index/64] |= 1 << (l.index % 64)
}

func (l *timerList) remove(t *timer) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if l.first == nil {
		l.ring.filled[l.index/64] &^= 1 << (l.index % 64)
	}
	t.list, t.next, t.prev = nil, nil, nil
}

// advance takes the tasks out whose deadlines have passed, in no order, and
// files those anew whose deadline was moved.
func (w *wheel) advance(now Time, expired []*Task) []*Task {
	tick := int64(now) >> tickShift
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		w.cursor = max(w.cursor, tick)
		return expired
	}
	for w.cursor < tick {
		w.cursor++
		if w.cursor&ringMask == 0 {
			expired = w.empty(&w.coarse.slots[w.cursor>>ringBits&ringMask], now, expired)
		}
		expired = w.empty(&w.fine.slots[w.cursor&ringMask], now, expired)
	}
	return expired
}

func (w *wheel) empty(l *timerList, now Time, expired []*Task) []*Task {
	for l.first != nil {
		t := l.first
		w.remove(t)
		switch deadline := Time(t.task.deadline.Load()); {
		case deadline == 0:
		case deadline <= now:
			expired = append(expired, t.task)
		default:
			w.arm(t, deadline)
		}
	}
	return expired
}

// next gives the time of the next slot that holds something, never if none does.
func (w *wheel) next() Time {
	if w.count == 0 {
		return never
	}
	next := never
	if ahead, ok := w.fine.ahead(int(w.cursor+1) & ringMask); ok {
		next = Time(w.cursor+1+int64(ahead)) << tickShift
	}
	// What is in the coarse ring may be due before what is in the fine one.
	coarse := w.cursor >> ringBits
	if ahead, ok := w.coarse.ahead(int(coarse+1) & ringMask); ok {
		next = min(next, Time((coarse+1+int64(ahead))<<ringBits)<<tickShift)
	}
	return next
}

// ahead says how many slots after a slot the next filled one is.
func (r *ring) ahead(from int) (int, bool) {
	for i := range len(r.filled) + 1 {
		word := (from/64 + i) % len(r.filled)
		set := r.filled[word]
		if i == 0 {
			set &= math.MaxUint64 << (from % 64)
		} else if i == len(r.filled) {
			set &= 1<<(from%64) - 1
		}
		if set != 0 {
			return (word*64 + bits.TrailingZeros64(set) - from + ringSize) & ringMask, true
		}
	}
	return 0, false
}

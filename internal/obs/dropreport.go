package obs

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// dropReport tells in the error log how many lines were dropped, at most once a
// minute. It has a timer of its own, since the writer may hang, and the timer
// runs only after a drop.
type dropReport struct {
	lines *Lines
	timer *time.Timer
	// pending says that a report is on its way; who sets it starts the timer.
	pending atomic.Bool

	mu    sync.Mutex // held while telling
	told  uint64     // drops that have been told
	last  time.Time  // when; also read by who sets pending
	ended bool
}

func (r *dropReport) init(l *Lines) {
	r.lines = l
	r.timer = time.AfterFunc(time.Hour, r.fire)
	r.timer.Stop()
}

// schedule has the drops told soon. It never waits.
func (r *dropReport) schedule() {
	if r.pending.Load() || !r.pending.CompareAndSwap(false, true) {
		return
	}
	wait := firstReport
	if !r.last.IsZero() {
		wait = max(wait, reportEvery-time.Since(r.last))
	}
	r.timer.Reset(wait)
}

func (r *dropReport) fire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.tell()
	r.last = time.Now()
	r.pending.Store(false)
	if r.lines.Dropped() != r.told { // dropped while pending was still set
		r.schedule()
	}
}

func (r *dropReport) tell() {
	total := r.lines.Dropped()
	if n := total - r.told; n > 0 {
		r.told = total
		r.lines.log.Warn(r.lines.name+": lines were dropped", zap.Uint64("lines", n), zap.Uint64("since_start", total))
	}
}

// end tells what has not been told, and nothing afterwards.
func (r *dropReport) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.timer.Stop()
	r.tell()
}

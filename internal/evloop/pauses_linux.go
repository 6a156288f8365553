package evloop

import "time"

// To sleep in the kernel and to be woken costs the loop some microseconds, and who
// wakes it as much again. A loop that is faster than its peers would pay that for
// every event: it sleeps, so that each event wakes it, which makes the peers slower,
// so that it sleeps. So where pauses are short, the loop looks out for that long
// before it sleeps: what that costs, if nothing comes, is about what it would have saved.
const (
	lookOut = 20 * time.Microsecond
	// shortSleep is a sleep that looking out would have spared: waking up is part of it.
	shortSleep = lookOut + 10*time.Microsecond
)

// pauses is what is known of how long the loop has nothing to do.
type pauses struct {
	// short is the share of short ones among the last, where allShort is all.
	short int
}

const (
	allShort  = 1 << 10
	mostShort = allShort * 3 / 4
	// weight of the last one is one in this.
	pauseWeight = 16
)

// were notes a pause.
func (p *pauses) were(short bool) {
	target := 0
	if short {
		target = allShort
	}
	p.short += (target - p.short) / pauseWeight
}

// areShort says whether to look out.
func (p *pauses) areShort() bool { return p.short >= mostShort }

// await tells the kernel of the requests, and waits for an answer without a limit.
func (l *Loop) await() error {
	r := l.uring
	if l.pauses.areShort() {
		if err := r.enter(noWait, 0); err != nil || r.answers() > 0 {
			return err
		}
		for begin := l.group.Now(); l.group.Now().Sub(begin) < lookOut; {
			if r.answers() > 0 || r.pending() {
				l.pauses.were(true)
				return r.enter(noWait, 0)
			}
		}
		l.pauses.were(false)
		return r.enter(rawWait, 0)
	}
	begin := l.group.Now()
	err := r.enter(rawWait, 0)
	l.pauses.were(l.group.Now().Sub(begin) < shortSleep)
	return err
}

package escrow

import "sync/atomic"

// Times are microseconds, as in package ledger: of the cluster's clock, or where
// a parameter is called mono, of this process's own monotonic one.

// drift is how far the leader's clock, which is slewed by 100 at most, and another
// honest one may run apart, in parts of a million.
const drift = 300

// maxDrift is how much of the doubt may come from not having heard of the time,
// to either side: half a minute's worth. A node that has not for longer may be
// wrong about the time, but must not wait at every boundary for ever. What it
// admits is counted all the same.
const maxDrift = 10 * millisecond

// Clock knows the cluster's time as an interval: the true one lies in it as long
// as clocks drift no more than 300 parts of a million, and a leader was asked
// within half a minute. Methods are safe for concurrent use; At waits for nobody.
type Clock struct {
	reading atomic.Pointer[Reading]
	began   atomic.Int64 // Hi when this process first knew the time
}

// Reading is what was known at one moment of the own clock. A later process with
// the same clock may go on with it.
type Reading struct {
	Mono, Lo, Hi int64
	// leapt is how far the cluster's time has leapt ahead, in all, of what it could
	// have been: a new leader's may.
	leapt int64
}

// Instant is a time of the cluster's clock, as far as it is known.
type Instant struct {
	Lo, Hi int64
	// Own is the same moment of the own clock, which leaps ahead with the cluster's:
	// what is to end before a time of that does, whoever the leader is by then.
	Own int64
}

// At returns the cluster's time at a moment of the own clock, false if nothing
// is known of it yet. Lo never falls.
func (c *Clock) At(mono int64) (Instant, bool) {
	r := c.reading.Load()
	if r == nil {
		return Instant{}, false
	}
	return r.at(mono), true
}

func (r *Reading) at(mono int64) Instant {
	passed := max(0, mono-r.Mono)
	doubt := min(off(passed), maxDrift)
	return Instant{Lo: r.Lo + passed - doubt, Hi: r.Hi + passed + doubt, Own: r.Mono + passed + r.leapt}
}

// off is how far two clocks may run apart in a time, rounded up.
func off(passed int64) int64 { return (passed*drift + 999_999) / 1_000_000 }

// Reading returns the last one, false if there is none.
func (c *Clock) Reading() (Reading, bool) {
	r := c.reading.Load()
	if r == nil {
		return Reading{}, false
	}
	return *r, true
}

// Resume goes on with an earlier process's reading, at a moment of the clock they
// have in common. It does nothing if the time is known already.
func (c *Clock) Resume(mono int64, r Reading) {
	if r.Mono <= mono && r.Lo <= r.Hi && c.reading.CompareAndSwap(nil, &r) {
		c.began.CompareAndSwap(0, r.at(mono).Hi)
	}
}

// Sync takes over a round trip to the leader: asked at sent and answered at
// arrived of the own clock, with the leader's time in between.
func (c *Clock) Sync(sent, arrived, leader int64) {
	passed := max(0, arrived-sent)
	c.narrow(arrived, leader, leader+passed+off(passed))
}

// Saw takes note of an entry that was applied at a moment: it is at least so
// late.
func (c *Clock) Saw(mono, stamp int64) {
	if now, ok := c.At(mono); ok && stamp > now.Lo {
		c.narrow(mono, stamp, max(now.Hi, stamp))
	}
}

// narrow makes an interval of what was known and of what is new.
func (c *Clock) narrow(mono, lo, hi int64) {
	for {
		old := c.reading.Load()
		next := &Reading{Mono: mono, Lo: lo, Hi: hi}
		if old != nil {
			if mono < old.Mono { // somebody was faster
				next.Mono, next.Lo, next.Hi = old.Mono, lo+old.Mono-mono, hi+old.Mono-mono
			}
			was := old.at(next.Mono)
			// Another leader's clock may be ahead of what the old one's could be,
			// but time never goes back.
			next.Lo = max(next.Lo, was.Lo)
			next.leapt = old.leapt + max(0, next.Lo-was.Hi)
			if next.Hi = max(next.Hi, next.Lo); was.Hi >= next.Lo {
				next.Hi = min(next.Hi, was.Hi)
			}
		}
		if c.reading.CompareAndSwap(old, next) {
			c.began.CompareAndSwap(0, next.Hi)
			return
		}
	}
}

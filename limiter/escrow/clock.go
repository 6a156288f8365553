package escrow

import "sync/atomic"

// Times are microseconds, as in package ledger: of the cluster's clock, or where
// a parameter is called mono, of this process's own monotonic one.

// drift is how far the leader's clock, which is slewed by 100 at most, and another
// honest one may run apart, in parts of a million.
const drift = 300

// Clock knows the cluster's time as an interval: the true one lies in it as long
// as clocks drift no more than 300 parts of a million. Methods are safe for
// concurrent use; At waits for nobody.
type Clock struct{ reading atomic.Pointer[reading] }

// reading is what was known at one moment.
type reading struct{ mono, lo, hi int64 }

// Instant is a time of the cluster's clock, as far as it is known.
type Instant struct{ Lo, Hi int64 }

// At returns the cluster's time at a moment of the own clock, false if nothing
// is known of it yet. Lo never falls.
func (c *Clock) At(mono int64) (Instant, bool) {
	r := c.reading.Load()
	if r == nil {
		return Instant{}, false
	}
	return r.at(mono), true
}

func (r *reading) at(mono int64) Instant {
	passed := max(0, mono-r.mono)
	off := passed * drift / 1_000_000
	return Instant{r.lo + passed - off, r.hi + passed + off}
}

// Sync takes over a round trip to the leader: asked at sent and answered at
// arrived of the own clock, with the leader's time in between.
func (c *Clock) Sync(sent, arrived, leader int64) {
	c.narrow(arrived, leader, leader+max(0, arrived-sent))
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
		next := &reading{mono, lo, hi}
		if old != nil {
			was := old.at(mono)
			if mono < old.mono { // somebody was faster
				next.mono, next.lo, next.hi = old.mono, lo+old.mono-mono, hi+old.mono-mono
				was = Instant{old.lo, old.hi}
			}
			// Another leader's clock may be ahead of what the old one's could be,
			// but time never goes back.
			next.lo = max(next.lo, was.Lo)
			if next.hi = max(next.hi, next.lo); was.Hi >= next.lo {
				next.hi = min(next.hi, was.Hi)
			}
		}
		if c.reading.CompareAndSwap(old, next) {
			return
		}
	}
}

package limiter

import "sync/atomic"

// maxAhead is how far in front of the cluster's clock a node's may be before
// the node stops believing its own, in microseconds.
const maxAhead = 30 * second

// clock chooses the time by which a node picks windows: its own, but never
// before a stamp of the log. So a node whose clock is late follows the cluster.
// Safe for concurrent use; the zero value is ready.
type clock struct {
	stamp atomic.Int64 // latest stamp seen
	lag   atomic.Int64 // what is taken off a local clock found to be wrong
}

// at returns the time to use when the local clock shows local.
func (c *clock) at(local int64) int64 {
	return max(local-c.lag.Load(), c.stamp.Load())
}

// saw takes note of a stamp of the log.
func (c *clock) saw(stamp int64) {
	for {
		old := c.stamp.Load()
		if stamp <= old || c.stamp.CompareAndSwap(old, stamp) {
			return
		}
	}
}

// distrust is called when the ledger has refused a window as too far ahead at
// the time stamp: the local clock is early by far more than an honest error.
func (c *clock) distrust(local, stamp int64) {
	if local-stamp > maxAhead {
		c.lag.Store(local - stamp)
	}
}

// trust undoes distrust. It is called when a window was refused as expired, so
// that a clock that has been set right is believed again.
func (c *clock) trust() { c.lag.Store(0) }

package escrow

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// view is what the log has said, and what this process is in it. It is replaced,
// never changed.
type view struct {
	stamp   int64 // of the newest entry; 0: none seen yet
	rosters *ledger.Rosters
	member  ledger.Member
	// earlier are incarnations whose cells are this process's: it was fenced
	// under them, or a process before it was, and shares of windows that had
	// their rosters by then are still its own.
	earlier []uint64
	joined  bool // member has been seen in a roster
	// left are the last members that have left by themselves.
	left []ledger.Member
	// leaderless says that there has been no leader for a while.
	leaderless bool
}

// in says whether the member is in the last roster.
func (v *view) in(m ledger.Member) bool {
	for _, o := range v.rosters.Last().Members {
		if o == m {
			return true
		}
	}
	return false
}

// maxEarlier is how many earlier incarnations count.
const maxEarlier = 4

// renew gives the process another incarnation.
func (v *view) renew(incarnation uint64) {
	v.earlier = append(slices.Clone(v.earlier[max(0, len(v.earlier)+1-maxEarlier):]), v.member.Incarnation)
	v.member.Incarnation = incarnation
	v.joined = false
}

// heir is the member whose share of a window this process may take: itself, or
// an incarnation it is the heir of.
func (v *view) heir(d ledger.Division) (ledger.Member, bool) {
	for _, m := range d.Members {
		if m == v.member || m.Node == v.member.Node && slices.Contains(v.earlier, m.Incarnation) {
			return m, true
		}
	}
	return v.member, false
}

// division is how a window's budget is divided, as far as this node may act on
// it now. False means that it is not known yet; gone, that it will not be as
// long as there is no leader, and l does not tolerate that.
func (c *Core) division(p window.Period, from int64, l ledger.Limit) (d ledger.Division, known, gone bool) {
	v := c.view.Load()
	switch {
	case p.IsLocal():
		return d, true, false
	case v.stamp != 0 && !v.rosters.Resting() && c.rules.fresh(v.stamp, from):
		d = v.rosters.Of(from)
		if p.IsSliding() && !ledger.NeedsLog(p) {
			// Nobody has a share of a cluster's first slices, nor of those before the
			// limit counts. The next ones have.
			return d, len(d.Members) > 0 && from >= c.rules.since(v, l.Since), false
		}
		return d, len(d.Members) > 0 || !p.IsBucket(), false
	case !v.leaderless:
		return d, false, false
	case !l.Tolerant || ledger.NeedsLog(p):
		return d, false, true
	}
	return v.rosters.Last(), true, false
}

// SetLeaderless says whether the log has had no leader for so long that windows
// begin about which nothing can be known.
func (c *Core) SetLeaderless(leaderless bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.view.Load(); v.leaderless != leaderless {
		next := *v
		next.leaderless = leaderless
		c.view.Store(&next)
	}
}

// Restore tells a new Core what the ledger of this node knows. Outcomes may be
// observed already: known is asked while none is. What the process before has
// seen of the log may be more than the ledger knows after a restart.
func (c *Core) Restore(known func() (stamp int64, rosters *ledger.Rosters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := *c.view.Load()
	if stamp, rosters := known(); stamp >= next.stamp {
		next.stamp, next.rosters = stamp, rosters
	}
	next.joined = next.in(next.member)
	c.view.Store(&next)
}

// Member returns the node and its present incarnation.
func (c *Core) Member() ledger.Member { return c.view.Load().member }

// Heritage is what a process leaves to the next one besides its cells and its
// reading of the time: whose the cells are, and what it has seen of the log.
type Heritage struct {
	Incarnation uint64
	Earlier     []uint64
	Stamp       int64
	Rosters     *ledger.Rosters
}

// Heritage returns what this process would leave now.
func (c *Core) Heritage() Heritage {
	v := c.view.Load()
	return Heritage{Incarnation: v.member.Incarnation, Earlier: v.earlier, Stamp: v.stamp, Rosters: v.rosters}
}

package ledger

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/window"
)

// Roster is who has a share of windows from a time on.
type Roster struct {
	Since   int64    // the stamp of the change that made it
	Members []Member // by node
}

// From is when windows begin to be divided among the members.
func (r *Roster) From() int64 { return ceil(r.Since)*Second + Delay }

// Gap is a time without ticks that lasted longer than Delay: windows that began
// in it were divided whole among the members of before, because those could not
// learn anything else.
type Gap struct {
	// A window that starts after After and not after Until began in the gap.
	After, Until int64
	Members      []Member
}

// Rosters says who has which share of which window. It is never changed: a
// ledger makes a new one.
type Rosters struct {
	// History has every roster that may still be asked for, the oldest first,
	// and Gaps those of the last year.
	History []Roster
	Gaps    []Gap
	// RestAt is the stamp of the last entry that said that there is no limit and
	// that no entry may follow, WokeAt of the next one; 0 if there was none.
	RestAt, WokeAt int64
}

// Resting says that the newest entry is to be the last for a while. For a limit
// that is configured in a rest, another entry is waited for: nobody is admitted
// before.
func (r *Rosters) Resting() bool { return r.RestAt > r.WokeAt }

// Awake returns a time before which nobody was admitted, if nothing was before
// the newest entry of a time. Of a limit that came in the last rest, that is the
// end of the rest.
func (r *Rosters) Awake(since int64) int64 {
	if since > 0 && since == r.RestAt {
		return max(since, r.WokeAt)
	}
	return since
}

// Division is how a window's budget is divided beforehand.
type Division struct {
	Members []Member // by node; empty: all is in the pool
	// Whole says that the pool has no part.
	Whole bool
}

// Of returns how windows that start at a time are divided. It is final once an
// entry is applied that is Fresh for them. All of a second's are divided alike.
func (r *Rosters) Of(from int64) Division {
	at := from / Second * Second
	for _, g := range slices.Backward(r.Gaps) {
		if g.After < at && at <= g.Until {
			return Division{Members: g.Members, Whole: true}
		}
	}
	for _, h := range slices.Backward(r.History) {
		if h.Since <= at-Delay {
			return Division{Members: h.Members}
		}
	}
	return Division{}
}

// Last is the division of windows that begin in a gap that has not ended.
func (r *Rosters) Last() Division {
	if len(r.History) == 0 {
		return Division{Whole: true}
	}
	return Division{Members: r.History[len(r.History)-1].Members, Whole: true}
}

// Fresh says whether who has applied an entry of the stamp has seen every change
// that decides about windows that start at a time.
func Fresh(stamp, from int64) bool { return stamp >= from/Second*Second-Delay }

// The sizes of budgets up to which nothing of a minute's is left to the pool.
const (
	smallShare = 32 // tokens a node
	homeShare  = 4  // tokens a node that has a share of a very small budget
	fewMembers = 5  // so many have shares of even the smallest budget
)

// Births is how much of a window's budget of limit tokens is divided among the
// members; the pool has the rest. It never falls when limit rises, and neither
// does the rest: so nodes and ledger may change to a new limit one after the
// other.
func (d Division) Births(p window.Period, limit int64) int64 {
	n := int64(len(d.Members))
	switch {
	case NeedsLog(p):
		return 0
	case p.IsSliding(), p.IsBucket():
		return limit // also if there is nobody: what the pool grants is not known to the shares later
	case n == 0:
		return 0
	case d.Whole || p.Seconds() <= 2:
		return limit
	case p.Seconds() > 60:
		return 0
	case limit < smallShare*n:
		return limit
	}
	return max(smallShare*n, limit/10)
}

// NeedsLog says that all tokens of the period's windows are the log's to grant,
// also when it is silent: gaps are not remembered for as long as such windows
// may last.
func NeedsLog(p window.Period) bool {
	return p >= window.Periods && p.Seconds() > 60 && !p.IsBucket()
}

// Share is m's part of Births: all parts add up to it. Who gets what cannot be
// divided depends on the key.
func (d Division) Share(m Member, b Budget, limit int64) int64 {
	rank := slices.Index(d.Members, m)
	if rank < 0 {
		return 0
	}
	n := int64(len(d.Members))
	place := (int64(rank) + int64(b.Key.Lo%uint64(n))) % n
	births := d.Births(b.Period, limit)
	if n > fewMembers && births < homeShare*n {
		// Shares of one token each would make nearly every request ask others.
		return min(homeShare, max(0, births-homeShare*place))
	}
	return (births - place + n - 1) / n
}

// Pool is what is left of a budget of limit tokens for the ledger to grant.
func (d Division) Pool(p window.Period, limit int64) int64 { return limit - d.Births(p, limit) }

// Least is what every member's Share is at least, whatever the key.
func (d Division) Least(p window.Period, limit int64) int64 {
	n := int64(len(d.Members))
	births := d.Births(p, limit)
	if n == 0 || n > fewMembers && births < homeShare*n {
		return 0
	}
	return births / n
}

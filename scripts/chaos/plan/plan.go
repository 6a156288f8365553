// Package plan makes the faults of a chaos run out of a seed: the same seed gives
// the same plan. What it leaves open is who leads when a leader is wanted, and how
// requests and packets happen to fall.
package plan

import (
	"math/rand/v2"
	"time"
)

// Kind is a sort of fault.
type Kind string

// The kinds. Those of the network need namespaces.
const (
	Cut    Kind = "cut"     // some nodes cannot speak with the others
	OneWay Kind = "one-way" // a node cannot be heard, or hears nothing
	Lossy  Kind = "lossy"   // packets are lost and doubled
	Slow   Kind = "slow"    // packets are late, and overtake each other
	Stop   Kind = "stop"    // SIGSTOP, SIGCONT
	Kill   Kind = "kill"    // kill -9 and restart, with the cells
	Lose   Kind = "lose"    // kill -9 and restart without the cells, as a lost machine
	All    Kind = "all"     // kill -9 of all nodes at once
	Term   Kind = "term"    // SIGTERM and restart
	Join   Kind = "join"    // a further node comes, and leaves
	Clock  Kind = "clock"   // a node's wall clock is set
	Limits Kind = "limits"  // a limit is changed, and changed back
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{Cut, OneWay, Lossy, Slow, Stop, Kill, Lose, All, Term, Join, Clock, Limits}
}

// Network says that a kind needs the network in hand.
func (k Kind) Network() bool { return k == Cut || k == OneWay || k == Lossy || k == Slow }

// Fault is one fault.
type Fault struct {
	At, For time.Duration
	Kind    Kind
	// Leader aims it at the leader, else at the node that Pick chooses: Pick is
	// any number, to be taken modulo how many there are.
	Leader bool
	Pick   int
	// Part is a number from 0 to 1 for what kinds differ in, Flag another such
	// choice.
	Part float64
	Flag bool
}

const (
	quietStart = 5 * time.Second // before the first fault
	quietEnd   = 4 * time.Second // after the last one
)

// Make plans so long a time with faults of the kinds. They come one after the
// other, sometimes two at once, with quiet times between them, some of which are
// long enough for windows in which nothing was wrong.
func Make(seed uint64, length time.Duration, kinds []Kind) []Fault {
	if len(kinds) == 0 {
		return nil
	}
	r := rand.New(rand.NewPCG(seed, 1))
	var plan []Fault
	for at := quietStart; ; {
		f := one(r, kinds)
		f.At = at
		if at+f.For+quietEnd > length {
			return plan
		}
		plan = append(plan, f)
		end := at + f.For
		if r.Float64() < 0.3 {
			g := one(r, kinds)
			g.At = at + between(r, 0, f.For)
			if g.At+g.For+quietEnd <= length && g.Kind != f.Kind {
				plan = append(plan, g)
				end = max(end, g.At+g.For)
			}
		}
		if r.Float64() < 0.5 {
			at = end + between(r, 500*time.Millisecond, 3*time.Second)
		} else {
			at = end + between(r, 9*time.Second, 15*time.Second)
		}
	}
}

func one(r *rand.Rand, kinds []Kind) Fault {
	f := Fault{Kind: kinds[r.IntN(len(kinds))], Leader: r.Float64() < 0.4, Pick: r.IntN(1 << 20), Part: r.Float64(), Flag: r.IntN(2) == 0}
	long := r.IntN(2) == 0
	switch f.Kind {
	case Cut, OneWay, Stop:
		// Longer than the limiter's delay of 3 s, after which nodes are fenced, or not.
		if long {
			f.For = between(r, 3500*time.Millisecond, 12*time.Second)
		} else {
			f.For = between(r, 200*time.Millisecond, 2*time.Second)
		}
	case Kill, Lose, All:
		if long {
			f.For = between(r, 3500*time.Millisecond, 6*time.Second)
		} else {
			f.For = between(r, 0, time.Second)
		}
	case Term:
		f.For = between(r, 0, 2*time.Second)
	case Join:
		f.For = between(r, 6*time.Second, 14*time.Second)
	default:
		f.For = between(r, 2*time.Second, 8*time.Second)
	}
	return f
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(r.Int64N(int64(high-low)))
}

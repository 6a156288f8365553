package escrow

import (
	"sync/atomic"

	"github.com/sluicegate/sluice/limiter/cells"
)

// counters count what goes beyond taking a token that is here. Taking one counts
// nothing: the cells tell what was spent.
type counters struct {
	asked, served, poolAsked      atomic.Uint64
	got, gave, granted            atomic.Uint64
	waited, vain, noRoom, overrun atomic.Uint64
	closed, unfounded             atomic.Uint64
}

// Stats are a node's numbers for metrics, since the process began but for those
// of now.
type Stats struct {
	// TransfersAsked counts what this node has asked other nodes for,
	// TransfersServed what they have asked it for.
	TransfersAsked, TransfersServed uint64
	// TokensReceived and TokensGiven went from node to node, TokensGranted came
	// from pools, which were asked PoolAsks times.
	TokensReceived, TokensGiven, TokensGranted uint64
	PoolAsks                                   uint64
	// Waited counts the requests that had to wait for a token, Vain those of them
	// that gave up.
	Waited, Vain uint64
	// Closed counts windows that this node has learned to be used up.
	Closed uint64
	// Overflow counts admissions of keys that the table had no room for, NoRoom
	// how often one had none.
	Overflow, NoRoom uint64
	// DegradedShares counts the shares taken without a quorum.
	DegradedShares uint64

	// Waiting is how many requests wait now. Uncertainty is how well the cluster's
	// time is known now, in microseconds; 0 and not Timed if it is not.
	Waiting, Uncertainty int64
	Timed                bool
	// Leaderless says that windows begin without a quorum.
	Leaderless bool
	// Cells are in use for keys and periods, and Bytes by them.
	Cells, Bytes int
}

// Stats returns the numbers of now.
func (c *Core) Stats(mono int64) Stats {
	n := &c.counters
	now, ok := c.Clock.At(mono)
	return Stats{
		TransfersAsked: n.asked.Load(), TransfersServed: n.served.Load(),
		TokensReceived: n.got.Load(), TokensGiven: n.gave.Load(), TokensGranted: n.granted.Load(), PoolAsks: n.poolAsked.Load(),
		Waited: n.waited.Load(), Vain: n.vain.Load(), Closed: n.closed.Load(),
		Overflow: n.overrun.Load(), NoRoom: n.noRoom.Load(), DegradedShares: n.unfounded.Load(),
		Waiting: c.waiting.Load(), Uncertainty: now.Hi - now.Lo, Timed: ok, Leaderless: c.view.Load().leaderless,
		Cells: c.table.Len(), Bytes: c.table.Bytes(),
	}
}

// close takes note that a window is used up.
func (s *shard) close(cl *cells.Cell) {
	if !has(cl, closed) {
		set(cl, closed)
		s.core.counters.closed.Add(1)
	}
}

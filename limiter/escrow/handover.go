package escrow

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
)

// A node that leaves for good gives what it holds to the pools in the log, also of
// windows that have none otherwise. That comes before its Leave in the log, so who
// sees that a member is gone asks the pools again (lookAgain).

// handOverLeast is how much of a window must be left for its tokens to be worth an
// entry of the log.
const handOverLeast = second

// HandOver is for a node that leaves for good and decides nothing any more: it asks
// for no place in the roster from now on, and gives what it holds of windows to
// their pools. HandedOver says when the log has it. What the mailbox has no room
// for is lost until its window ends, as are the node's shares of windows that it
// has not taken yet, and its part of buckets.
func (c *Core) HandOver(mono int64) {
	c.leaving.Store(true)
	now, ok := c.Clock.At(mono)
	if !ok {
		return
	}
	for i := range c.shards {
		for piece := -1; piece != 0; {
			piece = c.shards[i].handOver(now, i, piece)
		}
	}
	c.kick()
}

// handOver does it for a piece of the shard's cells, and returns the next piece.
func (s *shard) handOver(now Instant, number, piece int) (next int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	return s.core.table.EachSome(number, piece, func(cl *cells.Cell) {
		b, ok := budgetOf(now, cl)
		p := b.Period
		if !ok || p.IsLocal() || p.IsBucket() || p.IsInFlight() || p.IsSliding() && !ledger.NeedsLog(p) {
			return
		}
		if p.IsSliding() {
			b.Start = p.At(now.Lo).Start
		}
		if w, _ := b.Window(); cl.Start.Load() != mark(b) || w.Until-now.Lo < handOverLeast || !s.core.box.mayGiveBack() {
			return
		}
		if left := takeAll(cl, b); left > 0 {
			lim := ledger.Limit{Version: uint64(cl.Version.Load()), Max: limitOf(cl, p)}
			s.core.box.giveBack(ledger.Ask{Budget: b, Limit: lim, Return: s.core.rules.handed(left)})
		}
	})
}

// HandedOver says whether nothing waits to be given back any more. What a node has
// that is not in the roster cannot be.
func (c *Core) HandedOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.view.Load().joined || c.log.out == nil && !c.box.givesBack()
}

// lookAgain has all hunts ask the pools again. mu is held.
func (c *Core) lookAgain(now Instant) {
	for i := range c.shards {
		c.shards[i].lookAgain(now)
	}
}

func (s *shard) lookAgain(now Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	for _, h := range s.list {
		if p := h.budget.Period; p.IsBucket() || p.IsInFlight() || p.IsSliding() && !ledger.NeedsLog(p) {
			continue
		}
		h.raise(h.limit)
		s.advance(now, h)
	}
}

// maxLeft is of how many nodes that have left it is remembered.
const maxLeft = 16

// seeOff takes note of members that have left.
func (v *view) seeOff(left []ledger.Member) {
	all := slices.Concat(v.left, left)
	v.left = all[max(0, len(all)-maxLeft):]
}

// misses says whether a member of the division has left since: what it held may be
// in the pool.
func (v *view) misses(d ledger.Division) bool {
	return len(v.left) > 0 && slices.ContainsFunc(d.Members, func(m ledger.Member) bool { return slices.Contains(v.left, m) })
}

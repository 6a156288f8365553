package escrow

import (
	"maps"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// What operators add to a budget (ledger.TopUp) is in the pool, and in no cell: a
// cell's Max stays that of the limit, on which shares depend. A node only has to
// know that a window admits more, so as not to take it for used up. Who does not
// know yet, or has forgotten it in a restart, admits less.

// added is what was added to a budget, as far as this node has heard.
func (c *Core) added(b ledger.Budget) int64 {
	if all := c.bonuses.Load(); all != nil {
		return (*all)[b]
	}
	return 0
}

// bonus is what was added to the window that a cell is in, which is no slice.
func (s *shard) bonus(cl *cells.Cell) int64 {
	if !has(cl, topped) {
		return 0
	}
	return s.core.added(ledger.Budget{Key: ledger.Key(cl.Key()), Period: cl.Period(), Start: int64(cl.Start.Load())})
}

// most is what all nodes may spend of the window that a cell is in.
func (s *shard) most(cl *cells.Cell, p window.Period) int64 { return limitOf(cl, p) + s.bonus(cl) }

// RestoreTopUps tells a new Core what was added to open windows before it. It may
// have observed outcomes already.
func (c *Core) RestoreTopUps(mono int64, all []ledger.ToppedUp) {
	now, _ := c.Clock.At(mono)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learnTopUps(now, all)
}

// learnTopUps takes note of what was added. The sums only grow, so it may hear of
// them in any order, and twice. mu is held.
func (c *Core) learnTopUps(now Instant, all []ledger.ToppedUp) {
	if len(all) == 0 {
		return
	}
	next := map[ledger.Budget]int64{}
	if old := c.bonuses.Load(); old != nil {
		next = maps.Clone(*old)
	}
	maps.DeleteFunc(next, func(b ledger.Budget, _ int64) bool {
		w, _ := b.Window()
		return now.Lo >= w.Until
	})
	for i := range all {
		if t := &all[i]; t.Added > next[t.Budget] {
			next[t.Budget] = t.Added
		}
	}
	c.bonuses.Store(&next)
	for i := range all {
		if all[i].Added > 0 {
			c.shardOf(all[i].Budget.Key).reopen(now, all[i].Budget)
		}
	}
	c.kick()
}

// reopen looks again for tokens of a window, because there are some in its pool.
func (s *shard) reopen(now Instant, b ledger.Budget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	cl := s.core.table.Find(keyOf(b), b.Period)
	if cl == nil || cl.Start.Load() != mark(b) {
		return
	}
	set(cl, topped)
	unset(cl, closed)
	if h := s.hunts[placeOf(b)]; h != nil && h.budget == b {
		h.raise(h.limit)
		s.advance(now, h)
	}
}

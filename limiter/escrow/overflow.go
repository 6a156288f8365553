package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
)

// Keys that the table has no room for share a cell, one in each shard and
// period. It counts what they have spent, and a request is admitted while that
// is less than every node's share of its limit at least. So no key is admitted
// more often than its share allows, and they ask no other nodes.

// overflowKey is what the shared cell of a budget's shard is kept under: no
// hash is likely to be the same, and if one were, nobody would gain by it.
func overflowKey(b ledger.Budget) cells.Key {
	return cells.Key{Lo: cells.Shards + uint64(cells.Shard(cells.Key(b.Key)))}
}

// overflow returns the shared cell in a budget's window, or nil if there is no
// room even for that, or its window is another already.
func (s *shard) overflow(now Instant, b ledger.Budget) *cells.Cell {
	if b.Period.IsSliding() || b.Period.IsInFlight() || b.Period.IsBucket() {
		return nil // it would have to remember more than a number
	}
	cl := s.core.table.Insert(overflowKey(b), b.Period, s.over(now))
	if cl == nil || cl.Start.Load() > mark(b) {
		return nil
	}
	if cl.Start.Load() < mark(b) {
		cl.Enter(mark(b), 0)
	}
	return cl
}

// overflowLeft is how often keys without a cell may still be admitted.
func (s *shard) overflowLeft(now Instant, b ledger.Budget, l ledger.Limit) int64 {
	cl := s.overflow(now, b)
	if cl == nil {
		return 0
	}
	if b.Period.IsLocal() {
		return l.Max - tokens(cl)
	}
	w, _ := b.Window()
	d, known, _ := s.core.division(b.Period, w.From, l)
	if _, ok := s.core.view.Load().heir(d); !known || !ok {
		return 0
	}
	return d.Least(b.Period, l.Max) - tokens(cl)
}

// takeOverflow counts one admission, and giveOverflow takes it back.
func (s *shard) takeOverflow(now Instant, b ledger.Budget, l ledger.Limit) bool {
	if s.overflowLeft(now, b, l) <= 0 {
		return false
	}
	_, ok := s.overflow(now, b).Add(mark(b), 1)
	if ok {
		s.core.counters.overrun.Add(1)
	}
	return ok
}

func (s *shard) giveOverflow(now Instant, b ledger.Budget) {
	if cl := s.overflow(now, b); cl != nil {
		cl.Add(mark(b), -1)
	}
}

// overspent is what a key that gets a cell now may have spent of its share when
// there was no room for one.
func (s *shard) overspent(b ledger.Budget) int64 {
	cl := s.core.table.Find(overflowKey(b), b.Period)
	if cl == nil || cl.Start.Load() != mark(b) {
		return 0
	}
	return tokens(cl)
}

package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// Take spends one token of every period of lim for key, or none, at a moment of
// the own clock. If tokens have to come from elsewhere it returns a ticket to
// wait on; otherwise d is the decision.
//
// A limit of one period for which this node holds tokens, or is known to be used
// up, costs no lock, and no allocation.
func (c *Core) Take(mono int64, lim *Limit, key string, d *Decision) *Ticket {
	now, ok := c.Clock.At(mono)
	if !ok {
		*d = Decision{Hold: millisecond}
		return nil
	}
	k := c.key(lim, key)
	if lim.only >= 0 && lim.hash != (ledger.Key{}) && c.takeOne(now, lim, k, lim.only, d) {
		return nil
	}
	s := c.shardOf(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(now, lim, k, d)
}

// takeOne decides without a lock, if it can.
func (c *Core) takeOne(now Instant, lim *Limit, k ledger.Key, p int, d *Decision) bool {
	period := window.Period(p)
	start, end := c.window(period, now.Lo)
	if now.Hi >= end*second {
		return false
	}
	cl := c.table.Find(cells.Key(k), period)
	if cl == nil || cl.Version.Load() != uint32(lim.Version) {
		return false
	}
	left, ok := cl.TakeFor(cells.Key(k), period, uint32(start))
	switch {
	case ok:
	case cl.Of(cells.Key(k), period) && int64(cl.Start.Load()) == start && has(cl, closed) && cl.Of(cells.Key(k), period):
		d.Refused, d.Reset[p] = period, reset(now, end)
		return true
	default:
		return false
	}
	b := ledger.Budget{Key: k, Period: period, Start: start}
	d.Admitted = true
	d.Remaining[p], d.Reset[p] = remaining(cl, left), reset(now, end)
	c.admitted(b)
	if !has(cl, dirty) || left < int64(cl.Low.Load()) {
		c.tookLast(now, cl, b, lim.one(p))
	}
	return true
}

// tookLast has the shard look at a cell after a token was taken without its
// lock: others are to hear of it, or more is to be asked for.
func (c *Core) tookLast(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	s := c.shardOf(b.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if cl.Of(cells.Key(b.Key), b.Period) && int64(cl.Start.Load()) == b.Start {
		s.took(now, cl, b, l)
	}
}

// took is what follows from a token's being taken. The shard is locked.
func (s *shard) took(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	s.spread(now, cl, b)
	if low := int64(cl.Low.Load()); low > 0 && tokens(cl) < low {
		cl.Low.Store(0) // once is enough
		s.advance(now, s.hunt(now, cl, b, l))
	}
}

// take decides about a request with the shard locked.
func (s *shard) take(now Instant, lim *Limit, k ledger.Key, d *Decision) *Ticket {
	var of [window.Periods]*cells.Cell
	var budgets [window.Periods]ledger.Budget
	short := window.Period(window.Periods)
	for p := range lim.Max {
		if lim.Max[p] <= 0 {
			continue
		}
		period := window.Period(p)
		start, end := s.core.window(period, now.Lo)
		d.Reset[p] = reset(now, end)
		if now.Hi >= end*second {
			*d = Decision{Hold: max(1, end*second-now.Lo)}
			return nil
		}
		budgets[p] = ledger.Budget{Key: k, Period: period, Start: start}
		of[p] = s.cell(now, budgets[p], lim.one(p))
		if of[p] == nil && s.ahead(now, budgets[p]) {
			*d = Decision{Hold: millisecond}
			return nil
		}
		if s.left(now, of[p], budgets[p], lim.one(p)) <= 0 {
			short = min(short, period)
		}
	}
	for short == window.Periods {
		p := s.takeAll(now, lim, &of, &budgets, d)
		if p == window.Periods {
			return nil
		}
		short = p
	}
	return s.takeShort(now, lim, &of, &budgets, short, d)
}

// takeAll spends a token of each period, or none if somebody was faster: then it
// returns the period that has none.
func (s *shard) takeAll(now Instant, lim *Limit, of *[window.Periods]*cells.Cell, budgets *[window.Periods]ledger.Budget, d *Decision) window.Period {
	for p := range lim.Max {
		cl := of[p]
		if lim.Max[p] <= 0 {
			continue
		}
		if cl == nil {
			if s.takeOverflow(now, budgets[p], lim.one(p)) {
				continue
			}
		} else if left, ok := cl.Take(uint32(budgets[p].Start)); ok {
			d.Remaining[p] = remaining(cl, left)
			continue
		}
		for q := range p { // put back
			switch {
			case lim.Max[q] <= 0:
			case of[q] == nil:
				s.giveOverflow(now, budgets[q])
			default:
				of[q].Add(uint32(budgets[q].Start), 1)
			}
		}
		d.Remaining = [window.Periods]int64{}
		return window.Period(p)
	}
	d.Admitted = true
	for p, cl := range of {
		if lim.Max[p] > 0 {
			s.core.admitted(budgets[p])
		}
		if cl != nil {
			d.Degraded = d.Degraded || has(cl, degraded)
			s.took(now, cl, budgets[p], lim.one(p))
		}
	}
	return window.Periods
}

// takeShort is for a request for which some period has no token here: it is
// refused at once, or waits.
func (s *shard) takeShort(now Instant, lim *Limit, of *[window.Periods]*cells.Cell, budgets *[window.Periods]ledger.Budget, short window.Period, d *Decision) *Ticket {
	for p := range lim.Max {
		cl := of[p]
		if lim.Max[p] <= 0 {
			continue
		}
		refuse := false
		if cl == nil {
			refuse = s.left(now, nil, budgets[p], lim.one(p)) <= 0
		} else if tokens(cl) <= 0 {
			if h := s.hunts[cl]; h != nil {
				refuse = h.denied(now)
			}
			refuse = refuse || has(cl, closed)
			if _, _, gone := s.core.division(budgets[p].Start, lim.one(p)); gone && !has(cl, minted) {
				d.Err = ErrNoQuorum
				refuse = true
			}
		}
		if refuse {
			s.refused(lim, of, window.Period(p), d)
			return nil
		}
	}
	tk := s.wait(now, lim, of, budgets)
	if tk == nil {
		s.refused(lim, of, short, d)
	}
	return tk
}

// left is how many tokens there are for a request, of its key's cell or else of
// what keys without one share.
func (s *shard) left(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) int64 {
	if cl != nil {
		return tokens(cl)
	}
	return s.overflowLeft(now, b, l)
}

// refused fills in a refusal.
func (s *shard) refused(lim *Limit, of *[window.Periods]*cells.Cell, p window.Period, d *Decision) {
	d.Refused = p
	for q, cl := range of {
		if cl != nil {
			d.Remaining[q] = remaining(cl, max(0, tokens(cl)))
		}
	}
	d.Remaining[p] = 0
}

// ahead says whether a cell is in a later window than asked for: another node's
// clock was a little ahead.
func (s *shard) ahead(now Instant, b ledger.Budget) bool {
	cl := s.core.table.Find(cells.Key(b.Key), b.Period)
	return cl != nil && int64(cl.Start.Load()) > b.Start
}

// reset is the time to a window's end in whole seconds, at least 1.
func reset(now Instant, end int64) int64 {
	return max(1, (end*second-now.Lo+second-1)/second)
}

package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// claim is what a request needs of one rate.
type claim struct {
	budget ledger.Budget
	at     window.Window
	cell   *cells.Cell // nil if there is no room for the key
	until  int64       // of a bucket's token, see takeBucket
}

// claims are those of all rates of a limit, in their order.
type claims [MaxRates]claim

// Take spends one token of every rate of lim for key, or none, at a moment of
// the own clock. If tokens have to come from elsewhere it returns a ticket to
// wait on; otherwise d is the decision.
//
// A limit of one rate for which this node holds tokens, or is known to be used
// up, costs no lock, and no allocation.
func (c *Core) Take(mono int64, lim *Limit, key string, d *Decision) *Ticket {
	now, ok := c.Clock.At(mono)
	if !ok {
		*d = Decision{Hold: millisecond}
		return nil
	}
	r := c.recall(lim, key)
	k := ledger.Key{}
	if r != nil {
		k = r.key
	} else {
		k = c.key(lim, key)
	}
	if len(lim.Rates) == 1 && lim.hash != (ledger.Key{}) {
		if ref, ok := c.takeOne(now, lim, k, r, d); ok {
			if r == nil {
				c.remember(lim, key, k, ref)
			}
			return nil
		}
	}
	s := c.shardOf(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(s.at(now), lim, k, d)
}

// takeOne decides without a lock, if it can, and says where the cell is.
func (c *Core) takeOne(now Instant, lim *Limit, k ledger.Key, r *recent, d *Decision) (cells.Ref, bool) {
	p := lim.Rates[0].Period
	w := c.window(p, now.Lo)
	if now.Hi >= w.Until || p.IsInFlight() || p.IsBucket() {
		return 0, false
	}
	b := ledger.Budget{Key: k, Period: p, Start: w.Start}
	at, m := keyOf(b), mark(b)
	cl, ref := c.find(r, at, p)
	switch {
	case cl == nil:
		return 0, false
	case cl.Version.Load() != uint32(lim.Version):
		r.moved()
		return 0, false
	}
	left, ok := cl.TakeFor(at, p, m)
	switch {
	case ok:
	case !p.IsSliding() && cl.Of(at, p) && cl.Start.Load() == m && has(cl, closed) && cl.Of(at, p):
		d.Reset[0] = reset(now, w)
		return ref, true
	default:
		if !cl.Of(at, p) {
			r.moved()
		}
		return 0, false
	}
	d.Admitted = true
	d.Remaining[0], d.Reset[0] = remaining(cl, p, left, 0), resetAfter(now, p, w)
	c.admitted(now, b, lim, 0)
	flags := cl.Flags.Load()
	if flags&topped != 0 {
		d.Remaining[0] = remaining(cl, p, left, c.added(b))
	}
	if flags&dirty == 0 || left < int64(cl.Low.Load()) {
		c.tookLast(now, cl, b, lim.one(0))
	}
	return ref, true
}

// tookLast has the shard look at a cell after a token was taken without its
// lock: others are to hear of it, or more is to be asked for.
func (c *Core) tookLast(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	s := c.shardOf(b.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if cl.Of(keyOf(b), b.Period) && cl.Start.Load() == mark(b) {
		s.took(s.at(now), cl, b, l)
	}
}

// took is what follows from a token's being taken. The shard is locked.
func (s *shard) took(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	s.spread(now, cl, b)
	if b.Period.IsBucket() && told(b.Period, l.Max, l.Burst) {
		return // its Low is something else
	}
	if low := int64(cl.Low.Load()); low > 0 && tokens(cl) < low {
		cl.Low.Store(0) // once is enough
		s.advance(now, s.hunt(now, cl, b, l))
	}
}

// take decides about a request with the shard locked.
func (s *shard) take(now Instant, lim *Limit, k ledger.Key, d *Decision) *Ticket {
	var of claims
	short := -1
	for i := range lim.Rates {
		p := lim.Rates[i].Period
		c := &of[i]
		c.at = s.core.window(p, now.Lo)
		if now.Hi >= c.at.Until {
			*d = Decision{Hold: max(1, c.at.Until-now.Lo)}
			return nil
		}
		c.budget = ledger.Budget{Key: k, Period: p, Start: c.at.Start}
		if p.IsInFlight() {
			if ok, err := s.mayHold(now, p, lim.one(i)); !ok {
				*d = Decision{Refused: i, Hold: holdForEntry, Err: err}
				return nil
			}
		}
		c.cell = s.cell(now, c.budget, lim.one(i))
		if c.cell == nil && s.ahead(c.budget) {
			*d = Decision{Hold: millisecond}
			return nil
		}
		if short < 0 && s.left(now, c, lim.one(i)) <= 0 {
			short = i
		}
	}
	for short < 0 {
		if short = s.takeAll(now, lim, &of, d); short < 0 {
			return nil
		}
	}
	return s.takeShort(now, lim, &of, short, d)
}

// takeAll spends a token of each rate and returns -1, or none if somebody was
// faster: then it returns the rate that has none.
func (s *shard) takeAll(now Instant, lim *Limit, of *claims, d *Decision) int {
	for i := range lim.Rates {
		c := &of[i]
		if c.cell == nil {
			if s.takeOverflow(now, c.budget, lim.one(i)) {
				continue
			}
		} else if left, ok := s.takeClaim(now, c); ok {
			d.Remaining[i] = s.remaining(now, c.cell, c.budget.Period, left)
			continue
		}
		for q := range i {
			s.putBack(now, &of[q])
		}
		d.Remaining = [MaxRates]int64{}
		return i
	}
	d.Admitted = true
	for i := range lim.Rates {
		c := &of[i]
		d.Reset[i] = s.resetAdmitted(now, c.budget, c.at)
		s.core.admitted(now, c.budget, lim, i)
		if c.cell != nil {
			d.Degraded = d.Degraded || has(c.cell, degraded)
			s.took(now, c.cell, c.budget, lim.one(i))
		}
	}
	return -1
}

// takeClaim takes a token of a claim's cell.
func (s *shard) takeClaim(now Instant, c *claim) (left int64, ok bool) {
	if !c.budget.Period.IsBucket() {
		return c.cell.Take(mark(c.budget))
	}
	left, c.until, ok = s.takeBucket(now, c.cell, c.budget)
	return left, ok
}

// putBack returns a token that was taken, and not spent.
func (s *shard) putBack(now Instant, c *claim) {
	switch {
	case c.cell == nil:
		s.giveOverflow(now, c.budget)
	case c.budget.Period.IsBucket():
		s.untake(now, c.cell, c.budget, c.until)
	default:
		c.cell.Add(mark(c.budget), 1)
	}
}

// takeShort is for a request for which some rate has no token here: it is
// refused at once, or waits.
func (s *shard) takeShort(now Instant, lim *Limit, of *claims, short int, d *Decision) *Ticket {
	for i := range lim.Rates {
		c := &of[i]
		refuse := false
		if c.cell == nil {
			refuse = s.left(now, c, lim.one(i)) <= 0
		} else if tokens(c.cell) <= 0 {
			if h := s.hunts[placeOf(c.budget)]; h != nil {
				refuse = h.denied(now)
			}
			refuse = refuse || has(c.cell, closed)
			if _, _, gone := s.core.division(c.budget.Period, c.at.From, lim.one(i)); gone && !has(c.cell, minted) {
				d.Err = ErrNoQuorum
				refuse = true
			}
		}
		if refuse {
			s.refused(now, lim, of, i, d)
			return nil
		}
	}
	tk := s.wait(now, lim, of)
	if tk == nil {
		s.refused(now, lim, of, short, d)
	}
	return tk
}

// left is how many tokens there are for a request, of its key's cell or else of
// what keys without one share.
func (s *shard) left(now Instant, c *claim, l ledger.Limit) int64 {
	if c.cell != nil {
		return tokens(c.cell)
	}
	return s.overflowLeft(now, c.budget, l)
}

// refused fills in a refusal for want of rate short.
func (s *shard) refused(now Instant, lim *Limit, of *claims, short int, d *Decision) {
	d.Refused = short
	for i := range lim.Rates {
		c := &of[i]
		if c.cell != nil {
			d.Remaining[i] = s.remaining(now, c.cell, c.budget.Period, tokens(c.cell))
		}
		d.Reset[i] = s.resetRefused(now, c.budget, c.at)
	}
	d.Remaining[short] = 0
}

// ahead says whether a cell is in a later window than asked for: another node's
// clock was a little ahead.
func (s *shard) ahead(b ledger.Budget) bool {
	cl := s.core.table.Find(keyOf(b), b.Period)
	return cl != nil && cl.Start.Load() > mark(b)
}

// reset is the time to a window's end in whole seconds, at least 1.
func reset(now Instant, w window.Window) int64 { return wholeSeconds(w.Until - now.Lo) }

// holdForEntry is after how long to try again if an entry of the log is waited for.
const holdForEntry = 5 * millisecond

func wholeSeconds(us int64) int64 { return max(1, (us+second-1)/second) }

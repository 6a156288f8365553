package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// Requests in flight. A node holds tokens that the log has granted to it, takes
// one for each request and puts it back when that is done; what it has not needed
// for a while it gives back. It tells the log what it holds in each ask, so that
// an answer that is lost costs nothing.
//
// A member that is fenced may not know it: so it admits nobody without having seen
// an entry of the last seconds, and what it holds counts for as long.

const (
	// spareAfter is how long a token must not have been needed to be given back.
	spareAfter = 50 * millisecond
	// wantedFor is how long it is given back at once after another node has said
	// that it waits for some.
	wantedFor = 100 * millisecond
	// denialInFlight is softDenial for what comes back at any time.
	denialInFlight = 20 * millisecond
	// busyAgain is when the log is asked again if it had nothing.
	busyAgain = 10 * millisecond
	// unreported is what the log believes that this node holds if that is not
	// known here.
	unreported = -1
)

// current says whether this node knows that it has not been fenced.
func (c *Core) current(now Instant) bool {
	v := c.view.Load()
	return v.stamp != 0 && c.rules.current(v.stamp, now)
}

// mayHold says whether a request may be admitted of what is in flight, or why
// nobody knows.
func (s *shard) mayHold(now Instant, p window.Period, l ledger.Limit) (ok bool, err error) {
	switch {
	case p.IsLocal() || s.core.current(now):
		return true, nil
	case !s.core.view.Load().leaderless:
		s.core.untimely.Store(true)
		s.core.kick()
		return false, nil
	case !l.Tolerant:
		return false, ErrNoQuorum
	}
	return true, nil
}

// Done says that a request which was admitted under a limit is done, at a
// moment of the own clock. Only rates of InFlight have their token back.
func (c *Core) Done(mono int64, lim *Limit, key string) {
	now, ok := c.Clock.At(mono)
	if !ok {
		return // never: it was admitted
	}
	k := c.key(lim, key)
	s := c.shardOf(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	for i := range lim.Rates {
		if p := lim.Rates[i].Period; p.IsInFlight() {
			b := ledger.Budget{Key: k, Period: p, Start: p.At(0).Start}
			c.over(now, b, lim, i)
			s.done(now, b, lim.one(i))
		}
	}
}

func (s *shard) done(now Instant, b ledger.Budget, l ledger.Limit) {
	cl := s.core.table.Find(keyOf(b), b.Period)
	if cl == nil {
		return
	}
	cl.Add(mark(b), 1)
	h := s.hunts[placeOf(b)]
	if h == nil && !b.Period.IsLocal() {
		h = s.hunt(now, cl, b, l)
	}
	if h != nil {
		s.serveWaiters(now, h)
		s.spare(now, h)
	}
}

// held is how many tokens the log has to count as this node's: those that are free,
// and one for each request in flight, also for those that are a debt because the
// limit was lowered meanwhile, or the node was fenced.
func held(cl *cells.Cell, p window.Period) int64 {
	return credited(cl, p) + max(0, -tokens(cl))
}

// spare gives back what has not been needed, and reports whether there is more to
// be said or looked at soon.
func (s *shard) spare(now Instant, h *hunt) bool {
	if h.budget.Period.IsLocal() {
		return false
	}
	have := tokens(h.cell)
	if h.leastAt == 0 {
		h.least, h.leastAt = have, now.Lo
	}
	h.least = min(h.least, have)
	wanted := now.Lo-h.wantedAt < wantedFor
	if wanted {
		h.least = have
	}
	if have > 0 && (wanted || now.Lo-h.leastAt >= spareAfter) {
		if n := h.least; n > 0 && h.live == 0 && remove(h.cell, h.budget, n) {
			have -= n
		}
		h.least, h.leastAt = have, now.Lo
	}
	silent := h.reported == held(h.cell, h.budget.Period)
	if !silent && h.pool != poolAsked {
		h.pool, h.poolAt = poolAsked, now.Lo
		s.core.box.askPool(h)
		s.core.kick()
	}
	return !silent || have > 0
}

// resume has the requests of a process before this one be over: their tokens are
// free, and the log hears of them. A process of a fresh incarnation has none.
func (c *Core) resume(fresh bool) {
	for i := range c.shards {
		s := &c.shards[i]
		c.table.Each(i, func(k cells.Key, p window.Period, cl *cells.Cell) bool {
			if !p.IsInFlight() || cl.Start.Load() == 0 {
				return true
			}
			b := ledger.Budget{Key: ledger.Key(k), Period: p, Start: p.At(0).Start}
			cl.Add(mark(b), credited(cl, p)-tokens(cl))
			switch {
			case p.IsLocal():
			case fresh: // the log will take them from the earlier incarnation
				credit(cl, b, -tokens(cl), 0)
			default:
				l := ledger.Limit{Version: max(1, uint64(cl.Version.Load())), Max: limitOf(cl, p)}
				s.hunt(Instant{}, cl, b, l).reported = unreported
			}
			return true
		})
	}
}

// disown drops what this process holds: it was fenced, so that others may have it.
// What it has in flight is a debt, and makes no room here when it is done. mu is
// held.
func (c *Core) disown() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, h := range s.list {
			if !h.budget.Period.IsInFlight() || h.budget.Period.IsLocal() {
				continue
			}
			credit(h.cell, h.budget, -credited(h.cell, h.budget.Period), 0)
			h.reported, h.least = unreported, 0
		}
		s.mu.Unlock()
	}
}

// tickInFlight does what is due about a hunt, and says whether it is to be kept and
// whether there is more to be done soon.
func (s *shard) tickInFlight(now Instant, h *hunt) (keep, busy bool) {
	switch {
	case h.live > 0 || h.probing:
		s.advance(now, h)
	case h.denyUntil > 0 && h.refused > h.denyUntil-h.denial() && now.Lo >= h.denyUntil:
		s.probe(now, h)
	}
	busy = s.spare(now, h) || h.probing
	holds := !h.budget.Period.IsLocal() && held(h.cell, h.budget.Period) != 0
	return busy || holds || h.held > 0 || h.pool == poolAsked || now.Lo-h.used <= idleHunt, busy
}

// grantedInFlight takes over what the log says about what is in flight: less than
// nothing is left if the limit was lowered.
func (s *shard) grantedInFlight(now Instant, h *hunt, a *ledger.Ask, g *ledger.Grant) {
	cl := h.cell
	h.pool, h.again = poolEmpty, now.Lo+busyAgain
	if g.Refused != ledger.NotRefused {
		return
	}
	h.reported = a.Held + g.Granted
	credit(cl, h.budget, g.Granted, 0)
	cl.Extra.Store(uint32(max(0, min(g.Pool, maxSliding))))
	if over := min(-g.Pool, credited(cl, h.budget.Period)); over > 0 {
		credit(cl, h.budget, -over, 0) // a debt, that those pay who are done
	}
	switch {
	case g.Pool > 0:
		h.pool = poolHas
	case a.Want > g.Granted:
		s.core.box.news(h.budget, true) // others may have some to spare
		s.core.kick()
	}
}

// wanted has a node give back what it can spare, because another one waits.
func (s *shard) wanted(now Instant, b ledger.Budget) {
	if h := s.hunts[placeOf(b)]; h != nil {
		h.wantedAt = now.Lo
		s.spare(now, h)
	}
}

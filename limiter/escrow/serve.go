package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// served is what this node remembers of another's requests. Guarded by Core.mu.
type served struct {
	incarnation uint64
	session     uint64
	seq         uint64
	last        *Reply
}

// Serve answers another node's request. A repeated one gets the same answer,
// and nothing is given again. It returns nil for one that is not to be answered.
func (c *Core) Serve(mono int64, r *Request) *Reply {
	now, ok := c.Clock.At(mono)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || r.To != c.node || r.From.Node == c.node || len(r.Takes) > maxItems || len(r.News) > maxItems {
		return nil
	}
	o := c.serve[r.From.Node]
	if o == nil {
		if len(c.serve) > 2*maxStrangers {
			return nil
		}
		o = &served{}
		c.serve[r.From.Node] = o
	}
	switch {
	case r.From.Incarnation == o.incarnation && r.Session < o.session:
		return nil // of an earlier process
	case r.From.Incarnation != o.incarnation || r.Session > o.session:
		*o = served{incarnation: r.From.Incarnation, session: r.Session}
	case r.Seq == o.seq && o.last != nil:
		return o.last
	case r.Seq <= o.seq:
		return nil
	}
	c.box.heardOf(r.From.Node)
	for i := range r.News {
		c.hear(now, &r.News[i])
	}
	reply := &Reply{Session: r.Session, Seq: r.Seq, Gives: make([]Give, len(r.Takes))}
	for i := range r.Takes {
		reply.Gives[i] = c.give(now, &r.Takes[i])
	}
	c.counters.served.Add(uint64(len(r.Takes)))
	o.seq, o.last = r.Seq, reply
	return reply
}

// give takes tokens from this node's cell for another's. They leave the cell
// before the reply exists.
func (c *Core) give(now Instant, t *Take) Give {
	b := t.Budget
	w, ok := foreign(b, t.Limit)
	if !ok || t.Want <= 0 || b.Period.IsInFlight() {
		return Give{}
	}
	s := c.shardOf(b.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	switch {
	case b.Period.IsBucket():
		return s.lend(now, t)
	case now.Lo >= w.Until:
		return Give{}
	case now.Hi < w.From:
		return Give{Pending: true} // its clock is ahead of ours
	}
	cl := s.cell(now, b, t.Limit)
	if cl == nil {
		return Give{}
	}
	g := Give{Pending: !has(cl, minted)}
	for have := tokens(cl); have > 0 && g.Granted == 0; have = tokens(cl) {
		if n := s.portion(now, cl, b, t, have); remove(cl, b, n) {
			g.Granted = n
		} // else requests were faster
	}
	c.counters.gave.Add(uint64(g.Granted))
	g.Left, g.Spent = max(0, tokens(cl)), s.spent(b, cl)
	return g
}

// foreign says when the window is that another node speaks of, and whether it
// can be meant.
func foreign(b ledger.Budget, l ledger.Limit) (window.Window, bool) {
	w, ok := b.Window()
	if b.Period.IsBucket() {
		limit, burst := bucketBounds(b.Period, l.Max, l.Burst)
		ok = ok && limit == l.Max && burst == l.Burst
	}
	return w, ok && !b.Period.IsLocal() && l.Version > 0 && l.Max > 0 && l.Max <= MaxTokens(b.Period)
}

// portion is how much of the tokens here another node gets: as its demand is to
// this node's.
func (s *shard) portion(now Instant, cl *cells.Cell, b ledger.Budget, t *Take, have int64) int64 {
	mine := 0.0
	if h := s.hunts[placeOf(b)]; h != nil && now.Lo-h.rateAt < second {
		mine = h.rate
	} else {
		w, _ := b.Window()
		passed := max(rateSlot, now.Lo-w.From)
		mine = float64(s.spent(b, cl)) * float64(second) / float64(passed)
	}
	part := have
	if mine > 0 && have > t.Waiting {
		part = int64(float64(have) * t.Rate / (t.Rate + mine))
	}
	return max(1, min(max(part, t.Waiting), t.Want, have))
}

// remove takes n tokens from a cell that may lose some to requests meanwhile.
func remove(cl *cells.Cell, b ledger.Budget, n int64) bool {
	left, ok := cl.Add(mark(b), -n)
	switch {
	case !ok:
		return false
	case left < 0: // somebody was faster
		cl.Add(mark(b), n)
		return false
	}
	addCredited(cl, b.Period, -n, 0)
	return true
}

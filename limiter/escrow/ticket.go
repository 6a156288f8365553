package escrow

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/ledger"
)

const (
	maxWaitersHunt = 4096
	maxWaitersNode = 1 << 16
	// patience is how long a request must have waited in vain for the next ones
	// to be refused at once for a while.
	patience = 50 * millisecond
)

// Ticket is a request that waits for tokens of one or more periods. Periods that
// have a token give it at once; it is reserved, not spent, until all have one,
// so that a refused request consumes nothing. Guarded by its shard's mutex; Done
// is closed when it is decided.
type Ticket struct {
	Done     chan struct{}
	shard    *shard
	since    int64
	lim      *Limit
	needs    []need // one for each rate
	missing  int
	done     bool
	admitted bool
	refused  int
	gone     bool // no quorum
}

// need is what a ticket needs of one rate.
type need struct {
	got    bool
	hunt   *hunt         // nil for a key without a cell
	budget ledger.Budget // that a token was taken from
	until  int64         // of a bucket's token: how long it is good, 0 for an own one
	era    uint32        // of the bucket
}

// wait makes a ticket for a request, or returns nil when too many are waiting.
func (s *shard) wait(now Instant, lim *Limit, of *claims) *Ticket {
	if s.core.waiting.Load() >= maxWaitersNode {
		return nil
	}
	tk := &Ticket{Done: make(chan struct{}), shard: s, since: now.Lo, lim: lim, needs: make([]need, len(lim.Rates)), missing: len(lim.Rates)}
	for i := range lim.Rates {
		c := &of[i]
		tk.needs[i].budget = c.budget
		if c.cell == nil {
			continue
		}
		h := s.hunt(now, c.cell, c.budget, lim.one(i))
		if h.live >= maxWaitersHunt && tokens(c.cell) <= 0 {
			return nil
		}
		tk.needs[i].hunt = h
	}
	s.core.waiting.Add(1)
	s.core.counters.waited.Add(1)
	for i := range tk.needs {
		if n := &tk.needs[i]; n.hunt == nil { // there is one: who has none was refused
			n.got = s.takeOverflow(now, n.budget, lim.one(i))
			tk.missing--
		} else {
			n.hunt.held++
			n.hunt.join(tk)
		}
	}
	for i := range tk.needs {
		if h := tk.needs[i].hunt; h != nil && !tk.needs[i].got && !tk.done {
			s.advance(now, h)
		}
	}
	return tk
}

// need is what a ticket needs of the hunt.
func (h *hunt) need(tk *Ticket) *need {
	for i := range tk.needs {
		if tk.needs[i].hunt == h {
			return &tk.needs[i]
		}
	}
	return nil // never: it has joined
}

// join puts a ticket at the end of those that wait for a token.
func (h *hunt) join(tk *Ticket) {
	if len(h.waiters) > 2*h.live+16 {
		h.waiters = slices.DeleteFunc(h.waiters, func(w *Ticket) bool { return w.done })
	}
	h.waiters = append(h.waiters, tk)
	h.live++
}

// serveWaiters gives the cell's tokens to the requests that wait, first come
// first served.
func (s *shard) serveWaiters(now Instant, h *hunt) {
	if w, _ := h.budget.Window(); now.Hi >= w.Until {
		return // they go on in the next window
	}
	if p := h.budget.Period; p.IsInFlight() {
		if ok, _ := s.mayHold(now, p, h.limit); !ok {
			return
		}
	}
	for len(h.waiters) > 0 {
		tk := h.waiters[0]
		if tk.done {
			h.waiters = h.waiters[1:]
			continue
		}
		n := h.need(tk)
		if !s.reserve(now, h, n) {
			return
		}
		h.waiters[0] = nil
		h.waiters = h.waiters[1:]
		h.live--
		h.reserved++
		n.got, n.budget = true, h.budget
		if tk.missing--; tk.missing == 0 {
			s.admit(now, tk)
		}
	}
	h.waiters = nil
}

// admit spends what a ticket has reserved. If a window is over meanwhile, its
// token is void, and another is needed.
func (s *shard) admit(now Instant, tk *Ticket) {
	for i := range tk.needs {
		n := &tk.needs[i]
		if w, _ := n.budget.Window(); now.Hi < w.Until && s.stillGood(now, n) {
			continue
		}
		n.got = false
		if n.hunt == nil {
			n.budget.Start = n.budget.Period.At(now.Lo).Start
			if n.got = s.takeOverflow(now, n.budget, tk.lim.one(i)); !n.got {
				s.refuse(now, tk, n)
				return
			}
			continue
		}
		if n.hunt.budget.Start == n.budget.Start {
			n.hunt.reserved--
		}
		tk.missing++
		n.hunt.join(tk)
	}
	if tk.missing > 0 {
		return
	}
	tk.admitted = true
	for p := range tk.needs {
		n := &tk.needs[p]
		s.core.admitted(now, n.budget, tk.lim, p)
		if h := n.hunt; h != nil && h.budget.Start == n.budget.Start {
			h.reserved--
			s.spend(now, n)
			s.spread(now, h.cell, h.budget)
		}
	}
	s.finish(tk)
}

func (s *shard) finish(tk *Ticket) {
	tk.done = true
	for p := range tk.needs {
		if h := tk.needs[p].hunt; h != nil {
			h.held--
		}
	}
	s.core.waiting.Add(-1)
	close(tk.Done)
}

// refuse ends a ticket because it has no token of a rate, and puts back what it
// had of the others.
func (s *shard) refuse(now Instant, tk *Ticket, short *need) {
	if tk.done {
		return
	}
	s.finish(tk)
	for i := range tk.needs {
		n := &tk.needs[i]
		if n == short {
			tk.refused = i
		}
		h := n.hunt
		switch {
		case h == nil:
			if n.got {
				s.giveOverflow(now, n.budget)
			}
		case !n.got:
			h.live--
		case h.budget.Start == n.budget.Start:
			// The token first: one that is reserved is not spent.
			s.unreserve(now, n)
			h.reserved--
			s.serveWaiters(now, h)
		}
	}
}

// refuseAll ends every ticket that waits for the hunt's tokens.
func (s *shard) refuseAll(now Instant, h *hunt) {
	waiters := h.waiters
	h.waiters = nil
	for _, tk := range waiters {
		s.refuse(now, tk, h.need(tk))
	}
	h.waiters = nil
}

// Settle ends a ticket whose caller will not wait any longer (a no-op if it has
// been decided meanwhile) and fills in the decision.
func (c *Core) Settle(mono int64, tk *Ticket, d *Decision) {
	now, _ := c.Clock.At(mono)
	s := tk.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	if !tk.done {
		c.counters.vain.Add(1)
		s.giveUp(now, tk)
	}
	*d = Decision{Admitted: tk.admitted, Refused: tk.refused}
	if tk.gone {
		d.Err = ErrNoQuorum
	}
	for i := range tk.needs {
		n := &tk.needs[i]
		b := n.budget
		if n.hunt != nil {
			b = n.hunt.budget
			d.Remaining[i] = s.remaining(now, n.hunt.cell, b.Period, tokens(n.hunt.cell))
			d.Degraded = d.Degraded || has(n.hunt.cell, degraded)
		}
		w, _ := b.Window()
		if d.Admitted {
			d.Reset[i] = s.resetAdmitted(now, b, w)
		} else {
			d.Reset[i] = s.resetRefused(now, b, w)
		}
	}
	if !d.Admitted {
		d.Remaining[d.Refused] = 0
	}
}

// Unheard says whether the log has yet to say something that a ticket waits for:
// what is in a pool, or whether this node has a share. Without a leader it will
// say nothing.
func (c *Core) Unheard(tk *Ticket) bool {
	if c.view.Load().leaderless {
		return false
	}
	s := tk.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range tk.needs {
		n := &tk.needs[p]
		if !n.got && n.hunt != nil && (n.hunt.pool == poolAsked || !has(n.hunt.cell, minted)) {
			return !tk.done
		}
	}
	return false
}

// giveUp refuses a ticket that has waited long enough, and has the next ones not
// wait as long to learn the same.
func (s *shard) giveUp(now Instant, tk *Ticket) {
	for p := range tk.needs {
		n := &tk.needs[p]
		if n.got {
			continue
		}
		if now.Lo-tk.since >= patience && !n.budget.Period.IsBucket() && (n.hunt.pool != poolAsked || s.core.view.Load().leaderless) {
			n.hunt.denyUntil = now.Lo + n.hunt.denial()
		}
		s.refuse(now, tk, n)
		return
	}
}

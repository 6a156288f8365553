package escrow

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
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
	needs    [window.Periods]need
	missing  int
	done     bool
	admitted bool
	refused  window.Period
	gone     bool // no quorum
}

// need is what a ticket needs of one period.
type need struct {
	wanted bool
	got    bool
	hunt   *hunt         // nil for a key without a cell
	budget ledger.Budget // that a token was taken from
}

// wait makes a ticket for a request, or returns nil when too many are waiting.
func (s *shard) wait(now Instant, lim *Limit, of *[window.Periods]*cells.Cell, budgets *[window.Periods]ledger.Budget) *Ticket {
	if s.core.waiting.Load() >= maxWaitersNode {
		return nil
	}
	tk := &Ticket{Done: make(chan struct{}), shard: s, since: now.Lo, lim: lim}
	for p := range lim.Max {
		if lim.Max[p] <= 0 {
			continue
		}
		if cl := of[p]; cl != nil {
			h := s.hunt(now, cl, budgets[p], lim.one(p))
			if h.live >= maxWaitersHunt && tokens(cl) <= 0 {
				return nil
			}
			tk.needs[p].hunt = h
		}
		tk.needs[p].wanted = true
		tk.missing++
	}
	s.core.waiting.Add(1)
	for p := range tk.needs {
		n := &tk.needs[p]
		switch {
		case !n.wanted:
		case n.hunt == nil: // there is one: who has none was refused
			n.got, n.budget = s.takeOverflow(now, budgets[p], lim.one(p)), budgets[p]
			tk.missing--
		default:
			n.hunt.held++
			n.hunt.join(tk)
		}
	}
	for p := range tk.needs {
		if h := tk.needs[p].hunt; h != nil && !tk.needs[p].got && !tk.done {
			s.advance(now, h)
		}
	}
	return tk
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
	if _, end := h.budget.Period.At(h.budget.Start); now.Hi >= end*second {
		return // they go on in the next window
	}
	for len(h.waiters) > 0 {
		tk := h.waiters[0]
		if tk.done {
			h.waiters = h.waiters[1:]
			continue
		}
		if _, ok := h.cell.Take(uint32(h.budget.Start)); !ok {
			return
		}
		h.waiters[0] = nil
		h.waiters = h.waiters[1:]
		h.live--
		h.reserved++
		n := &tk.needs[h.budget.Period]
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
	for p := range tk.needs {
		n := &tk.needs[p]
		if _, end := window.Period(p).At(n.budget.Start); n.wanted && n.hunt != nil && now.Hi >= end*second {
			if n.hunt.budget.Start == n.budget.Start {
				n.hunt.reserved--
			}
			n.got = false
			tk.missing++
			n.hunt.join(tk)
		}
	}
	if tk.missing > 0 {
		return
	}
	tk.admitted = true
	for p := range tk.needs {
		n := &tk.needs[p]
		if !n.wanted {
			continue
		}
		s.core.admitted(n.budget)
		if h := n.hunt; h != nil && h.budget.Start == n.budget.Start {
			h.reserved--
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

// refuse ends a ticket because period p has no token, and puts back what it had
// of the others.
func (s *shard) refuse(now Instant, tk *Ticket, p window.Period) {
	if tk.done {
		return
	}
	tk.refused = p
	s.finish(tk)
	for p := range tk.needs {
		n := &tk.needs[p]
		h := n.hunt
		switch {
		case !n.wanted:
		case !n.got:
			h.live--
		case h == nil:
			s.giveOverflow(now, n.budget)
		case h.budget.Start == n.budget.Start:
			// The token first: one that is reserved is not spent.
			h.cell.Add(uint32(n.budget.Start), 1)
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
		s.refuse(now, tk, h.budget.Period)
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
	if !tk.done {
		s.giveUp(now, tk)
	}
	*d = Decision{Admitted: tk.admitted, Refused: tk.refused}
	if tk.gone {
		d.Err = ErrNoQuorum
	}
	for p := range tk.needs {
		n := &tk.needs[p]
		if !n.wanted {
			continue
		}
		start := n.budget.Start
		if n.hunt != nil {
			start = n.hunt.budget.Start
			d.Remaining[p] = remaining(n.hunt.cell, max(0, tokens(n.hunt.cell)))
			d.Degraded = d.Degraded || has(n.hunt.cell, degraded)
		}
		_, end := window.Period(p).At(start)
		d.Reset[p] = reset(now, end)
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
		if n.wanted && !n.got && n.hunt != nil && (n.hunt.pool == poolAsked || !has(n.hunt.cell, minted)) {
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
		if !n.wanted || n.got {
			continue
		}
		if now.Lo-tk.since >= patience && (n.hunt.pool != poolAsked || s.core.view.Load().leaderless) {
			n.hunt.denyUntil = now.Lo + softDenial
		}
		s.refuse(now, tk, window.Period(p))
		return
	}
}

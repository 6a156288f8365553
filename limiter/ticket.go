package limiter

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// ticket is a request that waits for tokens of one or more periods. Periods
// that have a token give it at once; it is reserved, not spent, until all have
// one, so that a refused request consumes nothing. Guarded by the mutex of the
// account's shard; ch is closed when done is set.
type ticket struct {
	acct     *account
	ch       chan struct{}
	since    int64 // cluster time when it began to wait
	needs    [Periods]bool
	got      [Periods]bool
	gen      [Periods]uint64 // of the cell a token was taken from
	start    [Periods]int64  // of the window a token was taken from
	missing  int
	late     bool // the log had not answered when heard was last asked
	done     bool
	admitted bool
	refused  Period
}

// wait makes a ticket for a request, or returns nil when too many are waiting.
func (s *shard) wait(a *account, lim *Limit, t int64) *ticket {
	if s.core.waiting.Load() >= maxWaitersNode {
		return nil
	}
	tk := &ticket{acct: a, ch: make(chan struct{}), since: t}
	for p := range lim.Max {
		if lim.Max[p] <= 0 {
			continue
		}
		if a.cells[p].tokens == 0 && a.cells[p].live >= maxWaitersCell {
			return nil
		}
		tk.needs[p] = true
		tk.missing++
	}
	s.core.waiting.Add(1)
	for p := range tk.needs {
		if !tk.needs[p] {
			continue
		}
		cl := a.cells[p]
		if cl.tokens > 0 {
			s.give(cl, tk)
			continue
		}
		if len(cl.waiters) > 2*cl.live+16 {
			cl.waiters = slices.DeleteFunc(cl.waiters, func(w *ticket) bool { return w.done })
		}
		cl.waiters = append(cl.waiters, tk)
		cl.live++
		s.enqueue(cl)
	}
	return tk
}

// give reserves one of the cell's tokens for tk, and admits tk if it was the
// last one it lacked.
func (s *shard) give(cl *cell, tk *ticket) {
	p := cl.period
	cl.tokens--
	cl.reserved++
	tk.got[p], tk.gen[p], tk.start[p] = true, cl.gen, cl.start
	tk.missing--
	if tk.missing > 0 {
		return
	}
	tk.admitted = true
	for p := range tk.needs {
		if !tk.needs[p] {
			continue
		}
		cl := tk.acct.cells[p]
		s.core.admitted(cl, tk.start[p])
		if cl.gen == tk.gen[p] {
			cl.reserved--
			cl.spent++
			if cl.unreported() {
				s.delay(cl, tk.since)
			}
		}
	}
	s.finish(tk)
}

func (s *shard) finish(tk *ticket) {
	tk.done = true
	s.core.waiting.Add(-1)
	close(tk.ch)
}

// serve gives the cell's tokens to the requests that wait, first come first
// served.
func (s *shard) serve(cl *cell) {
	for cl.tokens > 0 && len(cl.waiters) > 0 {
		tk := cl.waiters[0]
		cl.waiters[0] = nil
		cl.waiters = cl.waiters[1:]
		if tk.done {
			continue
		}
		cl.live--
		s.give(cl, tk)
	}
	if len(cl.waiters) == 0 {
		cl.waiters = nil
	}
}

// refuse ends a ticket because period p has no token, and puts back what it had
// of the others.
func (s *shard) refuse(tk *ticket, p Period) {
	if tk.done {
		return
	}
	tk.refused = p
	s.finish(tk)
	for p := range tk.needs {
		if !tk.needs[p] {
			continue
		}
		cl := tk.acct.cells[p]
		if !tk.got[p] {
			cl.live--
			continue
		}
		if cl.gen == tk.gen[p] {
			cl.reserved--
			cl.tokens++
			s.serve(cl)
		}
	}
}

// refuseAll ends every ticket that waits for the cell.
func (s *shard) refuseAll(cl *cell) {
	waiters := cl.waiters
	cl.waiters = nil
	for _, tk := range waiters {
		s.refuse(tk, cl.period)
	}
}

// settle ends a ticket whose caller will not wait any longer (a no-op if it has
// been decided meanwhile) and fills in the decision.
func (c *core) settle(tk *ticket, lim *Limit, local int64, d *Decision) {
	t := c.clock.at(local)
	s := tk.acct.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if !tk.done {
		s.giveUp(tk, t)
	}
	d.Admitted, d.Refused = tk.admitted, tk.refused
	if !d.Admitted && c.closing.Load() {
		d.Err = ErrClosed
	}
	s.describe(tk.acct, lim, t, d)
}

// heard is asked each time a ticket has waited as long as it should for tokens
// of other nodes, and says whether that is enough: the log has answered about
// what the ticket lacks. After an answer that came late there is another wait,
// in which the other nodes may give.
func (c *core) heard(tk *ticket) bool {
	s := tk.acct.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	late := tk.late
	tk.late = false
	for p := range tk.needs {
		if tk.needs[p] && !tk.got[p] && tk.acct.cells[p].answered < tk.since {
			tk.late = true
		}
	}
	return tk.done || !tk.late && !late
}

// giveUp refuses a ticket that has waited long enough. If the log has answered
// meanwhile that the pool is empty, those who hold the rest have kept it: the
// next requests need not wait as long to learn the same.
func (s *shard) giveUp(tk *ticket, t int64) {
	lacking := Period(Periods)
	for p := range tk.needs {
		if !tk.needs[p] || tk.got[p] {
			continue
		}
		lacking = min(lacking, Period(p))
		cl := tk.acct.cells[p]
		if cl.answered >= tk.since && cl.pool <= 0 {
			cl.denyUntil = t + softDenial
		}
	}
	s.refuse(tk, lacking)
}

// shortKey replaces a key that is too long for the log by one of at most maxKey
// bytes that no other key has.
func shortKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return key[:maxKey-2*len(sum)-1] + "#" + hex.EncodeToString(sum[:])
}

package limiter

import "slices"

// tick does what is due at local time: cells that wait ask again, idle ones are
// cleared up. It is to be called a few times in every 100 ms while it says that
// there are any.
func (c *core) tick(local int64) (busy bool) {
	t := c.clock.at(local)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.due(t)
		for range min(sweepPerTick, len(s.accounts)) {
			if s.hand >= len(s.accounts) {
				s.hand = 0
			}
			if !s.sweep(s.accounts[s.hand], t) {
				s.hand++
			}
			if len(s.accounts) == 0 {
				break
			}
		}
		busy = busy || len(s.accounts) > 0
		s.mu.Unlock()
	}
	return busy
}

// due queues the cells whose time has come.
func (s *shard) due(t int64) {
	n := 0
	for n < len(s.later) && s.later[n].at <= t {
		cl := s.later[n].cell
		cl.delayed = false
		if cl.live > 0 || cl.unreported() {
			s.enqueue(cl)
		}
		n++
	}
	s.later = slices.Delete(s.later, 0, n)
}

// sweep clears up one account if it is idle and reports whether it was removed.
// Tokens of a window that is still open go back to the pool first.
func (s *shard) sweep(a *account, t int64) bool {
	if a.waits() {
		return false
	}
	empty := true
	for p, cl := range a.cells {
		switch {
		case cl == nil:
			continue
		case cl.busy():
		case t >= cl.end:
			a.cells[p] = nil
			continue
		case t-a.used < idleAfter:
		case cl.end-t > worthReporting && (cl.tokens > 0 || cl.spent != cl.reported):
			cl.release()
			s.enqueue(cl)
		default:
			a.cells[p] = nil
			continue
		}
		empty = false
	}
	if empty {
		s.remove(a)
	}
	return empty
}

// waits says whether a ticket is open on the account.
func (a *account) waits() bool {
	for _, cl := range a.cells {
		if cl != nil && cl.live > 0 {
			return true
		}
	}
	return false
}

// evict makes room for a new account by dropping one that is not in use right
// now, with its tokens given back if there is room to say so. No budget is
// minted again by that: the ledger knows what this node was granted.
func (s *shard) evict(t int64) bool {
	for range evictTries {
		if s.hand >= len(s.accounts) {
			s.hand = 0
		}
		a := s.accounts[s.hand]
		s.hand++
		if a.waits() || slices.ContainsFunc(a.cells[:], func(cl *cell) bool { return cl != nil && cl.busy() }) {
			continue
		}
		for _, cl := range a.cells {
			if cl == nil || t >= cl.end || cl.tokens == 0 || len(s.strays) >= maxStrays {
				continue
			}
			cl.giveBack, cl.tokens = cl.tokens, 0
			if it, ok := cl.item(t); ok {
				it.Want = 0
				s.strays = append(s.strays, it)
				s.core.signal()
			}
		}
		s.remove(a)
		return true
	}
	return false
}

// giveAll puts every unspent token on its way back to the pool and refuses all
// requests from now on. Part of Close.
func (c *core) giveAll() {
	c.closing.Store(true)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, a := range s.accounts {
			for _, cl := range a.cells {
				if cl == nil {
					continue
				}
				s.refuseAll(cl)
			}
		}
		for _, a := range s.accounts {
			for _, cl := range a.cells {
				if cl != nil && cl.release() {
					s.enqueue(cl)
				}
			}
		}
		s.mu.Unlock()
	}
}

// drained says whether nothing is left to be said to the log.
func (c *core) drained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		return false
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n := len(s.queue) + len(s.strays)
		s.mu.Unlock()
		if n > 0 {
			return false
		}
	}
	return true
}

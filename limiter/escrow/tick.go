package escrow

import "github.com/sluicegate/sluice/limiter/cells"

// idleHunt is how long a hunt is kept that nobody needs.
const idleHunt = second

// Tick does what is due at a moment of the own clock: hunts that wait go on, and
// those that are over are forgotten. It is to be called some hundred times a
// second while the Core is Busy, and now and then otherwise; Ready comes after it.
func (c *Core) Tick(mono int64) {
	now, ok := c.Clock.At(mono)
	if !ok {
		return
	}
	probing := false
	for i := range c.shards {
		probing = c.shards[i].tick(now) || probing
	}
	c.probing.Store(probing)
	// One shard a tick gives back memory, so that a large table costs little.
	i := int(c.ticks.Add(1) % cells.Shards)
	c.shards[i].mu.Lock()
	defer c.shards[i].mu.Unlock()
	c.table.Sweep(i, c.shards[i].over(now))
}

// Busy says whether requests wait, or are about to be refused for want of an
// answer.
func (c *Core) Busy() bool { return c.waiting.Load() > 0 || c.probing.Load() }

func (s *shard) tick(now Instant) (probing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	kept := s.list[:0]
	for _, h := range s.list {
		w, _ := h.budget.Window()
		if h.budget.Period.IsInFlight() {
			keep, busy := s.tickInFlight(now, h)
			probing = probing || busy
			if keep {
				kept = append(kept, h)
			} else {
				delete(s.hunts, placeOf(h.budget))
			}
			continue
		}
		switch {
		case h.live > 0 && now.Lo >= w.Until:
			s.nextWindow(now, h)
		case h.live > 0 || h.probing:
			s.advance(now, h)
		case h.denyUntil > 0 && !h.budget.Period.IsBucket() && h.refused > h.denyUntil-h.denial() && now.Lo >= h.denyUntil:
			s.probe(now, h)
		case h.held == 0 && h.asking == "" && h.pool != poolAsked && (now.Lo-h.used > idleHunt || now.Lo >= w.Until):
			delete(s.hunts, placeOf(h.budget))
			continue
		}
		probing = probing || h.probing
		kept = append(kept, h)
	}
	clear(s.list[len(kept):])
	s.list = kept
	return probing
}

// nextWindow moves those who wait to the window that has begun meanwhile.
func (s *shard) nextWindow(now Instant, h *hunt) {
	b := h.budget
	b.Start = b.Period.At(now.Lo).Start
	if s.cell(now, b, h.limit) != nil {
		s.advance(now, h)
	} else if b.Period.IsSliding() {
		s.refuseAll(now, h) // there is no room for its cell
	}
}

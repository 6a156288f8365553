package escrow

import (
	"math"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
)

// News makes RateLimit-Remaining right on every node, and tells the others that
// a budget is used up without their asking. Nothing else depends on it: news
// that is lost is never made up for.

// spread has the other nodes hear of what was spent of a cell. The shard is
// locked.
func (s *shard) spread(now Instant, cl *cells.Cell, b ledger.Budget) {
	if has(cl, dirty) || b.Period.IsBucket() && !isTold(cl, b.Period) {
		return
	}
	set(cl, dirty)
	if b.Period.IsBucket() && len(s.core.view.Load().rosters.Last().Members) < 2 {
		unset(cl, dirty) // it has no window that ends, and there may be others later
		return
	}
	if b.Period.IsLocal() || b.Period.IsInFlight() || len(s.core.view.Load().rosters.Last().Members) < 2 {
		return // and it stays dirty, which spares the next requests this way
	}
	small := s.most(cl, b.Period) <= smallBudget
	if !s.core.box.news(b, small) {
		unset(cl, dirty) // the next request tries again
	}
	if small {
		s.core.kick()
	}
}

// gatherNews moves what the shards have to tell to the links. mu is held.
func (c *Core) gatherNews(mono int64) {
	slow := mono-c.toldAt >= newsEvery
	if slow {
		c.toldAt = mono
	}
	for _, b := range c.box.takeNews(maxItems, slow) {
		n, ok := c.shardOf(b.Key).newsOf(b)
		if !ok {
			continue
		}
		for _, m := range c.view.Load().rosters.Last().Members {
			if m.Node == c.node {
				continue
			}
			if l := c.linkTo(m.Node); len(l.news) < maxNews {
				l.news = append(l.news, n)
			}
		}
	}
}

// newsOf is what others have not heard of a cell.
func (s *shard) newsOf(b ledger.Budget) (News, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cl := s.core.table.Find(keyOf(b), b.Period)
	if cl == nil || cl.Start.Load() != mark(b) {
		return News{}, false
	}
	if b.Period.IsInFlight() { // that requests wait is all there is to tell
		return News{Budget: b, Limit: ledger.Limit{Version: max(1, uint64(cl.Version.Load())), Max: limitOf(cl, b.Period)}, More: 1}, true
	}
	unset(cl, dirty) // first: what is spent from here on is news again
	if b.Period.IsBucket() {
		return bucketNews(cl, b)
	}
	spent := min(max(0, s.spent(b, cl)), math.MaxUint32)
	more := spent - int64(cl.Told.Load())
	cl.Told.Store(uint32(spent))
	limit := ledger.Limit{Version: uint64(cl.Version.Load()), Max: limitOf(cl, b.Period)}
	return News{Budget: b, Limit: limit, More: more}, more > 0
}

// hear takes note of what another node has spent.
func (c *Core) hear(now Instant, n *News) {
	b := n.Budget
	w, ok := foreign(b, n.Limit)
	if !ok || n.More <= 0 {
		return
	}
	s := c.shardOf(b.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	var cl *cells.Cell
	switch {
	case b.Period.IsInFlight():
		s.wanted(now, b)
		return
	case b.Period.IsBucket():
		s.hearBucket(now, n)
		return
	case now.Hi < w.From:
		return
	case b.Period.IsSliding():
		cl = s.heardSlice(now, b, n)
	case now.Lo < w.Until:
		cl = s.cell(now, b, n.Limit)
	}
	if cl == nil {
		return
	}
	cl.Extra.Store(uint32(min(int64(cl.Extra.Load())+n.More, math.MaxUint32)))
	if h := s.hunts[placeOf(b)]; h != nil {
		s.advance(now, h)
	} else if tokens(cl) <= 0 && before(cl, b.Period)+s.spent(b, cl)+int64(cl.Extra.Load()) >= s.most(cl, b.Period) {
		s.close(cl)
	}
}

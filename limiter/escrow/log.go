package escrow

import (
	"github.com/sluicegate/sluice/limiter/ledger"
)

const (
	// maxAsks bounds a batch for the log.
	maxAsks = 1024
	// repeatLogAfter is when a batch or a Join that was not answered is sent
	// again.
	repeatLogAfter = 100 * millisecond
	repeatJoin     = 500 * millisecond
	// maxStrangers is of how many nodes outside the roster requests are
	// remembered: a node is one until its Join counts.
	maxStrangers = 256
	// maxJoins is how many of an incarnation's Joins the log may hold without
	// giving it a place in the roster.
	maxJoins = 2
)

// logClient is this node's way to the pools. Guarded by Core.mu.
type logClient struct {
	session uint64
	seq     uint64
	out     *ledger.Batch
	hunts   []*hunt // of out.Asks
	sentAt  int64
	joinAt  int64
	joins   int // of this incarnation that are in the log
}

// readyBatch returns the batch to propose, if there is one.
func (c *Core) readyBatch(mono int64, now Instant) *ledger.Batch {
	l := &c.log
	v := c.view.Load()
	if l.out != nil {
		if mono-l.sentAt < repeatLogAfter {
			return nil
		}
		l.sentAt = mono
		return l.out
	}
	if !v.joined {
		return nil
	}
	b := &ledger.Batch{Member: v.member, Session: l.session}
	b.Asks = c.box.takeReturns(maxAsks / 2)
	l.hunts = make([]*hunt, len(b.Asks))
	for _, h := range c.box.takePool(maxAsks - len(b.Asks)) {
		if a, ok := h.ask(now); ok {
			b.Asks = append(b.Asks, a)
			l.hunts = append(l.hunts, h)
		}
	}
	if len(b.Asks) == 0 {
		return nil
	}
	l.seq++
	b.Seq = l.seq
	l.out, l.sentAt = b, mono
	c.counters.poolAsked.Add(uint64(len(b.Asks)))
	return b
}

// readyJoin asks for a place in the roster, if this process has none.
func (c *Core) readyJoin(mono int64) *ledger.Change {
	v := c.view.Load()
	l := &c.log
	if c.leaving.Load() || v.in(v.member) || l.joinAt != 0 && mono-l.joinAt < repeatJoin {
		return nil
	}
	if l.joins >= maxJoins {
		// It was fenced, and this process has not seen it. What its cells have
		// is of windows in whose rosters it was, and stays.
		next := *v
		next.renew(c.random())
		c.disown()
		c.view.Store(&next)
		v, l.joins = &next, 0
	}
	l.joinAt = mono
	return &ledger.Change{Kind: ledger.Join, Member: v.member}
}

// Joined says that a Join of Ready's is in the log, whatever came of it.
func (c *Core) Joined(j *ledger.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j.Member == c.view.Load().member {
		c.log.joins++
	}
}

// ask is what a hunt wants of the pool.
func (h *hunt) ask(now Instant) (ledger.Ask, bool) {
	s := h.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	h.measure(now, s)
	a := ledger.Ask{Budget: h.budget, Limit: h.limit, Want: h.want(h.poolHorizon(now)), Waiting: int64(h.live)}
	said := true
	if h.budget.Period.IsInFlight() {
		a.Held = held(h.cell, h.budget.Period)
		said = a.Held == h.reported
	}
	if a.Want <= 0 && said || h.pool != poolAsked {
		if h.pool == poolAsked {
			h.pool = poolUnknown
		}
		return a, false
	}
	return a, true
}

// askPool has the hunt ask the pool, if that may have something.
func (s *shard) askPool(now Instant, h *hunt) {
	if h.budget.Period.IsInFlight() && h.pool == poolEmpty && now.Lo >= h.again {
		h.pool = poolUnknown
	}
	if h.pool != poolUnknown && h.pool != poolHas || h.idle(poolEarly) {
		return
	}
	h.pool, h.poolAt = poolAsked, now.Lo
	s.core.box.askPool(h)
	s.core.kick()
}

// Observe takes note of what an entry of the log has decided. It is to be called
// for each, in the log's order.
func (c *Core) Observe(mono int64, o *ledger.Outcome) {
	c.Clock.Saw(mono, o.Stamp)
	now, _ := c.Clock.At(mono)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learn(now, o)
	c.learnTopUps(now, o.TopUps)
	for i := range o.Answers {
		if a := &o.Answers[i]; a.Member.Node == c.node {
			c.answered(now, a)
		}
	}
}

// learn takes over the time and the rosters. mu is held.
func (c *Core) learn(now Instant, o *ledger.Outcome) {
	v := *c.view.Load()
	if o.Stamp <= v.stamp {
		return // Restore was told of it
	}
	v.stamp = o.Stamp
	if o.Rosters != nil {
		v.rosters = o.Rosters
		c.forgetNodes(&v)
	}
	if len(o.Left) > 0 {
		v.seeOff(o.Left)
		defer c.lookAgain(now)
	}
	switch {
	case v.in(v.member):
		v.joined, c.log.joins = true, 0
	case v.joined: // fenced: what this process still has stays its own
		v.renew(c.random())
		c.disown()
		c.dropBatch(now)
	}
	c.view.Store(&v)
}

// forgetNodes drops what was kept for nodes that have left the roster and of
// which nothing is awaited. mu is held.
func (c *Core) forgetNodes(v *view) {
	there := map[string]bool{}
	for _, m := range v.rosters.Last().Members {
		there[m.Node] = true
	}
	for node, l := range c.links {
		if !there[node] && l.out == nil {
			delete(c.links, node)
		}
	}
	for node := range c.serve {
		if !there[node] && len(c.serve) > maxStrangers {
			delete(c.serve, node)
		}
	}
	for _, r := range v.rosters.History { // in windows of before it may be asked
		for _, m := range r.Members {
			there[m.Node] = true
		}
	}
	c.box.forget(there)
}

// Answered takes over the answer to a batch that came by another way than the
// log. One to a batch that is not outstanding grants nothing.
func (c *Core) Answered(mono int64, a *ledger.Answer) {
	now, _ := c.Clock.At(mono)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered(now, a)
}

func (c *Core) answered(now Instant, a *ledger.Answer) {
	l := &c.log
	if l.out == nil || a.Member != l.out.Member || a.Session != l.out.Session || a.Seq != l.out.Seq {
		return
	}
	if a.Stale {
		// Something that came late has spoken for this process.
		l.session, l.seq = l.session+1, 0
		c.dropBatch(now)
		return
	}
	asks, hunts := l.out.Asks, l.hunts
	l.out, l.hunts = nil, nil
	for i := range asks {
		g := ledger.Grant{Refused: ledger.Malformed}
		if i < len(a.Grants) {
			g = a.Grants[i]
		}
		if hunts[i] != nil {
			hunts[i].granted(now, &asks[i], &g)
		}
	}
	c.kick()
}

// dropBatch gives up the outstanding batch; those who asked may ask again.
func (c *Core) dropBatch(now Instant) {
	hunts := c.log.hunts
	c.log.out, c.log.hunts = nil, nil
	for _, h := range hunts {
		if h == nil {
			continue // what was given back is lost
		}
		h.shard.mu.Lock()
		if h.pool == poolAsked {
			h.pool = poolUnknown
		}
		h.shard.mu.Unlock()
	}
}

// granted takes over what the pool gives to the hunt.
func (h *hunt) granted(now Instant, a *ledger.Ask, g *ledger.Grant) {
	s := h.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.budget != a.Budget || h.pool != poolAsked {
		return // of a window that is over
	}
	now = s.at(now)
	if a.Budget.Period.IsInFlight() {
		s.grantedInFlight(now, h, a, g)
		s.advance(now, h)
		return
	}
	credit(h.cell, a.Budget, max(0, g.Granted), 0)
	s.core.counters.granted.Add(uint64(max(0, g.Granted)))
	switch {
	case g.Refused == ledger.Early:
		h.pool = poolUnknown
	case g.Refused != ledger.NotRefused, g.Pool <= 0:
		h.pool = poolEmpty
	default:
		h.pool = poolHas
	}
	if a.Limit.Version < h.limit.Version {
		h.pool = poolUnknown
	}
	s.advance(now, h)
}

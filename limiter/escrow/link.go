package escrow

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/ledger"
)

const (
	// repeatAfter is when a request that was not answered is sent again, and
	// giveUpAfter when it is not any more: what its answer grants is lost then.
	repeatAfter = 25 * millisecond
	giveUpAfter = 500 * millisecond
	// maxFailures is how often a request may fail to be brought to its node, and
	// downFor how long the node is not asked then.
	maxFailures = 2
	downFor     = 200 * millisecond
	// newsEvery is how often others hear of what was spent of large budgets.
	newsEvery = 250 * millisecond
)

// link is this node's way to another. Guarded by Core.mu.
type link struct {
	node   string
	out    *Request
	hunts  []*hunt // of out.Takes
	begun  int64   // when out was made, of the own clock
	sentAt int64
	failed int   // times out could not be brought there
	trip   int64 // about how long an answer takes
	news   []News
}

// ToLeader and ForTick are ways that messages go, besides those to nodes, which
// are called by the nodes' ids: for Batch and Join, and for Tick.
const (
	ToLeader = "to the leader"
	ForTick  = "for a tick"
)

// Output is what Ready has to say.
type Output struct {
	Batch    *ledger.Batch  // for the leader
	Join     *ledger.Change // for the leader
	Requests []*Request     // for other nodes
	// Tick says that requests wait for the time in the log.
	Tick bool
}

// Ready returns what is to be sent now: new things, and those whose answer is
// overdue. What it returns is not changed any more. busy says of a way that
// something is on it, so that nothing else can be sent there yet: that waits for
// the next call of Ready. nil: none is.
func (c *Core) Ready(mono int64, busy func(way string) bool) Output {
	now, ok := c.Clock.At(mono)
	if !ok {
		return Output{}
	}
	free := func(way string) bool { return busy == nil || !busy(way) }
	c.mu.Lock()
	defer c.mu.Unlock()
	var out Output
	if free(ToLeader) {
		out.Batch, out.Join = c.readyBatch(mono, now), c.readyJoin(mono)
	}
	if free(ForTick) {
		out.Tick = c.untimely.Swap(false)
	}
	c.gatherNews(mono)
	names := make([]string, 0, len(c.links))
	for name := range c.links {
		names = append(names, name)
	}
	names = c.box.asked(names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !free(name) {
			continue
		}
		if r := c.readyLink(mono, now, c.linkTo(name)); r != nil {
			out.Requests = append(out.Requests, r)
		}
	}
	return out
}

// Settled says that no answer is under way: all that was granted is in the cells.
func (c *Core) Settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log.out != nil {
		return false
	}
	for _, l := range c.links {
		if l.out != nil && len(l.out.Takes) > 0 {
			return false
		}
	}
	return true
}

func (c *Core) linkTo(node string) *link {
	l := c.links[node]
	if l == nil {
		l = &link{node: node}
		c.links[node] = l
	}
	return l
}

// readyLink returns the request to send to a node, if there is one.
func (c *Core) readyLink(mono int64, now Instant, l *link) *Request {
	if l.out != nil {
		switch {
		case mono-l.begun > giveUpAfter:
			c.giveUpLink(now, l)
		case mono-l.sentAt < repeatAfter:
			return nil
		default:
			l.sentAt = mono
			return l.out
		}
	}
	r := &Request{From: c.view.Load().member, To: l.node, Session: c.log.session, News: cut(&l.news, maxItems)}
	for _, h := range c.box.takeAsks(l.node, maxItems) {
		if t, ok := h.take(now, l); ok {
			r.Takes = append(r.Takes, t)
			l.hunts = append(l.hunts, h)
		}
	}
	if len(r.Takes)+len(r.News) == 0 {
		return nil
	}
	c.seq++
	r.Seq = c.seq
	c.counters.asked.Add(uint64(len(r.Takes)))
	l.out, l.begun, l.sentAt, l.failed = r, mono, mono, 0
	return r
}

// take is what a hunt asks of another node.
func (h *hunt) take(now Instant, l *link) (Take, bool) {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	now = h.shard.at(now)
	h.measure(now, h.shard)
	t := Take{Budget: h.budget, Limit: h.limit, Waiting: int64(h.live), Rate: h.rate}
	if h.budget.Period.IsBucket() {
		h.borrow(now, l, &t)
	} else {
		t.Want = h.want(h.peerHorizon(now))
	}
	if t.Want <= 0 {
		h.asking = ""
		return t, false
	}
	return t, true
}

// Replied takes over another node's answer. One to a request that is not
// outstanding grants nothing.
func (c *Core) Replied(mono int64, node string, r *Reply) {
	now, ok := c.Clock.At(mono)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[node]
	if !ok || l == nil || l.out == nil || r.Session != l.out.Session || r.Seq != l.out.Seq || len(r.Gives) != len(l.out.Takes) {
		return
	}
	takes, hunts := l.out.Takes, l.hunts
	l.out, l.hunts = nil, nil
	c.box.heardOf(node)
	l.trip += (mono - l.begun - l.trip) / 4
	for i := range takes {
		hunts[i].credit(now, node, &takes[i], &r.Gives[i])
	}
	c.kick()
}

// Failed says that a request could not be brought to its node, or that its
// answer did not come back. It is repeated once; the next failure ends it.
func (c *Core) Failed(mono int64, r *Request) {
	now, ok := c.Clock.At(mono)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[r.To]
	if !ok || l == nil || l.out != r {
		return
	}
	if l.failed++; l.failed >= maxFailures {
		c.giveUpLink(now, l)
	} else {
		l.sentAt = mono - repeatAfter // at once
	}
	c.kick()
}

// giveUpLink stops waiting for an answer.
func (c *Core) giveUpLink(now Instant, l *link) {
	c.box.setDown(l.node, now.Lo+downFor)
	takes, hunts := l.out.Takes, l.hunts
	l.out, l.hunts, l.news = nil, nil, nil
	for i := range takes {
		hunts[i].unreachable(now, l.node)
	}
}

// credit takes over what a node gives to the hunt.
func (h *hunt) credit(now Instant, node string, t *Take, g *Give) {
	s := h.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	h.asking = ""
	now = s.at(now)
	switch {
	case h.budget.Period.IsBucket():
		s.borrowed(now, h, node, t, g)
	case h.budget == t.Budget:
		credit(h.cell, t.Budget, max(0, g.Granted), 0)
		s.core.counters.got.Add(uint64(max(0, g.Granted)))
		if p := h.prey(node); p != nil {
			p.spent, p.left = max(p.spent, g.Spent), g.Left
			switch {
			case g.Pending && p.tries < 20:
				p.tries++
				p.after = now.Lo + pendingAgain
			case g.Pending || g.Left <= 0:
				p.asked = true
			}
		}
	}
	s.advance(now, h)
}

// unreachable goes on without a node that did not answer.
func (h *hunt) unreachable(now Instant, node string) {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	h.asking = ""
	now = h.shard.at(now)
	if p := h.prey(node); p != nil {
		p.asked, p.after = true, now.Lo+downFor
	}
	h.shard.advance(now, h)
}

func (h *hunt) prey(node string) *prey {
	for i := range h.peers {
		if h.peers[i].node == node {
			return &h.peers[i]
		}
	}
	return nil
}

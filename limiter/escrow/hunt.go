package escrow

import (
	"math"
	"slices"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
)

const (
	// smallBudget is the largest of which other nodes are told at once what was
	// spent, and of which nothing is asked for before a request needs it.
	smallBudget = 100
	// softDenial is how long a window is taken for empty after a request has
	// waited in vain, and roundPause how long it is until all are asked again.
	softDenial = 200 * millisecond
	roundPause = 5 * millisecond
	// The demand that is asked for in advance, and when: of the pool for a
	// horizon when it lasts so long only, and of other nodes.
	poolHorizon, longPoolHorizon = 1.0, 10.0 // seconds
	poolEarly                    = 0.015
	peerHorizon                  = 0.25
	peerEarly                    = 0.002
	// pendingAgain is when a peer is asked again that does not know yet whether
	// it has a share.
	pendingAgain = 5 * millisecond
	// poolPatience is how long the log may take before other nodes are asked.
	poolPatience = 20 * millisecond
	// awayPatience is how long a request waits at least, though a node is away that
	// may have what it waits for.
	awayPatience = 15 * millisecond
	// rateSlot is the least time over which demand is measured.
	rateSlot = 50 * millisecond
)

// hunt is what a node does about a cell that has no tokens left, or soon: who
// waits, who has been asked, and what they said. Guarded by the shard's mutex.
type hunt struct {
	shard  *shard
	cell   *cells.Cell
	budget ledger.Budget
	limit  ledger.Limit

	waiters  []*Ticket
	live     int // of them not decided
	held     int // tickets that know the hunt, and are not decided
	reserved int64
	// denyUntil is set when a request has waited in vain, again when a round of
	// asking has brought nothing. refused says when a request was last refused
	// for it, and probing that a round is for requests to come.
	denyUntil, again int64
	refused          int64
	probing          bool

	pool    poolState
	poolAt  int64 // when it was asked
	peers   []prey
	asking  string // the peer that is being asked, empty for none
	round   bool
	roundAt int64 // when the last one began
	used    int64 // when it was last needed
	rate    float64
	rateAt  int64

	// Of what is in flight: the fewest tokens since leastAt, and what the log
	// believes that this node holds.
	least, leastAt, reported int64
	wantedAt                 int64 // when another node has last said that it waits
	counted                  int64 // spent then

	borrower // of a bucket
}

// poolState is what is known of a budget's pool.
type poolState uint8

const (
	poolUnknown poolState = iota
	poolAsked
	poolHas
	poolEmpty
	poolNone // there is none in such windows
)

// prey is another node in this hunt.
type prey struct {
	node  string
	left  int64 // what it had when last heard of, or began with
	spent int64 // what it has said it has spent
	asked bool  // in this round, and there was nothing
	after int64 // not to be asked before
	tries int
	ready int64 // of a bucket: when it may have a token
}

// hunt returns the hunt of a cell, a new one if there is none.
func (s *shard) hunt(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) *hunt {
	h := s.hunts[placeOf(b)]
	if h == nil {
		h = &hunt{shard: s, cell: cl, rateAt: now.Lo}
		s.hunts[placeOf(b)] = h
		s.list = append(s.list, h)
		h.turn(b, l)
		h.guessRate(now, s)
	}
	h.used = now.Lo
	return h
}

// turn begins a window.
func (h *hunt) turn(b ledger.Budget, l ledger.Limit) {
	h.budget, h.limit = b, l
	h.reserved, h.denyUntil, h.again, h.probing = 0, 0, 0, false
	h.pool, h.peers, h.round = poolUnknown, nil, false
	h.counted = 0
}

// raise begins to look again, because the limit is another one, or the pool has
// more.
func (h *hunt) raise(l ledger.Limit) {
	h.limit, h.denyUntil, h.round, h.probing = l, 0, false, false
	p := h.budget.Period
	if h.pool == poolEmpty || h.pool == poolNone && !p.IsLocal() && !p.IsSliding() {
		h.pool = poolUnknown
	}
	if h.budget.Period.IsInFlight() {
		h.reported = unreported // the answer tells whether it is too much now
	}
}

// guessRate makes a rate of what was spent since the window's start.
func (h *hunt) guessRate(now Instant, s *shard) {
	h.counted = s.spent(h.budget, h.cell)
	w, _ := h.budget.Window()
	passed := max(rateSlot, now.Lo-w.From)
	h.rate = float64(h.counted) * float64(second) / float64(passed)
}

// measure renews the rate.
func (h *hunt) measure(now Instant, s *shard) {
	passed := now.Lo - h.rateAt
	if passed < rateSlot {
		return
	}
	spent := s.spent(h.budget, h.cell)
	recent := float64(max(0, spent-h.counted)+int64(h.live)) * float64(second) / float64(passed)
	if passed > 4*rateSlot {
		h.rate = recent
	} else {
		h.rate = (h.rate + recent) / 2
	}
	h.rateAt, h.counted = now.Lo, spent
}

// missing is how many tokens are missing for the demand of so many seconds.
func (h *hunt) missing(seconds float64) int64 {
	if h.most() <= smallBudget || h.budget.Period.IsInFlight() {
		return 0
	}
	return int64(min(float64(h.most()), math.Ceil(h.rate*seconds))) - tokens(h.cell)
}

// want is how many tokens to ask for, so that demand is met for some seconds.
func (h *hunt) want(seconds float64) int64 {
	live := int64(h.live)
	if h.probing && tokens(h.cell) <= 0 {
		live = max(1, live)
	}
	if h.budget.Period.IsInFlight() && live > 0 {
		return live + credited(h.cell, h.budget.Period)/4
	}
	return max(live, min(h.most(), live+max(0, h.missing(seconds))))
}

// idle says that nothing is wanted: nobody waits, and the tokens last.
func (h *hunt) idle(seconds float64) bool {
	return h.live == 0 && h.missing(seconds) <= 0 && !(h.probing && tokens(h.cell) <= 0)
}

// most is what all nodes may spend of the window.
func (h *hunt) most() int64 { return h.shard.most(h.cell, h.budget.Period) }

func (h *hunt) poolHorizon(now Instant) float64 {
	if h.budget.Period.Seconds() > 60 {
		return h.horizon(now, longPoolHorizon)
	}
	return h.horizon(now, poolHorizon)
}

func (h *hunt) peerHorizon(now Instant) float64 { return h.horizon(now, peerHorizon) }

// horizon is at most a quarter of the window, and of a slice not more than is
// left of it: what is not spent until then is lost.
func (h *hunt) horizon(now Instant, seconds float64) float64 {
	w, _ := h.budget.Window()
	most := (w.Until - w.From) / 4
	if h.budget.Period.IsSliding() {
		most = min(most, max(0, w.Until-now.Lo))
	}
	return min(seconds, float64(most)/float64(second))
}

// advance does what is next to be done about a cell. The shard is locked.
func (s *shard) advance(now Instant, h *hunt) {
	if h.budget.Period.IsBucket() {
		s.advanceBucket(now, h)
		return
	}
	s.serveWaiters(now, h)
	h.measure(now, s)
	if !has(h.cell, minted) && !s.mintLate(now, h) {
		return // the next entry of the log tells more
	}
	if s.used(h) {
		s.close(h.cell)
	}
	switch {
	case has(h.cell, closed):
		h.probing = false
		s.refuseAll(now, h)
		return
	case h.idle(poolEarly):
		h.round, h.denyUntil, h.probing = false, 0, false
		h.setLow()
		return
	}
	s.preparePeers(h)
	s.askPool(now, h)
	if h.pool == poolEmpty || h.pool == poolNone || h.pool == poolAsked && now.Lo-h.poolAt > poolPatience {
		s.askPeer(now, h)
	}
}

// mintLate tries again to have this node's share, for those who wait, and
// reports whether it is known.
func (s *shard) mintLate(now Instant, h *hunt) bool {
	w, _ := h.budget.Window()
	if _, _, gone := s.core.division(h.budget.Period, w.From, h.limit); gone {
		for _, tk := range h.waiters {
			if !tk.done {
				tk.gone = true
			}
		}
		s.refuseAll(now, h)
		return false
	}
	s.mint(h.cell, h.budget, h.limit)
	s.serveWaiters(now, h)
	if !has(h.cell, minted) {
		s.core.untimely.Store(true)
		s.core.kick()
		return false
	}
	return true
}

// used says that all of the budget is known to be spent.
func (s *shard) used(h *hunt) bool {
	if h.budget.Period.IsInFlight() {
		return false // it comes back
	}
	others := int64(0)
	for i := range h.peers {
		others += h.peers[i].spent
	}
	all := before(h.cell, h.budget.Period) + s.spent(h.budget, h.cell) + max(others, int64(h.cell.Extra.Load()))
	return all >= h.most() && tokens(h.cell) <= 0 && h.reserved == 0
}

// setLow has the next look at the cell when its tokens are nearly out.
func (h *hunt) setLow() {
	if h.most() <= smallBudget || has(h.cell, closed) || h.budget.Period.IsInFlight() {
		h.cell.Low.Store(0)
		return
	}
	early := poolEarly
	if h.pool == poolEmpty || h.pool == poolNone {
		early = peerEarly
	}
	h.cell.Low.Store(clampLow(max(1, int64(h.rate*early))))
}

// preparePeers lists who may have tokens.
func (s *shard) preparePeers(h *hunt) {
	if h.peers != nil {
		return
	}
	h.peers = []prey{}
	if h.budget.Period.IsLocal() {
		h.pool = poolNone
		return
	}
	if h.budget.Period.IsInFlight() {
		return // what others hold they give back to the log
	}
	w, _ := h.budget.Window()
	v := s.core.view.Load()
	fresh := s.core.rules.fresh(v.stamp, w.From)
	d := v.rosters.Of(w.From)
	if !fresh {
		d = v.rosters.Last()
	}
	most := limitOf(h.cell, h.budget.Period)
	add := func(m ledger.Member) {
		same := func(p prey) bool { return p.node == m.Node }
		if m.Node == v.member.Node || slices.ContainsFunc(h.peers, same) {
			return
		}
		h.peers = append(h.peers, prey{node: m.Node, left: d.Share(m, h.budget, most)})
	}
	for _, m := range d.Members {
		add(m)
	}
	for _, m := range v.rosters.Last().Members {
		add(m)
	}
	if h.pool == poolUnknown && fresh && d.Pool(h.budget.Period, most) <= 0 && s.bonus(h.cell) == 0 && !v.misses(d) {
		h.pool = poolNone
	}
}

// askPeer asks the next node, or ends the round.
func (s *shard) askPeer(now Instant, h *hunt) {
	if h.asking != "" && h.onlyAwayLeft(s.core) && h.pool != poolAsked {
		s.refuseHopeless(now, h)
	}
	if h.asking != "" || h.idle(peerEarly) {
		return
	}
	if !h.round {
		if now.Lo < h.again {
			return // tick goes on
		}
		h.round, h.roundAt = true, now.Lo
		for i := range h.peers {
			h.peers[i].asked, h.peers[i].tries, h.peers[i].after = false, 0, 0
		}
	}
	best, later, away := s.nextPeer(now, h)
	if best != nil {
		h.asking = best.node
		s.core.box.ask(h.asking, h)
		s.core.kick()
		return
	}
	if later || h.pool == poolAsked {
		return // tick and the answer go on
	}
	// Not all is known to be spent, so there are tokens somewhere, on their way
	// or reserved: those who wait ask again, as long as they have patience.
	h.round, h.again = false, now.Lo+roundPause
	if h.probing {
		h.probing, h.denyUntil = false, now.Lo+h.denial()
	}
	if away {
		s.refuseHopeless(now, h)
	}
	h.setLow()
}

// nextPeer is the peer to ask next in a round: one that answers before one that is
// away, then who has most. later says that one is to be asked again in a moment, away
// that one did not answer.
func (s *shard) nextPeer(now Instant, h *hunt) (best *prey, later, away bool) {
	bestAway := false
	for i := range h.peers {
		p := &h.peers[i]
		isDown, isAway := s.core.box.state(p.node, now.Lo)
		away = away || isAway
		switch {
		case p.asked:
		case isDown:
			p.asked = true
		case now.Lo < p.after:
			later = true
		case best == nil || bestAway && !isAway || bestAway == isAway && p.left > best.left:
			best, bestAway = p, isAway
		}
	}
	return best, later, away
}

// onlyAwayLeft says that the peer that is being asked did not answer before, and
// that all others have been asked in this round.
func (h *hunt) onlyAwayLeft(c *Core) bool {
	for i := range h.peers {
		if p := &h.peers[i]; !p.asked && !c.box.isAway(p.node) {
			return false
		}
	}
	return c.box.isAway(h.asking)
}

// refuseHopeless ends tickets that were there when a round began in which nobody who
// answers had anything, while a node is away: it has what lacks, most likely, and it
// is not back as soon as that.
func (s *shard) refuseHopeless(now Instant, h *hunt) {
	for len(h.waiters) > 0 {
		tk := h.waiters[0]
		if !tk.done && (tk.since > h.roundAt || now.Lo-tk.since < awayPatience) {
			return
		}
		h.waiters = h.waiters[1:]
		if !tk.done {
			h.denyUntil = now.Lo + h.denial()
			s.refuse(now, tk, h.need(tk))
		}
	}
}

// probe begins to ask again for those who come, after some have waited in vain:
// they are refused at once meanwhile.
func (s *shard) probe(now Instant, h *hunt) {
	if h.probing || now.Lo < h.denyUntil || h.refused < h.denyUntil-h.denial() {
		return
	}
	h.probing = true
	s.advance(now, h)
}

// denial is for how long requests are refused after one has waited in vain.
func (h *hunt) denial() int64 {
	if h.budget.Period.IsInFlight() {
		return denialInFlight
	}
	return softDenial
}

// denied says whether a request is refused because others have waited in vain.
func (h *hunt) denied(now Instant) bool {
	if h.budget.Period.IsBucket() {
		return h.deniedBucket(now)
	}
	if h.denyUntil == 0 || now.Lo >= h.denyUntil+h.denial() && !h.probing {
		return false
	}
	h.refused, h.used = now.Lo, now.Lo
	return true
}

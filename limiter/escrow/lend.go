package escrow

import (
	"math"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// What nodes lend each other of a bucket. A loan is good for a moment, its life,
// which the borrower names and begins to count before it asks. The lender counts
// a lent token as if it were spent at the end of that: so wherever in between it
// was spent, its own bucket has accounted for it. What has not been spent by then
// is void, and comes back to the lender as if it had been spent.

const (
	// shortestLife and maxLife bound how long a loan is good: a quarter of the
	// time in which the bucket is filled, so that most of it goes on refilling.
	shortestLife = millisecond
	maxLife      = 100 * millisecond
	// quickLife is how long one for requests that wait is good, besides two round
	// trips.
	quickLife = 2 * millisecond
	// fewTokens is of how large a part nothing is borrowed but for requests that
	// wait: a part of one token does not refill while that is lent.
	fewTokens = 4
	// lenderAgain is at most how long a lender is left alone that had nothing.
	lenderAgain = 200 * millisecond
)

// filled is how long the whole bucket takes to be filled, in microseconds.
func (k *bucket) filled(p window.Period) int64 {
	return flowOf(p, k.limit, k.burst, k.burst).fill() / perMicro
}

// longestLife is that of the bucket's loans.
func (k *bucket) longestLife(p window.Period) int64 {
	return max(shortestLife, min(k.filled(p)/4, maxLife))
}

// loan is some borrowed tokens and how long they are good, by the own clock.
type loan struct{ n, until int64 }

// borrower is what a hunt of a bucket knows besides. Its methods may be called
// with none. What it has borrowed is void if the process dies.
type borrower struct {
	loans []loan
	own   int64 // tokens that are reserved of this node's part
	era   uint32
	asked int64 // requests so far

	// What others tell is heard twice when it was lent to this node: with the loan,
	// and as news. early is how much of loans is to come as news, late how much has
	// come since this node asked for one.
	early, late int64
}

// borrowedLeft drops loans that are void, and counts the others.
func (h *hunt) borrowedLeft(now Instant) (n int64) {
	if h == nil {
		return 0
	}
	good := h.loans[:0]
	for _, l := range h.loans {
		if l.n > 0 && h.shard.core.rules.borrowed(now.Own, l.until) {
			good = append(good, l)
			n += l.n
		}
	}
	h.loans = good
	return n
}

// useBorrowed takes the token that is void soonest, and returns when that is, or 0
// if there is none.
func (h *hunt) useBorrowed(now Instant) int64 {
	if h.borrowedLeft(now) == 0 {
		return 0
	}
	first := &h.loans[0]
	for i := range h.loans {
		if l := &h.loans[i]; l.until < first.until {
			first = l
		}
	}
	first.n--
	return first.until
}

// lendBack keeps a borrowed token that was not spent, as long as it is good.
func (h *hunt) lendBack(until int64) { h.loans = append(h.loans, loan{1, until}) }

func (h *hunt) ownReserved() int64 {
	if h == nil {
		return 0
	}
	return h.own
}

// demand counts a request.
func (h *hunt) demand() {
	if h != nil {
		h.asked++
	}
}

// advanceBucket does what is next to be done about a bucket's cell.
func (s *shard) advanceBucket(now Instant, h *hunt) {
	p := h.budget.Period
	if !s.settle(now, h.cell, h.budget, h.limit) {
		if _, _, gone := s.core.division(p, now.Hi, h.limit); gone {
			s.abandon(now, h)
			return
		}
		s.core.untimely.Store(true)
		s.core.kick()
		return
	}
	s.serveWaiters(now, h)
	h.measure(now, s)
	k := loadBucket(h.cell, p)
	low := int64(0)
	if !k.isTold(p) {
		low = max(1, int64(h.rate*peerEarly))
	}
	if h.live > 0 || tokens(h.cell) < low && now.Lo >= h.denyUntil {
		s.askLender(now, h, &k)
	}
	if !k.isTold(p) && tokens(h.cell) >= low {
		h.cell.Low.Store(clampLow(low))
	}
}

// abandon refuses those who wait, because the log says nothing.
func (s *shard) abandon(now Instant, h *hunt) {
	for _, tk := range h.waiters {
		if !tk.done {
			tk.gone = true
		}
	}
	s.refuseAll(now, h)
}

// askLender asks the node next that has had most time to refill. If all have said
// that they have nothing, it refuses those who wait, and those who come until
// somebody has a token again.
func (s *shard) askLender(now Instant, h *hunt, k *bucket) {
	if h.asking != "" {
		return
	}
	s.lenders(now, h, k)
	best, next, unknown, soon := -1, int64(math.MaxInt64), false, int64(0)
	for i := range h.peers {
		p := &h.peers[i]
		isDown, _ := s.core.box.state(p.node, now.Lo)
		switch {
		case isDown:
			next = min(next, now.Lo+downFor)
		case now.Lo < p.after:
			next = min(next, p.after)
			unknown = unknown || p.tries > 0
			if p.ready <= now.Hi+now.doubts() {
				soon++
			}
		case best < 0 || p.after < h.peers[best].after || p.after == h.peers[best].after && p.left > h.peers[best].left:
			best = i
		}
	}
	switch {
	case best >= 0:
		h.asking = h.peers[best].node
		s.core.box.ask(h.asking, h)
		s.core.kick()
		return
	case unknown:
		return // tick goes on
	}
	h.denyUntil = max(min(next, now.Lo+lenderAgain), now.Lo+k.pause(h.budget.Period))
	s.refuseBut(now, h, soon+k.tokens(k.full, ticks(now.Hi), ticks(now.Hi), h.own))
}

// nextToken is how long it is until a node has a token that was asked for one, 0 if
// none has said that.
func (h *hunt) nextToken(now Instant) (wait int64) {
	if h == nil {
		return 0
	}
	for i := range h.peers {
		if at := h.peers[i].ready; at > now.Lo && at < never && (wait == 0 || at-now.Lo < wait) {
			wait = at - now.Lo
		}
	}
	return wait
}

// pause is how long a node that has lent all it had is not asked again.
func (k *bucket) pause(p window.Period) int64 { return min(roundPause, k.filled(p)/16) }

// doubts is by how much the moment at which another node has a token is doubtful
// here: by both clocks, and a little for the way.
func (i Instant) doubts() int64 { return 2*(i.Hi-i.Lo) + 2*millisecond }

// refuseBut refuses all who wait but the first n: their tokens may be there
// already, as far as clocks can tell.
func (s *shard) refuseBut(now Instant, h *hunt, n int64) {
	waiters := h.waiters
	h.waiters = nil
	for i, tk := range waiters {
		switch {
		case tk.done:
		case n > 0:
			h.waiters = append(h.waiters, waiters[i])
			n--
		default:
			s.refuse(now, tk, h.need(tk))
		}
	}
}

// lenders lists who has a part of the bucket.
func (s *shard) lenders(now Instant, h *hunt, k *bucket) {
	if h.peers != nil {
		return
	}
	h.peers = []prey{}
	if h.budget.Period.IsLocal() {
		return
	}
	v := s.core.view.Load()
	d, known, _ := s.core.division(h.budget.Period, now.Hi, h.limit)
	for _, m := range d.Members {
		if share := d.Share(m, h.budget, k.burst); known && share > 0 && m.Node != v.member.Node {
			h.peers = append(h.peers, prey{node: m.Node, left: share})
		}
	}
}

// deniedBucket says whether a request is refused because all other nodes have said
// that they have no token by now.
func (h *hunt) deniedBucket(now Instant) bool {
	h.demand()
	h.used = now.Lo
	return now.Lo < h.denyUntil
}

// borrow fills in what a hunt asks of another node. It asks for nothing if the
// loan would be void before it is here.
func (h *hunt) borrow(now Instant, l *link, t *Take) {
	k := loadBucket(h.cell, h.budget.Period)
	longest := k.longestLife(h.budget.Period)
	quick := min(longest, quickLife+2*l.trip)
	t.Life, t.Want, h.late = quick, t.Waiting, 0
	p := h.prey(h.asking)
	if early := int64(h.rate*float64(longest-quick)/2/float64(second)) - h.borrowedLeft(now); early > 0 && p != nil && p.left >= fewTokens {
		t.Life = longest
		t.Want += min(early, k.burst)
	}
	t.until = now.Own + t.Life - t.Life*drift/1_000_000 - 1
	if l.trip < t.Life {
		return
	}
	t.Want, l.trip = 0, l.trip/2 // perhaps it is less the next time
	if p != nil {
		p.after, p.ready = now.Lo+lenderAgain, never
	}
}

// borrowed takes over what a lender has said.
func (s *shard) borrowed(now Instant, h *hunt, node string, t *Take, g *Give) {
	if n := min(g.Granted, t.Want); n > 0 && s.core.rules.borrowed(now.Own, t.until) {
		h.loans = append(h.loans, loan{n, t.until})
		h.hearLoan(now, n)
	}
	p := h.prey(node)
	if p == nil {
		return
	}
	switch {
	case g.Pending && p.tries < 20:
		p.tries++
		p.after = now.Lo + pendingAgain
		return
	case g.Left > 0:
		p.after, p.ready = now.Lo, 0
	case g.Next <= 0:
		p.after, p.ready = now.Lo+lenderAgain, never
	default:
		k := loadBucket(h.cell, h.budget.Period)
		p.ready = now.Lo + g.Next
		p.after = max(min(p.ready, now.Lo+lenderAgain), now.Lo+k.pause(h.budget.Period))
	}
	p.tries = 0
}

// lend gives tokens of this node's part to another one, until the end of the
// loan's life.
func (s *shard) lend(now Instant, t *Take) Give {
	b := t.Budget
	cl := s.cell(now, b, t.Limit)
	if cl == nil {
		return Give{}
	}
	k := loadBucket(cl, b.Period)
	if !has(cl, minted) || !s.steady(now, t) {
		return Give{Pending: true}
	}
	if t.Life < shortestLife || t.Life > k.longestLife(b.Period) {
		return Give{Next: pendingAgain} // of another version of the limit
	}
	h := s.hunts[placeOf(b)]
	r, end := h.ownReserved(), ticks(now.Hi)+s.core.rules.life(ticks(t.Life))
	var g Give
	if have := k.tokens(k.full, ticks(now.Lo), end, r); have > 0 {
		g.Granted = s.portion(now, cl, b, t, have)
		k.full = k.less(k.full, end, r, g.Granted)
		cl.Credited.Store(k.full)
		k.tell(cl, b.Period, g.Granted)
		s.spread(now, cl, b)
		s.count(now, cl, b, &k)
		g.Left = k.tokens(k.full, ticks(now.Lo), end, r)
	}
	if g.Left == 0 {
		g.Next = micros(k.next(k.full, ticks(now.Lo), r))
	}
	return g
}

// steady says whether it is certain that no roster comes into force before the end
// of a loan's life: a lender may have less then, and must not have lent more.
func (s *shard) steady(now Instant, t *Take) bool {
	end := now.Hi + t.Life
	if _, known, _ := s.core.division(t.Budget.Period, end, t.Limit); !known {
		return false
	}
	for _, r := range s.core.view.Load().rosters.History {
		if from := r.From(); from > now.Lo && from <= end {
			return false
		}
	}
	return true
}

// demandOf is how many requests a hunt of a bucket has seen.
func (s *shard) demandOf(b ledger.Budget) int64 {
	if h := s.hunts[placeOf(b)]; h != nil {
		return h.asked
	}
	return 0
}

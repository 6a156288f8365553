package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// Token buckets. Each node has a part of a bucket: a share of its burst, and the
// same part of what comes back. So the parts together are the bucket, in every
// span of time, and nobody has to tell anybody anything. Tokens are lent for a
// moment (lend.go). DESIGN.md has the proof.
//
// A cell keeps the time at which the part is full again, in Credited: one number,
// written before the answer, so a process that dies has not forgotten what it
// spent. Max has the limit and the burst, Extra the share (and what others.go has
// in it), and Told the second since which the share is this one. The tokens are counted anew from that under
// the shard's lock, and are for reading only.

// bucket is what a cell says.
type bucket struct {
	flow
	full         int64 // when it is, in ticks
	limit, burst int64
	version      uint32
	settled      int64 // seconds; 0: nothing is known yet
	toTell       int64 // tokens that are gone, of which others have not heard
}

func loadBucket(cl *cells.Cell, p window.Period) bucket {
	v := cl.Max.Load()
	k := bucket{
		full: cl.Credited.Load(), limit: low(v), burst: high(v),
		version: cl.Version.Load(), settled: int64(cl.Told.Load()),
	}
	size, toTell := k.split(p, cl.Extra.Load())
	k.flow, k.toTell = flowOf(p, k.limit, k.burst, size), toTell
	return k
}

// store writes all of it. A process that dies in between leaves an empty bucket.
func (k *bucket) store(cl *cells.Cell, p window.Period) {
	cl.Credited.Store(never)
	cl.Max.Store(pair(k.limit, k.burst))
	cl.Extra.Store(k.extra(p))
	cl.Told.Store(uint32(k.settled))
	cl.Version.Store(k.version)
	cl.Credited.Store(k.full)
}

// resize gives the bucket another share from a time on.
func (k *bucket) resize(p window.Period, limit, burst, size, at int64) {
	next := flowOf(p, limit, burst, size)
	k.full = k.become(next, k.full, at)
	k.flow, k.limit, k.burst = next, limit, burst
}

// newCluster is for how long after it the first roster is known to be that: for
// longer than that nothing is forgotten of rosters.
const newCluster = 100 * second

// bucketCell returns a bucket's cell, up to date.
func (s *shard) bucketCell(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) *cells.Cell {
	if cl.Start.Load() != mark(b) {
		s.enter(cl, b, l)
		cl.Max.Store(pair(l.Max, l.Burst))
	}
	s.settle(now, cl, b, l)
	if h := s.hunts[placeOf(b)]; h != nil && h.live > 0 && tokens(cl) > 0 {
		s.serveWaiters(now, h) // they came first
	}
	return cl
}

// settle follows what the log and the configuration have said since the cell was
// last looked at, counts its tokens, and reports whether it is certain what this
// node's share is.
func (s *shard) settle(now Instant, cl *cells.Cell, b ledger.Budget, l ledger.Limit) bool {
	k := loadBucket(cl, b.Period)
	d, known, _ := s.core.division(b.Period, now.Hi, l)
	was := k
	if k.full == never { // a process died here
		k.full = ticks(now.Hi+maxLife) + k.fill()
	}
	if known && !b.Period.IsLocal() {
		known = s.reshare(now, &k, b, l)
	}
	if known {
		s.adopt(now, &k, b, l, d)
	}
	if k != was {
		s.changed(cl, b.Period, &was, &k)
		s.resettled(b, l)
	}
	flag(cl, minted, known)
	flag(cl, degraded, known && !b.Period.IsLocal() && !s.core.rules.fresh(s.core.view.Load().stamp, now.Hi))
	s.count(now, cl, b, &k)
	return known
}

// changed stores what settle has made of a bucket.
func (s *shard) changed(cl *cells.Cell, p window.Period, was, is *bucket) {
	if is.isTold(p) != was.isTold(p) {
		is.toTell = 0
		cl.Low.Store(0)
	}
	is.store(cl, p)
	if was.settled == 0 && !is.isTold(p) {
		cl.Low.Store(clampLow(is.size / 2)) // then the demand is looked at
	}
}

// reshare takes note of every roster that has come into force since the cell was
// settled, one after the other, so that it never has more than if it had been
// looked at all the time. It returns false while one may have come or not.
func (s *shard) reshare(now Instant, k *bucket, b ledger.Budget, l ledger.Limit) bool {
	v := s.core.view.Load()
	if k.settled == 0 && !s.open(now, v, k, b, l) {
		return false
	}
	for i := range v.rosters.History {
		r := &v.rosters.History[i]
		from := r.From()
		switch {
		case from <= k.settled*second:
			continue
		case from > now.Hi:
			return k.settled > 0
		case from > now.Lo:
			return false
		}
		share := s.bucketShare(v, r.Members, b, k.burst)
		if i == 0 || k.size == 0 { // before the first one others may have had shares
			k.flow = flowOf(b.Period, k.limit, k.burst, share)
			k.full = s.core.rules.joined(ticks(from), k.fill())
		} else {
			k.resize(b.Period, k.limit, k.burst, share, ticks(from))
		}
		k.settled = from / second
	}
	return k.settled > 0
}

// open fills a new cell's bucket as of the time at which the limit came, if it is
// known who had shares then: nobody had taken anything. It returns false before
// that.
func (s *shard) open(now Instant, v *view, k *bucket, b ledger.Budget, l ledger.Limit) bool {
	since := s.core.rules.since(v, l.Since)
	d := v.rosters.Of(since)
	if h := v.rosters.History; len(h) > 0 && len(d.Members) == 0 && h[0].Since >= v.stamp-newCluster {
		since, d.Members = h[0].From(), h[0].Members // the first one ever
	}
	if since > now.Lo {
		return false
	}
	if since > 0 && len(d.Members) > 0 {
		k.flow = flowOf(b.Period, k.limit, k.burst, s.bucketShare(v, d.Members, b, k.burst))
		k.full, k.settled = ticks(since), since/second
	}
	return true
}

func (s *shard) bucketShare(v *view, members []ledger.Member, b ledger.Budget, burst int64) int64 {
	d := ledger.Division{Members: members, Whole: true}
	m, _ := v.heir(d)
	return d.Share(m, b, burst)
}

// adopt changes the bucket to a newer version of the limit.
func (s *shard) adopt(now Instant, k *bucket, b ledger.Budget, l ledger.Limit, d ledger.Division) {
	local := b.Period.IsLocal()
	if local && k.settled == 0 {
		k.settled, k.flow = 1, flowOf(b.Period, k.limit, k.burst, k.burst)
	}
	if newer := int32(uint32(l.Version) - k.version); newer <= 0 {
		return
	}
	k.version = uint32(l.Version)
	if k.limit == l.Max && k.burst == l.Burst {
		return
	}
	share, before, life := l.Burst, k.each, k.longestLife(b.Period)
	if !local {
		share = s.bucketShare(s.core.view.Load(), d.Members, b, l.Burst)
	}
	k.resize(b.Period, l.Max, l.Burst, share, ticks(now.Hi))
	if !local && k.each < before { // what is lent counts as long as it did
		k.full += ticks(life)
	}
}

// resettled has a hunt take note that the cell's bucket is another one.
func (s *shard) resettled(b ledger.Budget, l ledger.Limit) {
	h := s.hunts[placeOf(b)]
	if h == nil {
		return
	}
	if l.Version > h.limit.Version {
		h.limit = l
	}
	// Tokens that are reserved are part of the bucket that was; they are void.
	h.own, h.era = 0, h.era+1
	h.peers, h.denyUntil = nil, 0
}

// flag sets a flag, or takes it away.
func flag(cl *cells.Cell, f uint32, on bool) {
	switch {
	case on == has(cl, f):
	case on:
		set(cl, f)
	default:
		unset(cl, f)
	}
}

// count writes into the cell how many tokens there are.
func (s *shard) count(now Instant, cl *cells.Cell, b ledger.Budget, k *bucket) int64 {
	n, h := int64(0), s.hunts[placeOf(b)]
	if has(cl, minted) {
		n = k.tokens(k.full, ticks(now.Lo), ticks(now.Hi), h.ownReserved()) + h.borrowedLeft(now)
	}
	if n != tokens(cl) {
		cl.Enter(mark(b), n)
	}
	return n
}

// takeBucket spends a token of a cell that is settled, a borrowed one first. until
// is then how long it was good, of the own clock, and 0 for an own one.
func (s *shard) takeBucket(now Instant, cl *cells.Cell, b ledger.Budget) (left, until int64, ok bool) {
	if !has(cl, minted) {
		return 0, 0, false
	}
	h := s.hunts[placeOf(b)]
	k := loadBucket(cl, b.Period)
	if until = h.useBorrowed(now); until == 0 {
		r := h.ownReserved()
		if k.tokens(k.full, ticks(now.Lo), ticks(now.Hi), r) <= 0 {
			return 0, 0, false
		}
		k.full = k.less(k.full, ticks(now.Hi), r, 1)
		cl.Credited.Store(k.full)
		k.tell(cl, b.Period, 1)
	}
	h.demand()
	return s.count(now, cl, b, &k), until, true
}

// untake puts back a token at the moment at which it was taken.
func (s *shard) untake(now Instant, cl *cells.Cell, b ledger.Budget, until int64) {
	k := loadBucket(cl, b.Period)
	if until > 0 {
		s.hunts[placeOf(b)].lendBack(until)
	} else {
		k.full -= k.each
		cl.Credited.Store(k.full)
		k.tell(cl, b.Period, -1)
	}
	s.count(now, cl, b, &k)
}

// reserve takes a token for a need of a hunt. An own one stays in the bucket, in
// which there is room for one less then (flow.tokens).
func (s *shard) reserve(now Instant, h *hunt, n *need) bool {
	if !h.budget.Period.IsBucket() {
		_, ok := h.cell.Take(mark(h.budget))
		return ok
	}
	if !has(h.cell, minted) {
		return false
	}
	k := loadBucket(h.cell, h.budget.Period)
	n.until, n.era = h.useBorrowed(now), h.era
	if n.until == 0 {
		if k.tokens(k.full, ticks(now.Lo), ticks(now.Hi), h.own) <= 0 {
			return false
		}
		h.own++
		k.full += k.each
		h.cell.Credited.Store(k.full)
	}
	s.count(now, h.cell, h.budget, &k)
	return true
}

// unreserve returns a need's token.
func (s *shard) unreserve(now Instant, n *need) {
	h := n.hunt
	switch {
	case !h.budget.Period.IsBucket():
		h.cell.Add(mark(n.budget), 1)
	case n.until > 0:
		h.lendBack(n.until)
	case n.era == h.era:
		k := loadBucket(h.cell, h.budget.Period)
		k.full = k.less(k.full, ticks(now.Hi), h.own, -1)
		h.own--
		h.cell.Credited.Store(k.full)
		s.count(now, h.cell, h.budget, &k)
	}
}

// stillGood says whether a need's token of a bucket may be spent now. One that may
// not is returned.
func (s *shard) stillGood(now Instant, n *need) bool {
	h := n.hunt
	if h == nil || !h.budget.Period.IsBucket() {
		return true
	}
	k := loadBucket(h.cell, h.budget.Period)
	good := has(h.cell, minted)
	switch {
	case !good:
	case n.until > 0:
		good = s.core.rules.borrowed(now.Own, n.until)
	default:
		good = n.era == h.era && k.full-(h.own-1)*k.each <= ticks(now.Lo)+k.fill()
	}
	if !good {
		s.unreserve(now, n)
	}
	return good
}

// spend takes a need's token out of its bucket.
func (s *shard) spend(now Instant, n *need) {
	h := n.hunt
	if !h.budget.Period.IsBucket() {
		return
	}
	h.demand()
	if n.until == 0 {
		k := loadBucket(h.cell, h.budget.Period)
		k.full = k.less(k.full, ticks(now.Hi), h.own, 0)
		h.own--
		h.cell.Credited.Store(k.full)
		k.tell(h.cell, h.budget.Period, 1)
		s.count(now, h.cell, h.budget, &k)
	}
}

// bucketOver says whether a bucket's cell may be forgotten: it is full, and would
// be if it came again.
func (s *shard) bucketOver(now Instant, cl *cells.Cell) bool {
	if cl.Start.Load() == 0 {
		return true
	}
	b := ledger.Budget{Key: ledger.Key(cl.Key()), Period: cl.Period(), Start: int64(cl.Start.Load())}
	if s.hunts[placeOf(b)] != nil {
		return false
	}
	k := loadBucket(cl, b.Period)
	if k.settled == 0 {
		return true // nothing was ever taken
	}
	known := s.settle(now, cl, b, configured(cl))
	k = loadBucket(cl, b.Period)
	return known && k.full <= ticks(now.Lo) && k.othersFull(now, cl, b.Period) == 0
}

// configured is the limit that a bucket's cell has seen last. It does not say since
// when there is one, which is needed once, to open the bucket.
func configured(cl *cells.Cell) ledger.Limit {
	v := cl.Max.Load()
	return ledger.Limit{Version: uint64(cl.Version.Load()), Max: low(v), Burst: high(v)}
}

// bucketHolding is what there is of a bucket here. Spent is what is not back yet.
func (s *shard) bucketHolding(now Instant, cl *cells.Cell, b ledger.Budget) Holding {
	known := loadBucket(cl, b.Period).settled > 0 && s.settle(now, cl, b, configured(cl))
	h := s.describe(cl, b)
	h.Limit = configured(cl)
	if !known {
		return h
	}
	k := loadBucket(cl, b.Period)
	h.Spent = k.size - k.tokens(k.full, ticks(now.Hi), ticks(now.Hi), 0)
	h.Credited = max(k.size, h.Spent+tokens(cl))
	return h
}

// bucketReset is when all of a bucket is full, as far as is known, in seconds, or
// if the request was refused when somebody has the next token.
func (s *shard) bucketReset(now Instant, b ledger.Budget, admitted bool) int64 {
	cl := s.core.table.Find(keyOf(b), b.Period)
	if cl == nil {
		return 1
	}
	k := loadBucket(cl, b.Period)
	if admitted {
		return wholeSeconds(micros(max(k.full, k.othersFull(now, cl, b.Period)) - ticks(now.Lo)))
	}
	others := s.hunts[placeOf(b)].nextToken(now)
	if k.size == 0 {
		if others == 0 { // they have one as soon as all of them together
			others = micros(flowOf(b.Period, k.limit, k.burst, k.burst).each)
		}
		return wholeSeconds(others)
	}
	wait := micros(k.next(k.full, ticks(now.Lo), 0))
	if others > 0 {
		wait = min(wait, others)
	}
	return wholeSeconds(wait)
}

package escrow

import (
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// What other nodes have of a bucket, about: so that RateLimit-Remaining is that of
// all nodes. Nothing else depends on it. Of a small bucket, nodes tell each other
// at once what they have spent or lent, and a cell has a second bucket: that of all
// others together. The time at which it is full is in Low, and what is to be told
// in Extra, above the share. Of another bucket, they are taken to have as this one
// does.

// told says whether nodes tell each other of a bucket.
func told(p window.Period, limit, burst int64) bool {
	return burst <= smallBudget && limit <= smallBudget*p.Seconds()
}

func isTold(cl *cells.Cell, p window.Period) bool {
	v := cl.Max.Load()
	return told(p, low(v), high(v))
}

func (k *bucket) isTold(p window.Period) bool { return told(p, k.limit, k.burst) }

// sizeBits is how many bits of Extra are the share of a bucket that is told of.
const (
	sizeBits   = 8
	mostToTell = 1<<(32-sizeBits) - 1
)

// tell counts what is to be told: n tokens are gone, or came back.
func (k *bucket) tell(cl *cells.Cell, p window.Period, n int64) {
	if k.isTold(p) {
		k.toTell = max(0, min(k.toTell+n, mostToTell))
		cl.Extra.Store(k.extra(p))
	}
}

// extra is what a cell's Extra has of the bucket.
func (k *bucket) extra(p window.Period) uint32 {
	if k.isTold(p) {
		return uint32(k.toTell<<sizeBits | k.size)
	}
	return uint32(k.size)
}

// split takes an Extra apart.
func (k *bucket) split(p window.Period, extra uint32) (size, toTell int64) {
	if k.isTold(p) {
		return int64(extra & (1<<sizeBits - 1)), int64(extra >> sizeBits)
	}
	return int64(extra), 0
}

// others is the bucket of all other nodes together.
func (k *bucket) others(p window.Period) flow {
	return flowOf(p, k.limit, k.burst, k.burst-k.size)
}

// unit is what a time in Low is counted in: of a bucket that takes longest to be
// filled, that is a thirtieth of a second.
func (k *bucket) unit(p window.Period) int64 {
	return max(ticks(millisecond), ticks(k.filled(p))>>30)
}

// othersFull is when the others' bucket is full, 0 if it is. Low is that time but
// for multiples of 2^32.
func (k *bucket) othersFull(now Instant, cl *cells.Cell, p window.Period) int64 {
	low, units := cl.Low.Load(), ticks(now.Lo)/k.unit(p)
	if ahead := int32(low - uint32(units)); k.isTold(p) && low != 0 && ahead > 0 {
		return (units + int64(ahead)) * k.unit(p)
	}
	return 0
}

// heard takes note of what others have spent.
func (k *bucket) heard(now Instant, cl *cells.Cell, p window.Period, n int64) {
	f := k.others(p)
	if !k.isTold(p) || f.size == 0 {
		return
	}
	lo := ticks(now.Lo)
	full := f.less(k.othersFull(now, cl, p), lo, 0, min(n, f.size))
	units := min(full, lo+f.fill()) / k.unit(p)
	cl.Low.Store(max(1, uint32(units)))
}

// bucketLeft is about how many tokens all nodes have together, if this one may
// spend own. It may have one more, of which that is not certain yet.
func bucketLeft(now Instant, cl *cells.Cell, p window.Period, own int64) int64 {
	if !has(cl, minted) {
		return 0
	}
	k := loadBucket(cl, p)
	f, lo, hi := k.others(p), ticks(now.Lo), ticks(now.Hi)
	own = max(own, k.tokens(k.full, hi, hi, 0))
	switch {
	case k.isTold(p):
		return own + f.tokens(k.othersFull(now, cl, p), lo, lo, 0)
	case k.size == 0:
		return own
	}
	return own + scale(min(own, k.size), f.size, k.size)
}

// hearBucket is hear for a bucket.
func (s *shard) hearBucket(now Instant, n *News) {
	cl := s.cell(now, n.Budget, n.Limit)
	if cl == nil {
		return
	}
	more := n.More
	if h := s.hunts[placeOf(n.Budget)]; h != nil {
		known := min(h.early, more)
		h.early -= known
		more -= known
		h.late += more
	}
	if k := loadBucket(cl, n.Budget.Period); more > 0 {
		k.heard(now, cl, n.Budget.Period, more)
	}
}

// hearLoan takes note that a lender has spent what it lent to this node.
func (h *hunt) hearLoan(now Instant, n int64) {
	known := min(h.late, n)
	h.late -= known
	h.early += n - known
	if k := loadBucket(h.cell, h.budget.Period); n > known {
		k.heard(now, h.cell, h.budget.Period, n-known)
	}
}

// bucketNews is newsOf for a bucket.
func bucketNews(cl *cells.Cell, b ledger.Budget) (News, bool) {
	k := loadBucket(cl, b.Period)
	more := k.toTell
	k.tell(cl, b.Period, -more)
	return News{Budget: b, Limit: configured(cl), More: more}, more > 0
}

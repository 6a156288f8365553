package limiter

import (
	"container/heap"
	"strconv"
	"sync"

	"github.com/cespare/xxhash/v2"
)

const (
	// grace is how long after its end a window is still accounted, in
	// microseconds: reports of the last moments arrive late.
	grace = 3 * second

	defaultMaxCells   = 1 << 20
	defaultMaxMembers = 4096
	overflowBuckets   = 1024
	// memberSilence is how long a node must not have spoken before its record
	// may make room for another one.
	memberSilence = 24 * 3600 * second
	// maxRetired is how many written-off incarnations of a node are
	// remembered, so that a delayed batch of theirs is known for what it is.
	maxRetired = 4
	// expireAtLeast bounds the windows dropped by one entry together with the
	// entry's own items: always more than an entry can create.
	expireAtLeast = 256
)

// Ledger is the replicated account of every open window: what is in the pool,
// what each node was granted, has given back and has spent. It is part of the
// raft state machine: Apply has no clock, no randomness and no I/O, and equal
// logs give equal ledgers and equal outcomes. Safe for concurrent use; Apply
// calls must come in log order.
type Ledger struct {
	mu      sync.RWMutex
	stamp   int64  // cluster time of the last entry
	epoch   uint64 // epochs given out so far
	members map[string]*member
	cells   map[cellKey]*budget
	expiry  expiryHeap
	shared  int // overflow cells among cells

	maxCells   int // equal on all replicas
	maxMembers int
}

// member is a node as the ledger knows it. Its epoch names its incarnation:
// holders of an older epoch are written off when their cell is next touched.
type member struct {
	name        string
	incarnation string
	epoch       uint64 // 0: forgotten
	seq         uint64
	seen        int64
	last        BatchResult
	retired     []string // oldest first
}

// cellKey names a window of a key, or with shared set one of the overflow
// cells of a limit.
type cellKey struct {
	limit, key string
	period     Period
	start      int64
	shared     bool
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		members:    make(map[string]*member),
		cells:      make(map[cellKey]*budget),
		maxCells:   defaultMaxCells,
		maxMembers: defaultMaxMembers,
	}
}

// Apply carries out one entry and returns what came of it. The outcome shares
// no memory with the ledger that either side changes.
func (l *Ledger) Apply(e Entry) *Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stamp = max(l.stamp+1, min(e.Stamp, maxUnix*second))
	o := &Outcome{Stamp: l.stamp, Results: make([]BatchResult, len(e.Batches))}
	items := 0
	for i := range e.Batches {
		items += len(e.Batches[i].Items)
	}
	l.expire(expireAtLeast + 2*items)
	for i := range e.Batches {
		o.Results[i] = l.applyBatch(&e.Batches[i], o)
	}
	return o
}

// applyBatch applies b at most once for each (node, incarnation, seq).
func (l *Ledger) applyBatch(b *Batch, o *Outcome) BatchResult {
	r := BatchResult{Node: b.Node, Incarnation: b.Incarnation, Seq: b.Seq, Stamp: l.stamp}
	if b.Node == "" || len(b.Node) > maxKey || len(b.Incarnation) > maxKey || len(b.Items) > maxBatchItems {
		r.Results = refuseAll(len(b.Items), RefusedMalformed)
		return r
	}
	m, ok := l.member(b.Node)
	if !ok {
		r.Results = refuseAll(len(b.Items), RefusedNodes)
		return r
	}
	if m.incarnation != b.Incarnation || m.epoch == 0 {
		// Any process begins with seq 1 and repeats it until it is answered. A
		// later one comes from a process that this ledger has forgotten.
		if b.Seq != 1 || m.isRetired(b.Incarnation) {
			r.Stale = true
			return r
		}
		l.epoch++
		m.begin(b.Incarnation, l.epoch)
	} else if b.Seq <= m.seq {
		return m.last
	}
	m.seq, m.seen = b.Seq, l.stamp
	r.Results = make([]Result, len(b.Items))
	for i := range b.Items {
		r.Results[i] = l.applyItem(m, &b.Items[i], o)
	}
	m.last = r
	return r
}

func refuseAll(n int, why string) []Result {
	rs := make([]Result, min(n, maxBatchItems))
	for i := range rs {
		rs[i].Refused = why
	}
	return rs
}

// member returns the record of a node, a new one if there is room for it.
func (l *Ledger) member(name string) (*member, bool) {
	if m := l.members[name]; m != nil {
		return m, true
	}
	if len(l.members) >= l.maxMembers && !l.forgetMember() {
		return nil, false
	}
	m := &member{name: name}
	l.members[name] = m
	return m, true
}

// forgetMember drops the node that has been silent longest, if it has been
// silent long enough. What it held is lost.
func (l *Ledger) forgetMember() bool {
	var oldest *member
	for _, m := range l.members {
		if oldest == nil || m.seen < oldest.seen || m.seen == oldest.seen && m.name < oldest.name {
			oldest = m
		}
	}
	if oldest == nil || l.stamp-oldest.seen < memberSilence {
		return false
	}
	oldest.epoch = 0
	delete(l.members, oldest.name)
	return true
}

func (m *member) isRetired(incarnation string) bool {
	for _, r := range m.retired {
		if r == incarnation {
			return true
		}
	}
	return false
}

// begin makes incarnation the one that speaks for m.
func (m *member) begin(incarnation string, epoch uint64) {
	if m.epoch != 0 {
		if len(m.retired) == maxRetired {
			m.retired = append(m.retired[:0], m.retired[1:]...)
		}
		m.retired = append(m.retired, m.incarnation)
	}
	m.incarnation, m.epoch, m.seq = incarnation, epoch, 0
}

// applyItem carries out one item of m's batch.
func (l *Ledger) applyItem(m *member, it *Item, o *Outcome) Result {
	end, why := l.admissible(it)
	if why != "" {
		return Result{Refused: why}
	}
	b, ok := l.find(it, end)
	if !ok {
		return Result{Refused: RefusedFull}
	}
	if b == nil {
		return Result{} // a report about a window nobody has used
	}
	b.setLimit(it.Version, it.Max)
	return b.apply(m, it, o)
}

// admissible returns the end of the item's window in unix seconds, or why the
// item must not change anything.
func (l *Ledger) admissible(it *Item) (end int64, why string) {
	if it.Period >= Periods || it.Limit == "" || len(it.Limit) > maxKey || len(it.Key) > maxKey ||
		it.Start < 0 || it.Start > maxUnix || it.Rate != it.Rate ||
		outside(it.Max) || outside(it.Want) || outside(it.Waiting) || outside(it.Spent) || outside(it.Return) ||
		it.Max == 0 && it.Want > 0 {
		return 0, RefusedMalformed
	}
	start, end := it.Period.windowAt(it.Start)
	switch {
	case start != it.Start:
		return 0, RefusedMalformed
	case l.stamp > end*second+grace:
		return 0, RefusedExpired
	case start*second > l.stamp+aheadOf(start, end):
		return 0, RefusedFuture
	}
	return end, ""
}

func outside(n int64) bool { return n < 0 || n > maxAmount }

// find returns the cell of the item's window. A new one is made only for an
// item that needs it; (nil, true) otherwise. A key that once shared an overflow
// cell of a window goes on sharing it: a cell of its own would mint again.
func (l *Ledger) find(it *Item, end int64) (*budget, bool) {
	k := cellKey{limit: it.Limit, key: it.Key, period: it.Period, start: it.Start}
	if b := l.lookup(k); b != nil {
		return b, true
	}
	if it.Want == 0 && it.Spent == 0 {
		return nil, true
	}
	if own := len(l.cells) - l.shared; own >= l.maxCells {
		if l.shared >= l.maxCells {
			return nil, false
		}
		k = k.overflow()
		l.shared++
	}
	b := &budget{key: k, end: end, version: it.Version, max: it.Max, pool: it.Max}
	l.cells[k] = b
	heap.Push(&l.expiry, b)
	return b, true
}

// lookup returns the cell that accounts for k, or nil.
func (l *Ledger) lookup(k cellKey) *budget {
	if b := l.cells[k]; b != nil || l.shared == 0 {
		return b
	}
	return l.cells[k.overflow()]
}

// overflow is the cell that k shares when the table is full.
func (k cellKey) overflow() cellKey {
	n := xxhash.Sum64String(k.key) % overflowBuckets
	return cellKey{limit: k.limit, key: strconv.FormatUint(n, 10), period: k.period, start: k.start, shared: true}
}

// expire drops at most n windows that are over.
func (l *Ledger) expire(n int) {
	for ; n > 0 && len(l.expiry) > 0 && l.stamp > l.expiry[0].end*second+grace; n-- {
		b := heap.Pop(&l.expiry).(*budget)
		delete(l.cells, b.key)
		if b.key.shared {
			l.shared--
		}
	}
}

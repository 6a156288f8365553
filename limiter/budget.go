package limiter

import (
	"cmp"
	"slices"
)

// budget is the ledger's account of one window of one key:
//
//	pool + held by every holder + spent (reported) + lost = max
//
// at all times. pool is negative while more is out than a lowered limit allows.
type budget struct {
	key     cellKey
	end     int64 // unix seconds
	version uint64
	max     int64
	pool    int64
	// spent and lost are those of incarnations that are gone.
	spent, lost int64
	holders     []holder // by node name
}

// holder is what one incarnation of a node has of a window.
type holder struct {
	m     *member
	epoch uint64 // of the incarnation that holds
	// granted, returned and spent only grow.
	granted, returned, spent int64
	want                     int64 // lacking at its last ask
}

func (h *holder) held() int64 { return h.granted - h.returned - h.spent }

// setLimit moves the pool by the difference to a newer version's budget.
func (b *budget) setLimit(version uint64, limit int64) {
	if version <= b.version {
		return
	}
	b.pool += limit - b.max
	b.version, b.max = version, limit
}

// settle writes off what incarnations that are gone still held. It is lost, not
// free: the old process may have spent it without a report.
func (b *budget) settle() {
	b.holders = slices.DeleteFunc(b.holders, func(h holder) bool {
		if h.epoch == h.m.epoch {
			return false
		}
		b.spent += h.spent
		b.lost += h.held()
		return true
	})
}

// holder returns m's record, a new one if it has none.
func (b *budget) holder(m *member) *holder {
	i, ok := slices.BinarySearchFunc(b.holders, m.name, func(h holder, name string) int {
		return cmp.Compare(h.m.name, name)
	})
	if !ok {
		b.holders = slices.Insert(b.holders, i, holder{m: m, epoch: m.epoch})
	}
	return &b.holders[i]
}

// apply accounts one valid item of m: first what it reports and gives back,
// then what it wants.
func (b *budget) apply(m *member, it *Item, o *Outcome) Result {
	b.settle()
	h := b.holder(m)
	h.report(b, it.Spent)
	back := min(it.Return, h.held())
	h.returned += back
	b.pool += back

	granted := min(it.Want, max(0, b.pool), max(it.Waiting, b.chunk(h)))
	h.granted += granted
	b.pool -= granted
	h.want = it.Want - granted

	r := Result{Granted: granted, Pool: max(0, b.pool), Spent: b.spent}
	for i := range b.holders {
		r.Spent += b.holders[i].spent
		if other := &b.holders[i]; other != h {
			r.Outstanding += other.held()
		}
	}
	r.Closed = b.pool <= 0 && r.Outstanding == 0 && h.held() == 0
	if h.want > 0 && b.pool <= 0 {
		b.recall(h, it, o)
	}
	if back > 0 && b.pool > 0 || r.Closed {
		b.wake(h, o)
	}
	return r
}

// report takes over a cumulative count of spent tokens. More than was granted
// is what the node admitted on its share while there was no quorum: the pool
// pays for it, if need be by going negative.
func (h *holder) report(b *budget, spent int64) {
	if spent <= h.spent {
		return
	}
	if over := spent - (h.granted - h.returned); over > 0 {
		h.granted += over
		b.pool -= over
	}
	h.spent = spent
}

// chunk is the most h may be granted in advance. Chunks shrink with the pool and
// with the number of nodes that use the window, so that the end of a budget is
// spread thinly and little has to be called back. What requests wait for is not
// bounded by it: it is spent on arrival, so holding it back would only cost
// rounds.
func (b *budget) chunk(h *holder) int64 {
	n := int64(1)
	for i := range b.holders {
		if other := &b.holders[i]; other != h && (other.held() > 0 || other.want > 0) {
			n++
		}
	}
	return max(1, b.pool/(n+1))
}

// recall asks every other holder of unspent tokens for some. Overflow cells are
// left out: the nodes do not know them by this key.
func (b *budget) recall(h *holder, it *Item, o *Outcome) {
	if b.key.shared {
		return
	}
	for i := range b.holders {
		other := &b.holders[i]
		if other == h || other.held() <= 0 {
			continue
		}
		o.Recalls = append(o.Recalls, Recall{
			Node: other.m.name, Limit: b.key.limit, Key: b.key.key, Period: b.key.period,
			Start: b.key.start, Want: h.want, Rate: it.Rate,
		})
	}
}

// wake tells every other node that lacks tokens to ask again, once for each
// ask of theirs.
func (b *budget) wake(h *holder, o *Outcome) {
	for i := range b.holders {
		other := &b.holders[i]
		if other == h || other.want == 0 {
			continue
		}
		other.want = 0
		if !b.key.shared {
			o.Wakes = append(o.Wakes, Wake{
				Node: other.m.name, Limit: b.key.limit, Key: b.key.key, Period: b.key.period, Start: b.key.start,
			})
		}
	}
}

// compare is the total order in which windows expire and are written to a
// snapshot, the same on all replicas.
func (b *budget) compare(c *budget) int {
	if d := cmp.Compare(b.end, c.end); d != 0 {
		return d
	}
	return b.key.compare(c.key)
}

func (k cellKey) compare(o cellKey) int {
	shared := 0
	if k.shared != o.shared {
		shared = 1
		if o.shared {
			shared = -1
		}
	}
	return cmp.Or(
		cmp.Compare(k.limit, o.limit), cmp.Compare(k.key, o.key),
		cmp.Compare(k.period, o.period), cmp.Compare(k.start, o.start), shared,
	)
}

// expiryHeap is a min-heap (container/heap) of the open windows by compare.
type expiryHeap []*budget

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(*budget)) }
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}

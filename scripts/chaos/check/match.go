package check

import (
	"cmp"
	"container/heap"
	"slices"
)

// matchSlack is what the clocks of a client and of a node may differ: each reads
// the machine's once and counts from there.
const matchSlack = second / 1000

// match finds for every admission that a client heard of a record of its own.
func (c *counter) match() {
	recorded := 0
	for d, times := range c.made {
		recorded += len(times)
		slices.Sort(times)
		spans := c.heard[d]
		delete(c.heard, d)
		for _, s := range unmatched(times, spans) {
			c.escaped(d, s)
		}
	}
	heard := 0
	for d, spans := range c.heard { // none was recorded there
		for _, s := range spans {
			c.escaped(d, s)
		}
	}
	heard = c.result.Admitted
	c.result.Unheard = max(0, recorded-heard)
}

func (c *counter) escaped(d door, s span) {
	c.violation(d.limit, "%s: %s: a client was admitted between %d and %d, which is not recorded", d.node, c.name(d.owner), s.from, s.to)
}

// unmatched gives the spans that have no time of their own. Each time, in order,
// goes to the span that ends first.
func unmatched(times []int64, spans []span) (left []span) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var open byEnd
	next := 0
	for _, t := range times {
		for ; next < len(spans) && spans[next].from-matchSlack <= t; next++ {
			heap.Push(&open, spans[next])
		}
		for len(open) > 0 && open[0].to+matchSlack < t {
			left = append(left, heap.Pop(&open).(span))
		}
		if len(open) > 0 {
			heap.Pop(&open)
		}
	}
	return append(append(left, open...), spans[next:]...)
}

// byEnd is a heap.
type byEnd []span

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].to < h[j].to }
func (h byEnd) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byEnd) Push(x any)        { *h = append(*h, x.(span)) }
func (h *byEnd) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

package check

import (
	"fmt"
	"slices"
	"sort"
)

// instant is an admission's time: of the cluster's as far as it is known, and of
// the machine's.
type instant struct {
	lo, hi, mono int64
	max, burst   int64 // of the limit that was decided by
}

// slide judges a sliding window by what it means: no span of the window's length
// has more admissions than the limit. Only those count that are in the span for
// sure.
func (c *counter) slide(b budget, over []int) {
	times := c.spent[b]
	length := int64(b.length) * second
	begun, ended := make([]int64, len(times)), make([]int64, len(times))
	for i, t := range times {
		begun[i], ended[i] = t.lo, t.hi
	}
	slices.Sort(begun)
	slices.Sort(ended)
	for i := 0; i < len(begun); i++ {
		from := begun[i]
		until := sort.Search(len(ended), func(j int) bool { return ended[j] >= from+length })
		w := span{c.clock.mono(from), c.clock.mono(from + length)}
		most, _ := c.allowed(b, w)
		n := int64(until - i)
		if n > most {
			most = max(most, c.unaware(times, w))
		}
		if n > most {
			c.exceeded(b, w, over, float64(n)/float64(most), fmt.Sprintf("%d admitted of %d in the %s from %d", n, most, b.kind, from))
			i = until - 1 // the next span that has none of these
		}
	}
}

// unaware is the largest limit that a node decided by in a time in or shortly before
// which something was done to the cluster: it may not have heard of newer terms.
func (c *counter) unaware(times []instant, w span) (most int64) {
	for _, t := range times {
		if w.from <= t.mono && t.mono <= w.to && !c.calm(span{t.mono, t.mono}) {
			most = max(most, t.max)
		}
	}
	return most
}

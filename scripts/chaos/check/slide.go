package check

import (
	"fmt"
	"slices"
	"sort"
)

// instant is a time of the cluster's, as far as it is known.
type instant struct{ lo, hi int64 }

// slide judges limits of sliding windows by what they mean: no span of the
// window's length has more admissions than the limit. Only those count that are
// in the span for sure.
func (c *counter) slide(over []int) {
	for b, times := range c.slides {
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
			if n := int64(until - i); n > most {
				c.exceeded(b, w, over, float64(n)/float64(most), fmt.Sprintf("%d admitted of %d in the %s from %d", n, most, b.kind, from))
				i = until - 1 // the next span that has none of these
			}
		}
		c.result.Windows++
	}
}

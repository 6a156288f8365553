package check

import (
	"math"
	"slices"
	"sort"

	"github.com/sluicegate/sluice/limiter/audit"
)

const (
	// bucketLength is the time in which the cluster's clock and the machine's
	// are taken to run alike.
	bucketLength = second / 10
	// clockSlack is by how much nodes may contradict each other. A new leader goes
	// on from the latest that the old one's time can have been, which may be as
	// much ahead as a message took, and the others hear of it within half a
	// second. And a process may not be on a processor between the one clock and
	// the other. A wrong clock is wrong by more.
	clockSlack = second / 4
	// fewest is of how many admissions one was surely not interrupted.
	fewest = 8
)

// clock knows how far the cluster's time was ahead of the machine's monotonic
// clock, from what nodes wrote of both at the same moment.
type clock struct {
	buckets map[int64]map[string]*reading
	places  []int64 // of the buckets, in order
	ahead   []int64 // by their places
	doubts  []span  // the same: from and to how much, where nodes contradicted each other
}

// reading is what a node knew in a bucket: the cluster's time was at least low
// and at most high ahead.
//
// The machine's clock is read a moment after the cluster's, and much later if
// the process is stopped in between. So low is always right. Of high, the
// largest is: some admission of the bucket was not interrupted.
type reading struct {
	low, high int64
	of        int
}

func (c *clock) saw(node string, r *audit.Record) {
	at := floor(r.Mono, bucketLength)
	nodes := c.buckets[at]
	if nodes == nil {
		nodes = map[string]*reading{}
		c.buckets[at] = nodes
	}
	k := nodes[node]
	if k == nil {
		k = &reading{low: math.MinInt64, high: math.MinInt64}
		nodes[node] = k
	}
	k.low, k.high, k.of = max(k.low, r.Lo-r.Mono), max(k.high, r.Hi-r.Mono), k.of+1
}

// settle is called when all is seen.
func (c *clock) settle() {
	for at := range c.buckets {
		c.places = append(c.places, at)
	}
	slices.Sort(c.places)
	for _, at := range c.places {
		low := int64(math.MinInt64)
		for _, k := range c.buckets[at] {
			low = max(low, k.low)
		}
		c.ahead = append(c.ahead, low)
		c.doubts = append(c.doubts, doubtOf(c.buckets[at]))
	}
}

// noDoubt widens nothing.
var noDoubt = span{math.MaxInt64, math.MinInt64}

// doubtOf is what any node of a bucket took for possible, if they contradicted each
// other.
func doubtOf(nodes map[string]*reading) span {
	all, low, high := noDoubt, int64(math.MinInt64), int64(math.MaxInt64)
	for _, k := range nodes {
		all.from, all.to = min(all.from, k.low), max(all.to, k.high)
		low, high = max(low, k.low), min(high, k.high)
	}
	if low <= high {
		return noDoubt
	}
	return all
}

// doubt is what the cluster's time can have been at a moment of the machine's clock
// at or around which nodes contradicted each other; nothing if they did not.
func (c *clock) doubt(mono int64) (low, high int64) {
	at, all := floor(mono, bucketLength), noDoubt
	for i := sort.Search(len(c.places), func(i int) bool { return c.places[i] >= at-bucketLength }); i < len(c.places) && c.places[i] <= at+bucketLength; i++ {
		all.from, all.to = min(all.from, c.doubts[i].from), max(all.to, c.doubts[i].to)
	}
	if all == noDoubt {
		return all.from, all.to
	}
	return mono + all.from, mono + all.to
}

// of is the cluster's time at a moment of the machine's clock.
func (c *clock) of(mono int64) int64 {
	if len(c.places) == 0 {
		return mono
	}
	i := sort.Search(len(c.places), func(i int) bool { return c.places[i] > mono })
	return mono + c.ahead[max(0, i-1)]
}

// mono is the moment of the machine's clock at a cluster's time.
func (c *clock) mono(cluster int64) int64 {
	if len(c.places) == 0 {
		return cluster
	}
	i := sort.Search(len(c.places), func(i int) bool { return c.places[i]+c.ahead[i] > cluster })
	return cluster - c.ahead[max(0, i-1)]
}

// gap is the most by which two nodes contradicted each other.
func (c *clock) gap() (most int64) {
	for _, at := range c.places {
		low, high := int64(math.MinInt64), int64(math.MaxInt64)
		for _, k := range c.buckets[at] {
			low = max(low, k.low)
			if k.of >= fewest {
				high = min(high, k.high)
			}
		}
		if high < math.MaxInt64 {
			most = max(most, low-high)
		}
	}
	return most
}

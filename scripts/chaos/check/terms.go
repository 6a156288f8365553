package check

import (
	"math"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

const (
	// grace is how long after a change was confirmed nodes may still decide by
	// what was before.
	grace = 3 * second
	// isolatedLong is for how long a node must have been cut off for its tolerant
	// limits to be exceeded: nodes go on alone after two seconds without a leader,
	// and are fenced after three.
	isolatedLong = 2 * second
	// aftermath is for how long a fault may show: a node that is lost is fenced
	// after three seconds, and has no share of windows that begin three later.
	aftermath = 7 * second
)

// span is when a budget's window was, by the machine's clock.
func (c *counter) span(b budget) span {
	_, end, err := b.at(b.start)
	if err != nil {
		return span{math.MinInt64, math.MaxInt64}
	}
	return span{c.clock.mono(b.start), c.clock.mono(end)}
}

// inForce is the time of the machine's clock in which a limit's nth terms were.
func inForce(terms []book.Terms, n int) span {
	until := int64(math.MaxInt64) // what was not confirmed may come at any time
	for j := len(terms) - 1; j > n && terms[n].Confirmed > 0; j-- {
		if terms[j].Confirmed > 0 {
			until = terms[j].Confirmed + grace
		}
	}
	return span{terms[n].Asked, until}
}

// allowed is the largest of a budget's limits that were in force in a time of the
// machine's clock, and the smallest.
func (c *counter) allowed(b budget, w span) (most, least int64) {
	terms := c.run.Limits[b.limit].Terms
	least = math.MaxInt64
	for i := range terms {
		if f := inForce(terms, i); f.from <= w.to && f.to >= w.from {
			n := windowOf(&terms[i], b.kind).Max
			most, least = max(most, n), min(least, n)
		}
	}
	return most, least
}

// isolated says whether a node was cut off for long in a time or shortly before.
func (c *counter) isolated(w span) bool {
	for _, f := range c.faults {
		if f.Isolates && f.To-f.From >= isolatedLong && f.From <= w.to && f.To+aftermath >= w.from {
			return true
		}
	}
	return false
}

// calm says that nothing was done to the cluster in a time and shortly before.
func (c *counter) calm(w span) bool {
	w.from = max(w.from, c.run.Begun)
	for _, f := range c.faults {
		if f.From <= w.to && f.To+aftermath >= w.from {
			return false
		}
	}
	return true
}

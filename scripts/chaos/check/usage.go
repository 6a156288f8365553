package check

import (
	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// wanted takes note of a request as demand for its limit. Limits of several kinds of
// windows are left out: a request that one of them refuses is no demand for the
// other.
func (c *counter) wanted(o owner, q *book.Request) {
	ks := c.kinds(o)
	if len(ks) != 1 {
		return
	}
	b := budget{owner: o, kind: ks[0]}
	if c.run.Limits[o.limit].Local {
		b.node = q.Node
	}
	from, _, err := b.slot(c.slotTime(b.kind, q.Sent))
	to, _, err2 := b.slot(c.slotTime(b.kind, q.Received))
	if b.unit == audit.InFlight {
		to = from // it may have been refused at any time
	}
	if err == nil && err2 == nil && from == to {
		b.start = from
		c.demand[b]++
	}
}

// slotTime is the time by which slots of a kind are counted, at a moment of the
// machine's clock: the cluster's, but of what is in flight.
func (c *counter) slotTime(k kind, mono int64) int64 {
	if k.unit == audit.InFlight {
		return mono
	}
	return c.clock.of(mono)
}

// slotSpan is when a slot was, by the machine's clock.
func (c *counter) slotSpan(b budget) span {
	start, end, _ := b.slot(b.start)
	if b.unit == audit.InFlight {
		return span{start, end}
	}
	return span{c.clock.mono(start), c.clock.mono(end)}
}

// usages says how much of each limit was used where there was demand for it: in
// windows; of sliding windows and buckets, in times of their length, of which the
// one before had the demand, too; of what is in flight, in seconds with demand for
// twice as many.
func (c *counter) usages(over []int) []Usage {
	us := make([]Usage, len(c.run.Limits))
	for i, l := range c.run.Limits {
		us[i] = Usage{Limit: l.Name, Over: over[i]}
	}
	used := c.used()
	for b := range c.demand {
		w := c.slotSpan(b)
		most, least := c.allowed(b, w)
		if most != least || !c.inDemand(b, most) {
			continue
		}
		possible := most
		if b.unit == audit.InFlight {
			possible *= perSlot
		}
		quiet := c.calm(w)
		c.group(b.limit).add(used[b], possible, w.from-c.run.Begun, quiet)
		us[b.limit].add(used[b], possible, w.from-c.run.Begun, quiet)
	}
	return us
}

// inDemand says whether there was demand for all of a slot's budget.
func (c *counter) inDemand(b budget, most int64) bool {
	before := b
	before.start, _, _ = b.slot(b.start - 1)
	switch b.unit {
	case audit.InFlight:
		return c.demand[b]*c.run.Limits[b.limit].Hold >= 2*most*second && c.demand[before] > 0
	case audit.Sliding, audit.Bucket:
		return c.demand[b] >= most && c.demand[before] >= most
	}
	return c.demand[b] >= most
}

// perSlot is how much of what is in flight can be used in a slot by each of the limit:
// milliseconds.
const perSlot = second / 1000

// used is how much of each slot was, whatever a node has lost meanwhile.
func (c *counter) used() map[budget]int64 {
	used := map[budget]int64{}
	for b, t := range c.tallies {
		b.life = 0
		used[b] += t.tokens
	}
	for b, times := range c.spent {
		b.life = 0
		for _, t := range times {
			b.start, _, _ = b.slot(t.lo)
			used[b]++
		}
	}
	for b, spans := range c.held {
		for _, w := range spans {
			for from := w.from; from < w.to; {
				start, end, _ := b.slot(from)
				b.start = start
				used[b] += min(end, w.to)/1000 - from/1000
				from = end
			}
		}
	}
	return used
}

package check

import (
	"net/http"

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
	switch b.unit {
	case audit.InFlight:
		took := c.run.Limits[o.limit].Hold
		if q.Status == http.StatusOK {
			took = q.Received - q.Sent
		}
		c.asks[b] = append(c.asks[b], ask{q.Sent, took})
		return
	case audit.Sliding, audit.Bucket:
		c.asks[b] = append(c.asks[b], ask{sent: q.Sent})
		return
	}
	from, _, err := b.at(c.clock.of(q.Sent))
	to, _, err2 := b.at(c.clock.of(q.Received))
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

// usages says how much of each limit was used: of windows with demand for all of it;
// and of sliding windows, buckets and requests in flight all that an ideal limiter
// would have admitted. The nodes may have admitted more than that: they let requests
// wait for a moment.
func (c *counter) usages(over []int) []Usage {
	us := make([]Usage, len(c.run.Limits))
	for i, l := range c.run.Limits {
		us[i] = Usage{Limit: l.Name, Over: over[i]}
	}
	used := c.used()
	add := func(b budget, possible int64, w span, even bool) {
		part, quiet := portion{used[b], possible, w.from - c.run.Begun, even}, c.calm(w)
		us[b.limit].add(part, quiet)
		c.group(b.limit).add(part, quiet)
	}
	for b, demand := range c.demand {
		w := c.slotSpan(b)
		if most, least := c.allowed(b, w); most == least && demand >= most {
			add(b, most, w, true)
		}
	}
	for b, asks := range c.asks {
		for start, possible := range c.ideal(b, asks) {
			b.start = start
			add(b, possible, c.slotSpan(b), false)
		}
	}
	return us
}

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
		slots := map[int64]int64{}
		for _, w := range spans {
			b.inSlots(w, slots)
		}
		for start, n := range slots {
			b.start = start
			used[b] += n
		}
	}
	return used
}

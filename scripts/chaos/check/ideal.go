package check

import (
	"cmp"
	"slices"

	"github.com/sluicegate/sluice/limiter/audit"
)

// ask is a request that was admitted or refused, by the machine's clock.
type ask struct{ sent, took int64 }

// ideal says how many of the requests, by slots, one limiter would have admitted that
// knows everything at once, and lets nobody wait: of what is in flight, for how long.
// It need not agree with the nodes about who was admitted, only about how many.
func (c *counter) ideal(b budget, asks []ask) map[int64]int64 {
	slices.SortFunc(asks, func(a, b ask) int { return cmp.Compare(a.sent, b.sent) })
	possible := map[int64]int64{}
	g := gate{unit: int64(b.length) * second}
	for _, q := range asks {
		_, least := c.allowed(b, span{q.sent, q.sent})
		terms := c.run.Limits[b.limit].Terms
		g.max, g.burst = least, windowOf(&terms[len(terms)-1], b.kind).Burst
		t := c.slotTime(b.kind, q.sent)
		switch b.unit {
		case audit.InFlight:
			if g.flies(t, q.took) {
				b.inSlots(span{t, t + q.took}, possible)
			}
			continue
		case audit.Sliding:
			if !g.slides(t) {
				continue
			}
		default:
			if !g.drips(t) {
				continue
			}
		}
		start, _, _ := b.slot(t)
		possible[start]++
	}
	return possible
}

// inSlots adds a time to the slots that it is in, in milliseconds.
func (b budget) inSlots(w span, to map[int64]int64) {
	for from := w.from; from < w.to; {
		start, end, err := b.slot(from)
		if err != nil {
			return
		}
		to[start] += min(end, w.to)/1000 - from/1000
		from = end
	}
}

// gate is one limiter. times are of its admissions that count still.
type gate struct {
	max, burst, unit int64
	times            []int64
	full             int64 // when a bucket is, in microseconds times max
}

func (g *gate) flies(t, took int64) bool {
	g.times = slices.DeleteFunc(g.times, func(end int64) bool { return end <= t })
	if int64(len(g.times)) >= g.max {
		return false
	}
	g.times = append(g.times, t+took)
	return true
}

func (g *gate) slides(t int64) bool {
	g.times = slices.DeleteFunc(g.times, func(at int64) bool { return at <= t-g.unit })
	if int64(len(g.times)) >= g.max {
		return false
	}
	g.times = append(g.times, t)
	return true
}

func (g *gate) drips(t int64) bool {
	each := g.unit / g.max
	full := max(g.full, t) + each
	if full > t+g.burst*each {
		return false
	}
	g.full = full
	return true
}

package check

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// rule is what a bucket was like in a time of the cluster's clock, or may have been
// on some node.
type rule struct {
	span
	max, burst int64
}

// drain judges a token bucket: there must be times, of those at which each admission
// can have been, with which no span has more of them than the burst and what comes
// back in it. While several versions of a limit are in use, nodes may have parts of
// either: the burst is the largest one's then, and what comes back may add up.
func (c *counter) drain(b budget, over []int) {
	times := c.spent[b]
	rules := c.rules(b, times)
	p := newPace(rules, times[0].lo)
	unit := int64(b.length) * second
	jobs := make([]job, len(times))
	for i, t := range times {
		low, high := c.clock.doubt(t.mono)
		when := instant{lo: min(t.lo, low), hi: max(t.hi, high), mono: t.mono}
		jobs[i] = job{lo: p.back(when.lo), hi: p.back(when.hi), when: when}
	}
	for _, w := range stretches(rules) {
		var of []job
		burst := int64(0)
		for _, r := range rules {
			if r.from < w.to && r.to > w.from {
				burst = max(burst, r.burst)
			}
		}
		for _, j := range jobs {
			if j.when.lo >= w.from && j.when.hi < w.to {
				of = append(of, j)
			}
		}
		found := overdrafts(of, burst, unit, together)
		for _, o := range found {
			c.exceeded(b, span{c.clock.mono(o.from), c.clock.mono(o.to)}, over, float64(o.jobs)*float64(unit)/float64(burst*unit+p.back(o.to)-p.back(o.from)),
				fmt.Sprintf("%d admitted from %d to %d, with those around more than a burst of %d and what comes back of the %s", o.jobs, o.from, o.to, burst, b.kind))
		}
		if len(found) > 0 {
			return // stretches have admissions in common
		}
	}
}

// rules gives the terms of a bucket, each for as long as a node may have decided by
// them.
func (c *counter) rules(b budget, times []instant) (rs []rule) {
	terms := c.run.Limits[b.limit].Terms
	for i := range terms {
		w, f := windowOf(&terms[i], b.kind), inForce(terms, i)
		for _, t := range times {
			if t.max == w.Max && t.burst == w.Burst && t.mono > f.to && !c.calm(span{t.mono, t.mono}) {
				f.to = t.mono + grace // the node did not know
			}
		}
		r := rule{max: w.Max, burst: w.Burst}
		r.from, r.to = math.MinInt64, math.MaxInt64
		if i > 0 {
			r.from = c.clock.of(f.from) - clockSlack
		}
		if f.to < math.MaxInt64 {
			r.to = c.clock.of(f.to) + clockSlack
		}
		rs = append(rs, r)
	}
	return rs
}

// stretches gives the times that have to be judged by themselves: all of it, and what
// is left when some rules are not in force any more or not yet.
func stretches(rs []rule) (ws []span) {
	froms, tos := []int64{math.MinInt64}, []int64{math.MaxInt64}
	for _, r := range rs {
		if r.to < math.MaxInt64 {
			froms = append(froms, r.to)
		}
		if r.from > math.MinInt64 {
			tos = append(tos, r.from)
		}
	}
	for _, from := range froms {
		for _, to := range tos {
			if from < to {
				ws = append(ws, span{from, to})
			}
		}
	}
	return ws
}

// pace is how fast tokens come back, at any time: in its units, limit of them in a
// microsecond, so that a token is as many as the limit's time has microseconds.
type pace struct {
	origin int64   // any time
	steps  []int64 // when it changes
	rates  []int64 // from then on; the first one also before
	sums   []int64 // what came back until then, since the first step
}

func newPace(rs []rule, origin int64) *pace {
	p := &pace{origin: origin}
	for _, r := range rs {
		for _, at := range []int64{r.from, r.to} {
			if at != math.MinInt64 && at != math.MaxInt64 {
				p.steps = append(p.steps, at)
			}
		}
	}
	slices.Sort(p.steps)
	p.steps = append([]int64{math.MinInt64}, slices.Compact(p.steps)...)
	for i, at := range p.steps {
		sum := int64(0)
		if i > 1 {
			sum = p.sums[i-1] + (at-p.steps[i-1])*p.rates[i-1]
		}
		p.sums = append(p.sums, sum)
		p.rates = append(p.rates, rate(rs, at))
	}
	return p
}

// rate is how fast tokens come back from a time on. Nodes have the same parts of
// equal bursts; else the parts may add up to more than one.
func rate(rs []rule, at int64) (sum int64) {
	fastest := map[int64]int64{}
	for _, r := range rs {
		if r.from <= at && at < r.to {
			fastest[r.burst] = max(fastest[r.burst], r.max)
		}
	}
	for _, n := range fastest {
		sum += n
	}
	return sum
}

// back is what has come back at a time, counted from any other one.
func (p *pace) back(t int64) int64 {
	i := sort.Search(len(p.steps), func(i int) bool { return p.steps[i] > t }) - 1
	from := p.steps[i]
	if i == 0 { // before the first step, or there is none
		from = p.origin
		if len(p.steps) > 1 {
			from = p.steps[1]
		}
	}
	return p.sums[i] + (t-from)*p.rates[i]
}

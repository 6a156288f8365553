package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluicegate/sluice/limiter/audit"
)

const (
	// flightSlack is what the clocks of two processes may differ: each reads the
	// machine's once and counts from there.
	flightSlack = second / 1000
	// countsFor is for how long a request in flight counts at least. One that lasts
	// longer may be that of a node which was stopped, has lost its tokens to the
	// others (at the earliest three seconds after it was heard of last), and does not
	// know that.
	countsFor = 5 * second / 2
)

// event is the beginning or the end of a request in flight, by the machine's clock.
type event struct {
	at, max int64
	over    bool
}

func (c *counter) flew(p *process, b budget, r *audit.Record) {
	b.start, b.life = 0, 0 // a process begins with none in flight
	if c.flights[b] == nil {
		c.flights[b] = map[*process][]event{}
	}
	e := event{at: r.Mono, max: r.Max, over: r.Tokens < 0}
	for range max(r.Tokens, -r.Tokens) {
		c.flights[b][p] = append(c.flights[b][p], e)
	}
}

// fly judges a limit of requests in flight: at no moment of the machine's clock are
// more of them under way, for sure, than the limit. A request is under way from its
// first record to its second one, or to the last record of its process if that died.
func (c *counter) fly(b budget, over []int) {
	var events []event
	for p, es := range c.flights[b] {
		for _, w := range c.under(b, p, es) {
			c.held[b] = append(c.held[b], w)
			events = append(events, event{at: w.from}, event{at: w.to, over: true})
		}
	}
	slices.SortFunc(events, func(a, b event) int {
		if a.at == b.at && a.over != b.over { // ends first
			if a.over {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	held, most, told := int64(0), int64(0), false
	for _, e := range events {
		if e.over {
			held--
			told = told && held > most
			continue
		}
		held++
		w := span{e.at, e.at}
		most, _ = c.allowed(b, w)
		if held > most && !c.calm(w) {
			most = max(most, c.decided(b, w))
		}
		switch {
		case held <= most:
			told = false
		case !told:
			told = true
			c.exceeded(b, w, over, float64(held)/float64(most), fmt.Sprintf("%d of %d %s at %d of the machine's clock", held, most, b.kind, e.at))
		}
	}
}

// decided is the largest limit that a node decided by around a time.
func (c *counter) decided(b budget, w span) (most int64) {
	for _, es := range c.flights[b] {
		for _, e := range es {
			if w.from-countsFor <= e.at && e.at <= w.to+flightSlack {
				most = max(most, e.max)
			}
		}
	}
	return most
}

// under gives the times in which a process had requests under way. Which of them has
// ended is not known: the last one that has begun, so that those are left which
// count no more the soonest.
func (c *counter) under(b budget, p *process, es []event) (ws []span) {
	slices.SortStableFunc(es, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	var open []int64
	add := func(from, to int64) {
		if from, to = from+flightSlack, min(to-flightSlack, from+countsFor); from < to {
			ws = append(ws, span{from, to})
		}
	}
	for _, e := range es {
		switch last := len(open) - 1; {
		case !e.over:
			open = append(open, e.at)
		case last < 0:
			c.violation(b.limit, "%s: %s: at %d of the machine's clock a request is over that never was in flight", p.node, c.name(b.owner), e.at)
		default:
			add(open[last], e.at)
			open = open[:last]
		}
	}
	for _, from := range open {
		add(from, p.last)
	}
	return ws
}

package escrow

import (
	"fmt"
	"slices"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// oracle watches a world and reports the first broken invariant.
type oracle struct {
	w        *world
	labels   map[ledger.Budget]int64 // I1
	times    map[ledger.Budget]int64 // I2
	versions map[string][]*usage
	limitOf  map[ledger.Key]string
	err      error
	by       map[who]int64
	flights  []flight
	buckets  map[ledger.Budget]*bucketLog
	lost     map[ledger.Member]int64 // when they were fenced
	added    map[ledger.Budget]int64 // by operators
}

type who struct {
	b  ledger.Budget
	id string
}

// usage is a version of a limit and who enforces it.
type usage struct {
	lim         *Limit
	from, until int64
	users       map[*simNode]bool
}

func newOracle(w *world) *oracle {
	return &oracle{
		w: w, labels: map[ledger.Budget]int64{}, times: map[ledger.Budget]int64{},
		versions: map[string][]*usage{}, limitOf: map[ledger.Key]string{}, by: map[who]int64{}, lost: map[ledger.Member]int64{}, added: map[ledger.Budget]int64{}, buckets: map[ledger.Budget]*bucketLog{},
	}
}

func (o *oracle) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(format, args...)
	}
}

// adopt takes note that a node enforces lim from now on.
func (o *oracle) adopt(lim *Limit, n *simNode) {
	var mine *usage
	for _, u := range o.versions[lim.ID] {
		if u.users[n] {
			delete(u.users, n)
			u.until = o.w.now
		}
		if u.lim == lim {
			mine = u
		}
	}
	if mine == nil {
		mine = &usage{lim: lim, from: o.w.now, users: map[*simNode]bool{}}
		o.versions[lim.ID] = append(o.versions[lim.ID], mine)
	}
	mine.users[n] = true
}

// knows tells the oracle whose key it is.
func (o *oracle) knows(k ledger.Key, limit string) { o.limitOf[k] = limit }

// allowed is the largest budget of the versions that were in use since a window
// began, and what operators have added to it.
func (o *oracle) allowed(b ledger.Budget) int64 {
	w, _ := b.Window()
	if b.Period.IsInFlight() { // who knows nothing new goes on for some seconds
		w.From, w.Until = o.w.now-4*second, o.w.now
	}
	since := w.From - int64(b.Period.Slices())*(w.Until-w.From) - 2*second
	most := int64(0)
	for _, u := range o.versions[o.limitOf[b.Key]] {
		if len(u.users) > 0 || u.until >= since {
			for _, r := range u.lim.Rates {
				if r.Period == b.Period {
					most = max(most, r.Max)
				}
			}
		}
	}
	return most + o.added[b]
}

// topped takes note of what operators have added.
func (o *oracle) topped(all []ledger.ToppedUp) {
	for _, t := range all {
		o.added[t.Budget] = max(o.added[t.Budget], t.Added)
	}
}

// admitted counts one spent token: by its label, and by the time.
func (o *oracle) admitted(n *simNode, b ledger.Budget) {
	most, limit := o.allowed(b), o.limitOf[b.Key]
	if b.Period.IsLocal() {
		b.Key.Hi += uint64(n.number<<32 + n.tables) // each node's own, as long as it has its cells
	}
	o.by[who{b, n.id}]++
	switch {
	case b.Period.IsInFlight():
		o.began(n, b, most)
		return
	case b.Period.IsBucket():
		if o.w.f.liar == 0 {
			o.spend(n, b, limit)
		}
		return
	}
	o.labels[b]++
	if all := o.around(b); all > most {
		o.fail("strict: %d admissions of %d at %d on %s in %v %v", all, most, o.w.now, n.id, b.Period, b)
	}
	if o.w.f.liar > 0 {
		return
	}
	if start := b.Period.At(o.w.now).Start; start != b.Start {
		o.fail("time: %s admits at %d in the window of %d %v", n.id, o.w.now, b.Start, b.Period)
	}
}

// flight is a request that is being answered by a process.
type flight struct {
	n      *simNode
	life   int
	member ledger.Member
	b      ledger.Budget
	began  int64
}

// began counts a request that begins, and those that are in flight with it. What a
// member had in flight that has been fenced for a while does not count.
func (o *oracle) began(n *simNode, b ledger.Budget, most int64) {
	o.flights = append(o.flights, flight{n, n.life, n.core.Member(), b, o.w.now})
	all := int64(0)
	o.flights = slices.DeleteFunc(o.flights, func(f flight) bool {
		if !f.n.up || f.n.life != f.life {
			return true // it died with its process
		}
		lost := o.lost[f.member] + ledger.Delay
		if f.b == b && (lost == ledger.Delay || o.w.now < lost || f.began >= lost) {
			all++
		}
		return false
	})
	if all > most {
		o.fail("in flight: %d of %d at %d on %s %v", all, most, o.w.now, n.id, b)
	}
}

// ended takes a request out of flight.
func (o *oracle) ended(n *simNode, b ledger.Budget) {
	if b.Period.IsLocal() {
		b.Key.Hi += uint64(n.number<<32 + n.tables)
	}
	i := slices.IndexFunc(o.flights, func(f flight) bool { return f.n == n && f.life == n.life && f.b == b })
	if i >= 0 {
		o.flights = slices.Delete(o.flights, i, i+1)
	}
}

// around is what was admitted in a window; of sliding ones, the most that was in
// any that b's slice is part of.
func (o *oracle) around(b ledger.Budget) (most int64) {
	n := b.Period.Slices()
	for first := b.Start - n; first <= b.Start; first++ {
		all := int64(0)
		for i := first; i <= first+n; i++ {
			all += o.labels[ledger.Budget{Key: b.Key, Period: b.Period, Start: i}]
		}
		most = max(most, all)
	}
	return most
}

// total is what was admitted in a window.
func (o *oracle) total(k ledger.Key, p window.Period, start int64) int64 {
	return o.labels[ledger.Budget{Key: k, Period: p, Start: start}]
}

// mutants are faults put into the protocol, to see that the oracle finds them.
type mutants struct {
	// sameIncarnation: a process without its cells uses the birthright again.
	sameIncarnation bool
	// twice: a node credits duplicate replies.
	twice bool
	// likely is the seed to begin with.
	likely uint64
	// rules breaks one of them.
	rules func(*rules)
	// trouble is the kind of trouble in which it shows; 0 is any.
	trouble int
}

// replied hands a reply to the node's core.
func (m mutants) replied(n *simNode, req *Request, r *Reply) {
	if m.twice {
		n.core.mu.Lock()
		l := n.core.links[req.To]
		if l != nil && l.out != nil && l.out.Seq == r.Seq {
			n.saved[r.Seq] = &link{out: l.out, hunts: l.hunts}
		} else if old := n.saved[r.Seq]; old != nil && old.out.To == req.To {
			now, _ := n.core.Clock.At(n.mono())
			for i := range old.hunts {
				old.hunts[i].credit(now, req.To, &old.out.Takes[i], &r.Gives[i])
			}
		}
		n.core.mu.Unlock()
	}
	n.core.Replied(n.mono(), req.To, r)
}

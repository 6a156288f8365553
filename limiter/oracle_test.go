package limiter

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/google/go-cmp/cmp"
)

// label names the window an admission was counted in.
type label struct {
	limit, key string
	period     Period
	start      int64
}

// usage is a version of a limit and when nodes enforced it.
type usage struct {
	lim         *Limit
	from, until int64 // until: of the last node that had it
	users       map[*simNode]bool
}

// oracle watches a world for what must never happen. It keeps the first
// violation.
type oracle struct {
	w        *world
	admits   map[label]int64
	versions map[string][]*usage
	err      error
	// countOnly leaves it at counting admissions, which needs no look inside.
	countOnly bool
}

func newOracle(w *world) *oracle {
	return &oracle{w: w, admits: map[label]int64{}, versions: map[string][]*usage{}}
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

// allowed is the largest budget of the versions that were in use at any time
// since a little before the window began.
func (o *oracle) allowed(l label) int64 {
	// Cells are minted at the earliest when a node with a fast clock enters
	// the window, from then on by batches that may have been under way.
	since := l.start*second - 2*second
	most := int64(0)
	for _, u := range o.versions[l.limit] {
		if len(u.users) > 0 || u.until >= since {
			most = max(most, u.lim.Max[l.period])
		}
	}
	return most
}

// admitted counts one spent token: invariant I1.
func (o *oracle) admitted(limit, key string, p Period, start int64) {
	l := label{limit, key, p, start}
	o.admits[l]++
	if n, most := o.admits[l], o.allowed(l); n > most {
		o.fail("strict: %d admissions of %d in %+v", n, most, l)
	}
}

// checkLedger checks that every window's tokens add up: invariant I3.
func (o *oracle) checkLedger() {
	if o.countOnly {
		return
	}
	l := o.w.ledger
	if len(l.cells) != len(l.expiry) {
		o.fail("ledger: %d windows, %d in the heap", len(l.cells), len(l.expiry))
	}
	for _, v := range l.Cells("", 1<<20) {
		sum := v.Pool + v.Spent + v.Lost
		for _, h := range v.Holders {
			if h.Held < 0 {
				o.fail("conservation: negative lease: %+v", v)
			}
			sum += h.Held
		}
		if sum != v.Max || v.Lost < 0 {
			o.fail("conservation: %d tokens of %d in %+v", sum, v.Max, v)
		}
	}
	for _, n := range o.w.nodes {
		o.checkNode(n)
	}
}

// checkNode checks that a process has no more than the ledger gave to it:
// invariant I4, single home.
func (o *oracle) checkNode(n *simNode) {
	if !n.up || o.countOnly {
		return
	}
	l := o.w.ledger
	m := l.members[n.id]
	if m != nil && m.isRetired(n.core.incarnation) {
		return // a late batch of an earlier process took over: all it has is lost
	}
	for _, a := range n.core.shards[0].accounts {
		for _, c := range a.cells {
			if c == nil || c.tokens+c.reserved+c.spent+c.giveBack == 0 {
				continue
			}
			if c.tokens < 0 || c.reserved < 0 || c.giveBack < 0 {
				o.fail("cell: negative count: %+v", c)
			}
			has := c.tokens + c.reserved + c.spent + c.giveBack
			b := l.lookup(cellKey{limit: a.limit, key: a.key, period: c.period, start: c.start / second})
			if b == nil {
				continue // over and forgotten by the ledger; I1 still counts
			}
			given := int64(0)
			for i := range b.holders {
				if h := &b.holders[i]; h.m == m && m.incarnation == n.core.incarnation {
					given = h.granted - h.returned
				}
			}
			if has > given {
				o.fail("single home: %s has %d of %d given: %s %s %s %d", n.id, has, given, a.limit, a.key, c.period, c.start/second)
			}
		}
	}
}

func (o *oracle) sameOutcome(a, b *Outcome) {
	if !reflect.DeepEqual(a, b) { // cmp alone takes most of a run's time
		o.fail("replicas decide differently: %s", cmp.Diff(a, b))
	}
}

func (o *oracle) sameState(a, b *Ledger) {
	x, _ := a.MarshalBinary()
	y, _ := b.MarshalBinary()
	if !bytes.Equal(x, y) {
		o.fail("replicas' snapshots differ")
	}
}

// mutants are faults put into the protocol, to see that the oracle finds them.
type mutants struct {
	oldGrant  bool // a restarted node credits an earlier incarnation's grant
	twice     bool // a node credits duplicate replies
	reapply   bool // the ledger applies a duplicated seq again
	mintAgain bool // the ledger mints an expired window again
}

// receive hands a reply to the node's core.
func (m mutants) receive(n *simNode, r BatchResult) {
	if m.oldGrant {
		r = m.adopted(n, r)
	}
	before := n.core.out
	n.core.credit(n.local(), &r)
	if before != nil && n.core.out == nil {
		n.saved[r.Seq] = before
	} else if old := n.saved[r.Seq]; m.twice && old != nil && r.Incarnation == old.batch.Incarnation &&
		r.Incarnation == n.core.incarnation {
		now := n.core.out
		n.core.out = old
		n.core.credit(n.local(), &r)
		n.core.out = now
	}
}

// observed is the outcome as the node sees it.
func (m mutants) observed(n *simNode, o *Outcome) *Outcome {
	if !m.oldGrant {
		return o
	}
	c := *o
	c.Results = nil
	for _, r := range o.Results {
		c.Results = append(c.Results, m.adopted(n, r))
	}
	return &c
}

// adopted makes an answer to an earlier incarnation of n look like the answer
// to its outstanding batch.
func (mutants) adopted(n *simNode, r BatchResult) BatchResult {
	if r.Node == n.id && r.Incarnation != n.core.incarnation && n.core.out != nil && !r.Stale {
		r.Incarnation, r.Seq = n.core.incarnation, n.core.out.batch.Seq
	}
	return r
}

// beforeApply prepares the ledger for an entry; the function returned undoes
// what must not stay.
func (m mutants) beforeApply(l *Ledger, e *Entry) func() {
	for _, b := range e.Batches {
		if mb := l.members[b.Node]; m.reapply && mb != nil && mb.incarnation == b.Incarnation && mb.seq >= b.Seq {
			mb.seq = b.Seq - 1
		}
		for _, it := range b.Items {
			_, end := it.Period.windowAt(it.Start)
			if m.mintAgain && l.stamp > end*second+grace {
				l.expire(1 << 20)
				stamp := l.stamp
				l.stamp, e.Stamp = it.Start*second, it.Start*second
				return func() { l.stamp = stamp }
			}
		}
	}
	return func() {}
}

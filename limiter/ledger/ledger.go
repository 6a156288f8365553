package ledger

import (
	"slices"
	"sync"

	"github.com/sluicegate/sluice/limiter/window"
)

// asked is for how long it may be asked how windows are divided: at least until
// they are over for 50 seconds, if they last a minute or began in a gap.
const asked = 120 * Second

// maxStamp is the end of the calendar, where the clock stands still.
const maxStamp = window.MaxUnix * Second

// Ledger is the replicated account of rosters and pools. Safe for concurrent
// use; Apply calls must come in log order.
type Ledger struct {
	mu      sync.RWMutex
	stamp   int64 // of the last entry; 0 before the first
	rosters *Rosters
	nodes   map[string]*node
	windows []*open // by period and start
	own     int     // budgets of all windows that belong to one key
	// holdings are of what is in flight; some are to be looked at again at dueAt.
	holdings map[Key]*holding
	dueAt    int64 // 0 for none
	// toppedUp is how many of them have been topped up.
	toppedUp int

	maxOwn, maxNodes, maxHoldings int // equal on all replicas, smaller in tests
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		rosters: &Rosters{}, nodes: make(map[string]*node), holdings: make(map[Key]*holding),
		maxOwn: maxBudgets, maxNodes: maxNodes, maxHoldings: maxHoldings,
	}
}

// Apply carries out one entry and returns what came of it. It keeps nothing of
// the entry; of the outcome, neither the Grants nor the Rosters may be changed.
func (l *Ledger) Apply(e *Entry) *Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.rosters
	l.advance(e.Stamp)
	l.rest(e.Rest)
	left := l.change(e.Changes)
	o := &Outcome{Stamp: l.stamp, Left: left}
	if l.rosters != before {
		o.Rosters = l.rosters
	}
	if len(e.Batches) > 0 {
		o.Answers = make([]Answer, len(e.Batches))
	}
	for i := range e.Batches {
		o.Answers[i] = l.batch(&e.Batches[i])
	}
	for i := range e.TopUps {
		o.TopUps = append(o.TopUps, l.topUp(&e.TopUps[i]))
	}
	return o
}

// advance moves the cluster's time on, notes a gap, and ends windows.
func (l *Ledger) advance(proposed int64) {
	last := l.stamp
	l.stamp = min(max(last+1, proposed), maxStamp)
	if last > 0 && l.stamp-last > Delay && !l.rosters.Resting() {
		g := Gap{After: last + Delay, Until: l.stamp, Members: l.rosters.Last().Members}
		l.know(l.rosters.History, append(slices.Clone(l.rosters.Gaps), g))
	}
	l.forgetLost()
	// A window's budgets are one table, so that all of them end in one step
	// whatever their number.
	l.windows = slices.DeleteFunc(l.windows, func(w *open) bool {
		over := w.over(l.stamp)
		if over {
			l.own -= len(w.own)
			l.toppedUp -= len(w.bonuses)
		}
		return over
	})
}

// rest begins a rest with this entry, or ends one.
func (l *Ledger) rest(begin bool) {
	next := *l.rosters
	switch {
	case begin:
		next.RestAt = l.stamp
	case next.Resting():
		next.WokeAt = l.stamp
	default:
		return
	}
	l.rosters = &next
}

// know replaces the rosters, without what nobody may ask for any more. Both
// slices are the ledger's now; gaps is changed.
func (l *Ledger) know(history []Roster, gaps []Gap) {
	next := *l.rosters
	next.History, next.Gaps = forget(history, gaps, l.stamp)
	l.rosters = &next
}

// forget drops what need not be known any more at the stamp; it changes gaps.
func forget(history []Roster, gaps []Gap, stamp int64) ([]Roster, []Gap) {
	for len(history) > 1 && history[1].Since < stamp-asked {
		history = history[1:]
	}
	return history, slices.DeleteFunc(gaps, func(g Gap) bool { return !g.needed(stamp) })
}

// needed says whether a window that began in the gap may still be asked for:
// the last one of each length tells for those before it. As no window begins in
// two gaps, few are needed, and a year's is kept for the year.
func (g *Gap) needed(stamp int64) bool {
	for p := range window.Period(window.Periods) {
		w := p.At(g.Until)
		if w.From > g.After && w.Until >= stamp-asked {
			return true
		}
	}
	return false
}

// batch applies b at most once for each (incarnation, session, seq).
func (l *Ledger) batch(b *Batch) Answer {
	a := Answer{Member: b.Member, Session: b.Session, Seq: b.Seq}
	n := l.nodes[b.Member.Node]
	if n == nil {
		a.Stale = true
		return a
	}
	n.heard = l.stamp
	switch n.judge(b) {
	case stale:
		a.Stale = true
		return a
	case repeated:
		a.Grants = n.grants
		return a
	}
	n.note(b)
	if len(b.Asks) > 0 {
		a.Grants = make([]Grant, len(b.Asks))
	}
	for i := range b.Asks {
		a.Grants[i] = l.ask(b.Member, &b.Asks[i])
	}
	n.grants = a.Grants
	return a
}

// State is the outcome of all entries so far in one, without answers to batches:
// for who has not been told of them one by one.
func (l *Ledger) State() *Outcome {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return &Outcome{Stamp: l.stamp, Rosters: l.rosters, TopUps: l.allToppedUp()}
}

// Stamp returns the cluster's time of the last entry, in microseconds; 0 before
// the first.
func (l *Ledger) Stamp() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.stamp
}

// Settled returns the time of the last entry, or if that is later, the one from
// which on the newest roster counts: a limit that is created now is divided among
// all who are there if nobody takes of it before.
func (l *Ledger) Settled() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n := len(l.rosters.History); n > 0 {
		return max(l.stamp, l.rosters.History[n-1].Since+Delay)
	}
	return l.stamp
}

// Rosters returns who has shares of which windows. It is never nil, and must
// not be changed.
func (l *Ledger) Rosters() *Rosters {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.rosters
}

// Pool returns what the ledger has to grant of a budget, below 0 if a lowered
// limit was exceeded, and the limit it knows of; false if nobody has asked for
// the budget, or its window is over. A key that shares an overflow budget gets
// that one's, under the limit of the last ask.
func (l *Ledger) Pool(b Budget) (pool int64, limit Limit, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i, ok := l.search(b.Period, b.Start)
	if !ok {
		return 0, Limit{}, false
	}
	w := l.windows[i]
	a, _, ok := w.find(b.Key)
	if !ok {
		return 0, Limit{}, false
	}
	if b.Period.IsSliding() {
		a.pool += w.born(a.max()) - l.grantedBefore(w, b.Key)
	}
	return a.pool, a.limit(), true
}

// Granted returns what was granted of a slice and the Slices before it, to the
// key and to those that share an overflow budget with it.
func (l *Ledger) Granted(b Budget) (granted int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i, _ := l.search(b.Period, b.Start-b.Period.Slices())
	for ; i < len(l.windows) && l.windows[i].compare(b.Period, b.Start) <= 0; i++ {
		granted -= l.windows[i].own[b.Key].pool + l.windows[i].shared[b.Key.Lo%buckets].pool
	}
	return granted
}

// Added returns what top-ups have added to a budget.
func (l *Ledger) Added(b Budget) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if i, ok := l.search(b.Period, b.Start); ok {
		return l.windows[i].bonuses[b.Key].added
	}
	return 0
}

// Len returns the number of budgets, overflow budgets included.
func (l *Ledger) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := l.own
	for _, w := range l.windows {
		n += len(w.shared)
	}
	return n + len(l.holdings)
}

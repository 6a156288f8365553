package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// owner is whose budget a key is.
type owner struct{ limit, key int }

// budget is one window of one key.
type budget struct {
	owner
	kind
	// node and life are of limits that each node counts by itself: after it has lost
	// its cells it begins anew.
	node  string
	life  int
	start int64
}

// tally is what was admitted of a budget.
type tally struct {
	tokens int64
	// most is the largest limit that nodes decided by.
	most int64
	// first and last are when, by the machine's clock.
	first, last int64
}

// door is where a client's request for a key came in.
type door struct {
	node string
	owner
}

// process is one process of a node, by its files. It lived from begun until last at
// least.
type process struct {
	node        string
	life        int
	begun, last int64
}

// counter adds up a run.
type counter struct {
	run     *book.Run
	faults  []book.Fault
	result  *Result
	owners  map[key]owner
	tallies map[budget]*tally
	// spent are admissions of sliding windows and of buckets, flights those in
	// flight and their ends. These budgets have no start.
	spent     map[budget][]instant
	flights   map[budget]map[*process][]event
	held      map[budget][]span // what came of flights
	clock     clock
	homes     map[uint64]string // of incarnations
	processes map[uint64]*process
	// made are the times of admissions, one for each request: of the first kind
	// of window of its limit. heard are the answers that told of one.
	made  map[door][]int64
	heard map[door][]span
	// demand counts the requests of windows, of limits of one kind of window. asks
	// are requests where there are no windows.
	demand map[budget]int64
	asks   map[budget][]ask
}

// span is a request's time.
type span struct{ from, to int64 }

func newCounter(run *book.Run, faults []book.Fault) *counter {
	c := &counter{
		run: run, faults: faults, result: &Result{Run: run, Faults: len(faults)},
		owners: map[key]owner{}, tallies: map[budget]*tally{}, spent: map[budget][]instant{}, homes: map[uint64]string{},
		processes: map[uint64]*process{}, made: map[door][]int64{}, heard: map[door][]span{},
		demand: map[budget]int64{}, asks: map[budget][]ask{}, flights: map[budget]map[*process][]event{}, held: map[budget][]span{},
	}
	for _, name := range groups {
		c.result.Groups = append(c.result.Groups, Group{Name: name})
	}
	c.clock.buckets = map[int64]map[string]*reading{}
	for i, l := range run.Limits {
		for j, text := range l.Keys {
			c.owners[keyOf(run.ClusterID, l.ID, text)] = owner{i, j}
		}
	}
	return c
}

// file takes an audit file into account.
func (c *counter) file(path string) error {
	var node string
	var records []audit.Record
	summary, err := audit.Read(path, func(r *audit.Record) { records = append(records, *r) })
	if err != nil {
		return err
	}
	node = summary.Name
	r := c.result
	r.Files++
	r.Records += summary.Records
	r.Torn += summary.Torn
	if summary.Damaged > 0 {
		r.violation("%s: %d records are damaged", path, summary.Damaged)
	}
	if summary.Lost > 0 {
		r.violation("%s: %d admissions could not be recorded", path, summary.Lost)
	}
	if summary.Process == 0 {
		return nil // an empty file
	}
	p := c.processes[summary.Process]
	if p == nil {
		p = &process{node: node, begun: summary.BegunMono, life: c.lives(node, summary.BegunMono)}
		c.processes[summary.Process] = p
	}
	p.begun = min(p.begun, summary.BegunMono)
	for i := range records {
		p.last = max(p.last, records[i].Mono)
		c.record(p, &records[i])
	}
	return nil
}

// lives is how often a node had lost its cells.
func (c *counter) lives(node string, before int64) (n int) {
	for _, f := range c.faults {
		if f.Lost > 0 && f.Lost < before && slices.Contains(f.Nodes, node) {
			n++
		}
	}
	return n
}

// record takes one admission into account, or the end of a request in flight.
func (c *counter) record(p *process, r *audit.Record) {
	o, known := c.owners[key{r.KeyHi, r.KeyLo}]
	if !known {
		c.result.violation("%s admitted %d at %d for a key that no limit has: %016x%016x", p.node, r.Tokens, r.Mono, r.KeyHi, r.KeyLo)
		return
	}
	b := budget{owner: o, kind: kind{r.Unit, r.Length}, start: r.Start}
	if r.Local {
		b.node, b.life = p.node, p.life
	}
	c.clock.saw(p.node, r)
	if home, known := c.homes[r.Incarnation]; known && home != p.node {
		c.result.violation("incarnation %016x is of %s and of %s", r.Incarnation, home, p.node)
	}
	c.homes[r.Incarnation] = p.node
	if !c.meant(p.node, b) {
		return
	}
	c.inside(p.node, b, r)
	if r.Tokens > 0 {
		c.admitted(p, b, r)
	} else if r.Unit == audit.InFlight {
		c.flew(p, b, r)
	}
}

// admitted adds up an admission. A request of several windows is one all the same.
func (c *counter) admitted(p *process, b budget, r *audit.Record) {
	if b.kind == c.kinds(b.owner)[0] {
		d := door{p.node, b.owner}
		for range r.Tokens {
			c.made[d] = append(c.made[d], r.Mono)
		}
		c.group(b.limit).Admissions += int(r.Tokens)
	}
	switch b.unit {
	case audit.Sliding, audit.Bucket:
		b.start = 0
		for range r.Tokens {
			c.spent[b] = append(c.spent[b], instant{lo: r.Lo, hi: r.Hi, mono: r.Mono, max: r.Max, burst: int64(r.Burst)})
		}
		return
	case audit.InFlight:
		c.flew(p, b, r)
		return
	}
	t := c.tallies[b]
	if t == nil {
		t = &tally{first: r.Mono}
		c.tallies[b] = t
	}
	t.tokens += int64(r.Tokens)
	t.most = max(t.most, r.Max)
	t.first, t.last = min(t.first, r.Mono), max(t.last, r.Mono)
}

// meant says whether there is such a window.
func (c *counter) meant(node string, b budget) bool {
	if b.unit != audit.Sliding {
		if start, _, err := b.at(b.start); err != nil || start != b.start {
			c.violation(b.limit, "%s: %s: no %s begins at %d", node, c.name(b.owner), b.kind, b.start)
			return false
		}
	}
	if !slices.Contains(c.kinds(b.owner), b.kind) || c.run.Limits[b.limit].Local != (b.node != "") {
		c.violation(b.limit, "%s: %s has no limit by the %s", node, c.name(b.owner), b.kind)
		return false
	}
	return true
}

// inside says what is wrong with an admission by itself.
func (c *counter) inside(node string, b budget, r *audit.Record) {
	start, end, err := b.at(b.start)
	if err != nil { // sliding
		start, end = b.start, math.MaxInt64
	}
	switch {
	case r.Lo > r.Hi || r.Lo < start || r.Hi >= end:
		c.violation(b.limit, "%s: %s: admitted between %d and %d of the cluster's time, under the %s from %d to %d (I2)",
			node, c.name(b.owner), r.Lo, r.Hi, b.kind, start, end)
	case !c.configured(b, r):
		c.violation(b.limit, "%s: %s: decided by a limit of %d a %s with a burst of %d, which nobody had asked for", node, c.name(b.owner), r.Max, b.kind, r.Burst)
	case r.Tokens == 0 || r.Tokens < 0 && b.unit != audit.InFlight:
		c.violation(b.limit, "%s: %s: %d of a %s were admitted", node, c.name(b.owner), r.Tokens, b.kind)
	}
}

// configured says whether a record's limit is one that had been asked for.
func (c *counter) configured(b budget, r *audit.Record) bool {
	for _, t := range c.run.Limits[b.limit].Terms {
		if w := windowOf(&t, b.kind); t.Asked <= r.Mono && w.Max == r.Max && w.Burst == int64(r.Burst) {
			return true
		}
	}
	return false
}

// kinds gives the kinds of windows of a limit. They are the same in all its terms.
func (c *counter) kinds(o owner) []kind {
	ws := c.run.Limits[o.limit].Terms[0].Windows
	ks := make([]kind, len(ws))
	for i, w := range ws {
		ks[i] = kindOf(w)
	}
	return ks
}

func kindOf(w book.Window) kind { return kind{unitOf(w.Unit), w.Length} }

func (c *counter) name(o owner) string {
	l := c.run.Limits[o.limit]
	return l.Name + " " + l.Keys[o.key]
}

func windowOf(t *book.Terms, k kind) book.Window {
	for _, w := range t.Windows {
		if kindOf(w) == k {
			return w
		}
	}
	return book.Window{}
}

// request takes a client's request into account.
func (c *counter) request(q *book.Request) {
	r := c.result
	r.Requests++
	o := owner{q.Limit, q.Key}
	switch {
	case q.Status == 0:
		r.Silent++
	case q.Status == 200 && q.Counted:
		r.Admitted++
		d := door{q.Node, o}
		c.heard[d] = append(c.heard[d], span{q.Sent, q.Received})
	case q.Status == 200:
		r.Undecided++
	case q.Status == 429:
		r.Refused++
	default:
		r.Others++
	}
	if q.Status == 200 && q.Counted || q.Status == 429 {
		c.wanted(o, q)
	}
}

// judge says what all of it comes to.
func (c *counter) judge() *Result {
	r := c.result
	r.Processes, r.Windows = len(c.processes), len(c.tallies)+len(c.spent)+len(c.flights)
	over := make([]int, len(c.run.Limits))
	for _, b := range inOrder(c.tallies) {
		c.sum(b, c.tallies[b], over)
	}
	for _, b := range inOrder(c.spent) {
		if b.unit == audit.Bucket {
			c.drain(b, over)
		} else {
			c.slide(b, over)
		}
	}
	for _, b := range inOrder(c.flights) {
		c.fly(b, over)
	}
	c.overlaps()
	c.match()
	r.ClockGap = c.clock.gap()
	if r.ClockGap > clockSlack {
		r.violation("nodes knew the cluster's time differently at the same moment, by %d us (I2)", r.ClockGap)
	}
	r.Usages = c.usages(over)
	return r
}

// inOrder gives the budgets of which something was admitted, in an order.
func inOrder[V any](of map[budget]V) []budget {
	return slices.SortedFunc(maps.Keys(of), func(a, b budget) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.limit, b.limit), cmp.Compare(a.key, b.key), cmp.Compare(a.unit, b.unit),
			cmp.Compare(a.node, b.node), cmp.Compare(a.life, b.life))
	})
}

// sum judges a budget by what was admitted in all (I1).
func (c *counter) sum(b budget, t *tally, over []int) {
	w := c.span(b)
	most, _ := c.allowed(b, w)
	if t.most > most {
		c.result.Stale++
		if c.isolated(w) {
			most = t.most // a node that was cut off did not know the new terms
		}
	}
	if t.tokens <= most {
		return
	}
	c.exceeded(b, w, over, float64(t.tokens)/float64(most), fmt.Sprintf("%d admitted of %d in the %s from %d, between %d and %d of the machine's clock (I1)",
		t.tokens, most, b.kind, b.start, t.first, t.last))
}

// exceeded is for a limit that was.
func (c *counter) exceeded(b budget, w span, over []int, part float64, text string) {
	over[b.limit]++
	if c.run.Limits[b.limit].Tolerant && c.isolated(w) {
		c.result.Tolerated++
		c.result.TooMuch = max(c.result.TooMuch, part)
		return
	}
	name := c.name(b.owner)
	if b.node != "" {
		name += " on " + b.node
	}
	c.violation(b.limit, "%s: %s", name, text)
}

// overlaps looks for two processes of a node at the same time.
func (c *counter) overlaps() {
	ps := make([]*process, 0, len(c.processes))
	for _, p := range c.processes {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b *process) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.begun, b.begun))
	})
	for i := 1; i < len(ps); i++ {
		if a, b := ps[i-1], ps[i]; a.node == b.node && b.begun < a.last {
			c.result.violation("%s: a process begun at %d while another admitted until %d", b.node, b.begun, a.last)
		}
	}
}

package check

import (
	"cmp"
	"fmt"
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
	node  string // of limits that each node counts by itself
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

// process is one process of a node, by its files.
type process struct {
	node        string
	begun, last int64
}

// counter adds up a run.
type counter struct {
	run       *book.Run
	faults    []book.Fault
	result    *Result
	owners    map[key]owner
	tallies   map[budget]*tally
	slides    map[budget][]instant // of sliding windows, with no start
	clock     clock
	homes     map[uint64]string // of incarnations
	processes map[uint64]*process
	// made are the times of admissions, one for each request: of the first kind
	// of window of its limit. heard are the answers that told of one.
	made  map[door][]int64
	heard map[door][]span
	// demand counts the requests of windows, of limits of one kind of window.
	demand map[budget]int64
}

// span is a request's time.
type span struct{ from, to int64 }

func newCounter(run *book.Run, faults []book.Fault) *counter {
	c := &counter{
		run: run, faults: faults, result: &Result{Run: run, Faults: len(faults)},
		owners: map[key]owner{}, tallies: map[budget]*tally{}, slides: map[budget][]instant{}, homes: map[uint64]string{},
		processes: map[uint64]*process{}, made: map[door][]int64{}, heard: map[door][]span{},
		demand: map[budget]int64{},
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
		p = &process{node: node, begun: summary.BegunMono}
		c.processes[summary.Process] = p
	}
	p.begun = min(p.begun, summary.BegunMono)
	for i := range records {
		p.last = max(p.last, records[i].Mono)
		c.record(node, &records[i])
	}
	return nil
}

// record takes one admission into account.
func (c *counter) record(node string, r *audit.Record) {
	o, known := c.owners[key{r.KeyHi, r.KeyLo}]
	if !known {
		c.result.violation("%s admitted %d at %d for a key that no limit has: %016x%016x", node, r.Tokens, r.Mono, r.KeyHi, r.KeyLo)
		return
	}
	b := budget{owner: o, kind: kind{r.Unit, r.Length}, start: r.Start}
	if r.Local {
		b.node = node
	}
	c.clock.saw(node, r)
	if home, known := c.homes[r.Incarnation]; known && home != node {
		c.result.violation("incarnation %016x is of %s and of %s", r.Incarnation, home, node)
	}
	c.homes[r.Incarnation] = node
	if !c.meant(node, b) {
		return
	}
	c.inside(node, b, r)
	if b.kind == c.kinds(o)[0] {
		d := door{node, o}
		for range r.Tokens {
			c.made[d] = append(c.made[d], r.Mono)
		}
	}
	if b.unit == audit.Sliding {
		b.start = 0
		for range r.Tokens {
			c.slides[b] = append(c.slides[b], instant{r.Lo, r.Hi})
		}
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
			c.result.violation("%s: %s: no %s begins at %d", node, c.name(b.owner), b.kind, b.start)
			return false
		}
	}
	if !slices.Contains(c.kinds(b.owner), b.kind) || c.run.Limits[b.limit].Local != (b.node != "") {
		c.result.violation("%s: %s has no limit by the %s", node, c.name(b.owner), b.kind)
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
		c.result.violation("%s: %s: admitted between %d and %d of the cluster's time, under the %s from %d to %d (I2)",
			node, c.name(b.owner), r.Lo, r.Hi, b.kind, start, end)
	case !c.configured(b, r):
		c.result.violation("%s: %s: decided by a limit of %d a %s, which nobody had asked for", node, c.name(b.owner), r.Max, b.kind)
	}
}

// configured says whether a record's limit is one that had been asked for.
func (c *counter) configured(b budget, r *audit.Record) bool {
	for _, t := range c.run.Limits[b.limit].Terms {
		if t.Asked <= r.Mono && maxOf(&t, b.kind) == r.Max {
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

func maxOf(t *book.Terms, k kind) int64 {
	for _, w := range t.Windows {
		if kindOf(w) == k {
			return w.Max
		}
	}
	return 0
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
	ks := c.kinds(o)
	if counts := len(ks) == 1 && !c.run.Limits[o.limit].Local; counts && (q.Status == 200 && q.Counted || q.Status == 429) {
		from, _, err := ks[0].at(c.clock.of(q.Sent))
		to, _, err2 := ks[0].at(c.clock.of(q.Received))
		if err == nil && err2 == nil && from == to {
			c.demand[budget{owner: o, kind: ks[0], start: from}]++
		}
	}
}

// judge says what all of it comes to.
func (c *counter) judge() *Result {
	r := c.result
	r.Processes, r.Windows = len(c.processes), len(c.tallies)
	over := make([]int, len(c.run.Limits))
	for _, b := range c.budgets() {
		c.sum(b, c.tallies[b], over)
	}
	c.slide(over)
	c.overlaps()
	c.match()
	r.ClockGap = c.clock.gap()
	if r.ClockGap > clockSlack {
		r.violation("nodes knew the cluster's time differently at the same moment, by %d us (I2)", r.ClockGap)
	}
	r.Usages = c.usages(over)
	return r
}

// budgets gives those of which something was admitted, in an order.
func (c *counter) budgets() []budget {
	bs := make([]budget, 0, len(c.tallies))
	for b := range c.tallies {
		bs = append(bs, b)
	}
	slices.SortFunc(bs, func(a, b budget) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.limit, b.limit), cmp.Compare(a.key, b.key), cmp.Compare(a.unit, b.unit), cmp.Compare(a.node, b.node))
	})
	return bs
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
	c.result.violation("%s: %s", name, text)
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

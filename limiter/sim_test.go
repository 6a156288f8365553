package limiter

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The simulation runs real cores and a real ledger in virtual time. Only the
// network, the log's leader, the clocks and the clients are made up here.

// event is something that happens at a time of the world.
type event struct {
	at  int64
	seq int
	do  func()
}

type events []event

func (h events) Len() int      { return len(h) }
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h *events) Push(x any) { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	e := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return e
}

// faults says what may go wrong in a run.
type faults struct {
	loss, dup float64 // chance per message
	slow      float64 // chance that a message takes up to slowest
	slowest   int64   // microseconds
	skew      int64   // largest clock error
	late      int64   // one node's clock is late by this much
}

// world is a cluster in virtual time.
type world struct {
	rnd    *rand.Rand
	f      faults
	now    int64 // true time, microseconds
	events events
	n      int // events so far

	ledger  *Ledger
	replica *Ledger // fed with encoded entries, restored now and then
	log     []*Outcome
	pending []Batch // at the leader
	filling bool    // an entry is being collected
	away    int64   // no leader before this time
	entries int

	nodes   []*simNode
	oracle  *oracle
	mutants mutants
	think   int64 // longest pause of a client between two requests
}

// simNode is a node: a core and what surrounds it.
type simNode struct {
	w       *world
	id      string
	up      bool
	core    *core
	life    int // process starts so far
	err     int64
	cut     int64 // no messages before this time
	deaf    int64 // nothing of the log arrives before this time
	next    int   // first outcome not observed yet
	limits  []*Limit
	tickets []*simTicket
	sentSeq uint64
	sentAt  int64
	saved   map[uint64]*outstanding // answered batches, for a mutant
}

type simTicket struct {
	tk   *ticket
	lim  *Limit
	life int
	done func(Decision)
}

func newWorld(seed uint64, start time.Time, nodes int, f faults, limits []*Limit) *world {
	w := &world{
		rnd: rand.New(rand.NewPCG(seed, 0)), f: f, now: start.UnixMicro(),
		ledger: NewLedger(), replica: NewLedger(), think: 2 * millisecond,
	}
	w.oracle = newOracle(w)
	for i := range nodes {
		n := &simNode{w: w, id: fmt.Sprintf("n%d", i+1), saved: map[uint64]*outstanding{}}
		if f.skew > 0 {
			n.err = w.rnd.Int64N(2*f.skew) - f.skew
		}
		for _, l := range limits {
			n.limits = append(n.limits, l)
			w.oracle.adopt(l, n)
		}
		w.nodes = append(w.nodes, n)
	}
	if f.late > 0 {
		w.nodes[0].err = -f.late
	}
	for _, n := range w.nodes {
		n.start()
		w.every(20*millisecond, n.tick)
		w.every(5*millisecond, n.follow)
	}
	return w
}

func (w *world) after(d int64, do func()) {
	w.n++
	heap.Push(&w.events, event{w.now + d, w.n, do})
}

func (w *world) every(d int64, do func()) {
	w.after(d, func() { do(); w.every(d, do) })
}

// run lets the world go on for d.
func (w *world) run(d int64) {
	end := w.now + d
	for w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = max(w.now, e.at)
		e.do()
		if w.oracle.err != nil {
			return
		}
	}
	w.now = end
}

func (w *world) chance(p float64) bool { return w.rnd.Float64() < p }

func (w *world) between(a, b int64) int64 { return a + w.rnd.Int64N(b-a) }

// send delivers a message none, one or two times.
func (w *world) send(do func()) {
	if w.chance(w.f.loss) {
		return
	}
	w.after(w.delay(), do)
	if w.chance(w.f.dup) {
		w.after(w.delay()+w.between(0, 300*millisecond), do)
	}
}

func (w *world) delay() int64 {
	if w.chance(w.f.slow) {
		return w.between(1, w.f.slowest)
	}
	return w.between(100, 500)
}

// submit is the leader's end of Propose.
func (w *world) submit(b Batch) {
	if w.now < w.away {
		return
	}
	w.pending = append(w.pending, b)
	if !w.filling {
		w.filling = true
		w.after(w.between(2*millisecond, 4*millisecond), w.commit)
	}
}

func (w *world) commit() {
	w.filling = false
	e := Entry{Stamp: w.now + w.between(-400*millisecond, 400*millisecond+1)*min(w.f.skew, 1), Batches: w.pending}
	w.pending = nil
	o := w.apply(e)
	w.log = append(w.log, o)
	for i := range e.Batches {
		r := o.Results[i]
		for _, n := range w.nodes {
			if n.id == r.Node && w.now >= n.cut {
				w.send(func() { n.receive(r) })
			}
		}
	}
	w.oracle.checkLedger()
}

// apply applies an entry on both ledgers and compares them.
func (w *world) apply(e Entry) *Outcome {
	raw, _ := e.MarshalBinary()
	restore := w.mutants.beforeApply(w.ledger, &e)
	o := w.ledger.Apply(e)
	restore()
	w.entries++
	if w.mutants != (mutants{}) {
		return o
	}
	var decoded Entry
	if err := decoded.UnmarshalBinary(raw); err != nil {
		w.oracle.fail("entry does not decode: %v", err)
	}
	w.oracle.sameOutcome(o, w.replica.Apply(decoded))
	if w.entries%16 == 0 {
		w.oracle.sameState(w.ledger, w.replica)
	}
	if w.entries%64 == 0 {
		b, _ := w.ledger.MarshalBinary()
		w.replica = NewLedger()
		if err := w.replica.UnmarshalBinary(b); err != nil {
			w.oracle.fail("snapshot does not decode: %v", err)
		}
	}
	return o
}

// start starts the node's process.
func (n *simNode) start() {
	n.life++
	n.up = true
	c := newCore(n.id, fmt.Sprintf("%s.%d", n.id, n.life), 1)
	renewed := 0
	c.renew = func() string { renewed++; return fmt.Sprintf("%s.%d.%d", n.id, n.life, renewed) }
	c.known, c.voters = n.w.ledger.Pool, func() []string { return []string{n.id} }
	c.audit = n.w.oracle.admitted
	n.core, n.sentSeq = c, 0
}

// crash is kill -9, followed by a restart after d. The new process reads a part
// of the log again.
func (n *simNode) crash(d int64) {
	if !n.up {
		return
	}
	n.up = false
	n.tickets = nil
	n.w.after(d, func() {
		n.next = max(0, n.next-n.w.rnd.IntN(50))
		n.start()
	})
}

func (n *simNode) local() int64 { return n.w.now + n.err }

func (n *simNode) tick() {
	if n.up {
		n.core.tick(n.local())
		n.pump()
	}
}

// follow applies what has come from the log.
func (n *simNode) follow() {
	if !n.up || n.w.now < max(n.cut, n.deaf) {
		return
	}
	for ; n.next < len(n.w.log); n.next++ {
		n.core.observe(n.local(), n.w.mutants.observed(n, n.w.log[n.next]))
	}
	n.pump()
}

// pump sends the batch there is, again if its answer does not come.
func (n *simNode) pump() {
	n.reap()
	b, ok := n.core.ready(n.local())
	if !ok || b.Seq == n.sentSeq && n.w.now < n.sentAt+30*millisecond {
		return
	}
	n.sentSeq, n.sentAt = b.Seq, n.w.now
	if n.w.now >= n.cut {
		n.w.send(func() { n.w.submit(b) })
	}
}

func (n *simNode) receive(r BatchResult) {
	if !n.up || n.w.now < n.cut {
		return
	}
	n.w.mutants.receive(n, r)
	n.w.oracle.checkNode(n)
	n.pump()
}

// request sends one request to the node; done is called with the decision.
func (n *simNode) request(limit int, key string, done func(Decision)) {
	if !n.up {
		done(Decision{})
		return
	}
	var d Decision
	lim := n.limits[limit]
	tk := n.core.take(n.local(), lim, key, &d)
	if tk == nil {
		done(d)
		n.pump()
		return
	}
	n.tickets = append(n.tickets, &simTicket{tk, lim, n.life, done})
	n.w.after(100*millisecond, func() {
		if n.up && !tk.done {
			n.settle(tk)
		}
	})
	n.pump()
}

// settle ends the wait of one ticket, reap of all that are decided.
func (n *simNode) settle(tk *ticket) {
	for i, t := range n.tickets {
		if t.tk == tk {
			n.tickets = append(n.tickets[:i], n.tickets[i+1:]...)
			var d Decision
			n.core.settle(tk, t.lim, n.local(), &d)
			t.done(d)
			return
		}
	}
}

func (n *simNode) reap() {
	var decided []*ticket
	for _, t := range n.tickets {
		if t.tk.done {
			decided = append(decided, t.tk)
		}
	}
	for _, tk := range decided {
		n.settle(tk)
	}
}

// clients keeps c requests at a time going to the nodes that pick names, until
// stop says so.
func (w *world) clients(c int, pick func(i int) (node, limit int, key string), done func(Decision)) {
	for i := range c {
		var next func()
		next = func() {
			node, limit, key := pick(i)
			w.nodes[node].request(limit, key, func(d Decision) {
				done(d)
				w.after(w.between(w.think/10, w.think), next)
			})
		}
		w.after(w.between(1, 2000), next)
	}
}

func must(t *testing.T, w *world) {
	t.Helper()
	if w.oracle.err != nil {
		t.Fatal(w.oracle.err)
	}
}

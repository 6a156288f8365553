package escrow

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// The simulation runs real cores and a real ledger in virtual time. Only the
// network, the log's leader, the clocks and the clients are made up here.

// event is something that happens at a time of the world.
type event struct {
	at, seq int64
	do      func()
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
	loss, dup float64 // chance a message
	slow      float64 // chance that a message takes up to slowest
	slowest   int64
	drift     int64 // parts of a million, at most
	// liar is how wrong the leader's time may arrive at a node: against the
	// assumption, so only the labels are strict then.
	liar  int64
	table int // most cells of a node; 0: as many as it likes
}

// world is a cluster in virtual time, which is the leader's clock.
type world struct {
	rnd    *rand.Rand
	f      faults
	now    int64
	events events
	n      int64

	ledger   *ledger.Ledger
	outcomes []*ledger.Outcome
	entry    ledger.Entry // is being collected
	filling  bool
	away     int64 // no leader before this time
	entries  int
	grants   int // entries with batches

	nodes   []*simNode
	oracle  *oracle
	mutants mutants
	idle    bool // there is no limit yet: the log rests
	rested  bool
	think   int64 // longest pause of a client between two requests
	answer  int64 // and of a request in flight
	waits   []int64
}

// simNode is a node: a core and what surrounds it.
type simNode struct {
	w        *world
	id       string
	number   int
	tables   int // that it has begun with nothing in it
	up       bool
	core     *Core
	table    *cells.Table
	life     int // process starts so far
	offset   int64
	drift    int64
	cut      int64 // no messages before this time
	seen     int   // outcomes observed
	stamp    int64 // as of then
	rosters  *ledger.Rosters
	limits   []*Limit
	pumping  bool
	lastWord int64
	leaving  bool             // takes no requests any more
	saved    map[uint64]*link // answered requests, for a mutant
}

func newWorld(seed uint64, start time.Time, nodes int, f faults, limits []*Limit) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 1)), f: f, now: start.UnixMicro(), ledger: ledger.New(), think: 2 * millisecond, answer: 20 * millisecond}
	w.oracle = newOracle(w)
	for i := range nodes {
		n := &simNode{w: w, id: fmt.Sprintf("n%d", i+1), number: i, offset: w.rnd.Int64N(1e12), rosters: &ledger.Rosters{}}
		if f.drift > 0 {
			n.drift = w.rnd.Int64N(2*f.drift) - f.drift
		}
		n.limits = append(n.limits, limits...)
		for _, l := range limits {
			w.oracle.adopt(l, n)
		}
		w.nodes = append(w.nodes, n)
	}
	for _, n := range w.nodes {
		n.start(false)
	}
	w.every(300*millisecond, w.tick)
	w.every(500*millisecond, w.fenceLost)
	return w
}

func (w *world) after(d int64, do func()) {
	w.n++
	heap.Push(&w.events, event{w.now + max(0, d), w.n, do})
}

func (w *world) every(d int64, do func()) {
	w.after(w.rnd.Int64N(d), func() {
		do()
		w.every2(d, do)
	})
}

func (w *world) every2(d int64, do func()) {
	w.after(d, func() {
		do()
		w.every2(d, do)
	})
}

// run lets d microseconds pass, or less if the oracle has something to say.
func (w *world) run(d int64) error {
	end := w.now + d
	for len(w.events) > 0 && w.events[0].at <= end && w.oracle.err == nil {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
	return w.oracle.err
}

// send has a message arrive, or not, once or twice, some time from now.
func (w *world) send(do func()) {
	for range 2 {
		if w.rnd.Float64() < w.f.loss {
			return
		}
		d := 100 + w.rnd.Int64N(300)
		if w.rnd.Float64() < w.f.slow {
			d += w.rnd.Int64N(w.f.slowest)
		}
		w.after(d, do)
		if w.rnd.Float64() >= w.f.dup {
			return
		}
	}
}

// tick brings the time into the log, as long as there are limits.
func (w *world) tick() {
	switch {
	case !w.idle:
		w.propose(nil, nil)
	case !w.rested:
		w.entry.Rest = true
		w.propose(nil, nil)
	}
}

func (w *world) led() bool { return w.now >= w.away }

// propose has the leader put something into the log.
func (w *world) propose(c *ledger.Change, b *ledger.Batch) {
	if !w.led() {
		return
	}
	if c != nil {
		w.entry.Changes = append(w.entry.Changes, *c)
	}
	if b != nil {
		w.entry.Batches = append(w.entry.Batches, *b)
	}
	w.fill()
}

// topUp has an operator add to a budget, twice under one name.
func (w *world) topUp(b ledger.Budget, l ledger.Limit, tokens int64) {
	if !w.led() {
		return
	}
	w.n++
	t := ledger.TopUp{ID: ledger.OperationID{byte(w.n), byte(w.n >> 8), byte(w.n >> 16)}, Budget: b, Limit: l, Tokens: tokens, Expect: -1}
	w.entry.TopUps = append(w.entry.TopUps, t, t)
	w.fill()
}

// fill has the entry that is being collected be committed in a moment.
func (w *world) fill() {
	if w.filling {
		return
	}
	w.filling = true
	w.after(1500+w.rnd.Int64N(2500), w.commit)
}

func (w *world) commit() {
	w.filling = false
	if !w.led() {
		w.entry = ledger.Entry{}
		return
	}
	e := w.entry
	w.entry = ledger.Entry{}
	e.Stamp = w.now
	before := w.ledger.Rosters().Last().Members
	o := w.ledger.Apply(&e)
	for _, m := range before {
		if !slices.Contains(w.ledger.Rosters().Last().Members, m) {
			w.oracle.lost[m] = o.Stamp
		}
	}
	w.rested = e.Rest
	w.outcomes = append(w.outcomes, o)
	w.oracle.topped(o.TopUps)
	w.entries++
	if len(e.Batches) > 0 {
		w.grants++
	}
	for _, n := range w.nodes {
		w.after(200+w.rnd.Int64N(2000), n.catchUp)
		for _, c := range e.Changes {
			if c.Kind == ledger.Join && c.Member.Node == n.id && n.reachable() {
				n.core.Joined(&c)
			}
		}
	}
}

// fenceLost has the leader fence nodes it has not heard of for a while.
func (w *world) fenceLost() {
	for _, n := range w.nodes {
		if w.led() && w.now-n.lastWord > 1500*millisecond {
			for _, m := range w.ledger.Rosters().Last().Members {
				if m.Node == n.id {
					w.propose(&ledger.Change{Kind: ledger.Fence, Member: m}, nil)
				}
			}
		}
	}
}

// mono is the node's own clock.
func (n *simNode) mono() int64 { return n.offset + n.w.now + n.w.now/1_000_000*n.drift }

// start begins a process: on the cells of the one before, or with none.
func (n *simNode) start(keep bool) {
	n.life++
	n.up, n.leaving = true, false
	if n.table == nil || !keep {
		n.table = cells.InMemory(1 << 16)
		n.tables++
	}
	from := Heritage{Incarnation: n.w.rnd.Uint64()}
	if n.core != nil && (keep || n.w.mutants.sameIncarnation) {
		from = n.core.Heritage()
	}
	n.saved = map[uint64]*link{}
	n.core = New(Config{
		Node: n.id, Secret: NewSecret("sim"), From: from, Session: uint64(n.mono()), Table: n.table, Random: n.w.rnd.Uint64,
		Kick: n.kick, Audit: func(a Admission) {
			if !a.Over {
				n.w.oracle.admitted(n, a.Budget)
			}
		},
	})
	if most := n.w.f.table; most > 0 {
		insert := n.core.insert
		n.core.insert = func(k cells.Key, p window.Period, over func(*cells.Cell) bool) *cells.Cell {
			if n.table.Find(k, p) == nil && n.table.Len() >= most {
				return nil
			}
			return insert(k, p, over)
		}
	}
	if m := n.w.mutants.rules; m != nil {
		m(&n.core.rules)
	}
	n.core.Restore(func() (int64, *ledger.Rosters) { return n.stamp, n.rosters })
	n.core.RestoreTopUps(n.mono(), n.toppedUp())
	life := n.life
	alive := func() bool { return n.up && n.life == life }
	n.w.after(0, func() { n.sync(alive) })
	n.w.after(0, func() { n.tick(alive) })
}

// leave has the node hand over what it holds and leave, as the driver does it; then
// its process ends, and over is called.
func (n *simNode) leave(over func()) {
	w, life := n.w, n.life
	n.leaving = true
	n.core.HandOver(n.mono())
	deadline := w.now + second
	var wait func()
	wait = func() {
		if !n.up || n.life != life {
			return // it has crashed meanwhile
		}
		if !n.core.HandedOver() && w.now < deadline {
			w.after(millisecond, wait)
			return
		}
		if n.reachable() {
			m := n.core.Member()
			w.send(func() { w.propose(&ledger.Change{Kind: ledger.Leave, Member: m}, nil) })
		}
		w.after(w.rnd.Int64N(20*millisecond), func() {
			if n.life == life {
				n.up = false
				over()
			}
		})
	}
	wait()
}

// toppedUp is what the node's ledger would have of what it has seen.
func (n *simNode) toppedUp() (all []ledger.ToppedUp) {
	for _, o := range n.w.outcomes[:n.seen] {
		all = append(all, o.TopUps...)
	}
	return all
}

func (n *simNode) kick() {
	if n.pumping {
		return
	}
	n.pumping = true
	n.w.after(50, n.pump)
}

func (n *simNode) reachable() bool { return n.up && n.w.now >= n.cut }

// pump sends what the core has to say.
func (n *simNode) pump() {
	n.pumping = false
	if !n.up {
		return
	}
	out := n.core.Ready(n.mono(), nil)
	w, core := n.w, n.core
	if !n.reachable() {
		return
	}
	if out.Join != nil || out.Batch != nil {
		w.send(func() { w.propose(out.Join, out.Batch) })
	}
	for _, r := range out.Requests {
		var to *simNode
		for _, o := range w.nodes {
			if o.id == r.To {
				to = o
			}
		}
		w.send(func() {
			if !to.reachable() {
				return
			}
			reply := to.core.Serve(to.mono(), r)
			if reply == nil {
				return
			}
			w.send(func() {
				if n.reachable() && n.core == core {
					w.mutants.replied(n, r, reply)
				}
			})
		})
	}
}

// sync asks the leader for the time.
func (n *simNode) sync(alive func() bool) {
	if !alive() {
		return
	}
	n.w.after(800*millisecond+n.w.rnd.Int64N(400*millisecond), func() { n.sync(alive) })
	if !n.reachable() || !n.w.led() {
		return
	}
	sent := n.mono()
	n.w.send(func() {
		n.lastWord = n.w.now
		leader := n.w.now
		if n.w.f.liar > 0 {
			leader += n.w.rnd.Int64N(2*n.w.f.liar) - n.w.f.liar
		}
		n.w.send(func() {
			if alive() && n.reachable() {
				n.core.Clock.Sync(sent, n.mono(), leader)
			}
		})
	})
}

func (n *simNode) tick(alive func() bool) {
	if !alive() {
		return
	}
	n.core.SetLeaderless(!n.w.led() && n.w.now-n.stamp > 2*second || n.w.now-n.stamp > 5*second)
	n.core.Tick(n.mono())
	n.kick()
	n.w.after(10*millisecond, func() { n.tick(alive) })
}

// catchUp applies what the node has not seen of the log.
func (n *simNode) catchUp() {
	if !n.reachable() {
		return
	}
	for n.seen < len(n.w.outcomes) {
		o := n.w.outcomes[n.seen]
		n.seen++
		n.stamp = o.Stamp
		if o.Rosters != nil {
			n.rosters = o.Rosters
		}
		n.core.Observe(n.mono(), o)
	}
}

// take is a client's request; done is called with its decision.
func (n *simNode) take(lim *Limit, key string, done func(Decision)) {
	life, held := n.life, slices.ContainsFunc(lim.Rates, func(r Rate) bool { return r.Period.IsInFlight() })
	n.try(lim, key, n.w.now, func(d Decision) {
		if held && d.Admitted {
			n.w.after(n.w.rnd.Int64N(n.w.answer), func() {
				if n.up && n.life == life {
					n.release(lim, key)
				}
			})
		}
		done(d)
	})
}

// release ends a request.
func (n *simNode) release(lim *Limit, key string) {
	for _, r := range lim.Rates {
		if r.Period.IsInFlight() {
			n.w.oracle.ended(n, ledger.Budget{Key: n.core.key(lim, key), Period: r.Period, Start: 1})
		}
	}
	n.core.Done(n.mono(), lim, key)
}

func (n *simNode) try(lim *Limit, key string, since int64, done func(Decision)) {
	w, life := n.w, n.life
	if !n.up || n.leaving {
		done(Decision{Err: errDown})
		return
	}
	var d Decision
	tk := n.core.Take(n.mono(), lim, key, &d)
	switch {
	case d.Hold > 0:
		w.after(d.Hold, func() { n.try(n.newest(lim), key, since, done) })
		return
	case tk == nil:
		if d.Admitted {
			w.waits = append(w.waits, w.now-since)
		}
		done(d)
		return
	}
	core := n.core
	var poll func()
	deadline := w.now + 100*millisecond
	poll = func() {
		select {
		case <-tk.Done:
		default:
			if w.now < deadline && n.up && n.life == life {
				w.after(200, poll)
				return
			}
		}
		if !n.up || n.life != life {
			done(Decision{Err: errDown})
			return
		}
		core.Settle(n.mono(), tk, &d)
		if d.Admitted {
			w.waits = append(w.waits, w.now-since)
		}
		done(d)
	}
	w.after(200, poll)
}

// newest is the version of a limit that the node enforces now.
func (n *simNode) newest(lim *Limit) *Limit {
	for _, l := range n.limits {
		if l.ID == lim.ID {
			return l
		}
	}
	return lim
}

var errDown = fmt.Errorf("node is down")

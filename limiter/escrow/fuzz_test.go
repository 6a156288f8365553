package escrow

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// scenario is a random run, all of it drawn from one seed.
type scenario struct {
	w       *world
	keys    []string
	limits  []*Limit
	clients int
	born    int64 // when the limits come
}

// startOf is a time close to the end of an hour, so that runs of some seconds see
// windows begin, most of them when there is a roster for them already.
func startOf(n uint64) time.Time {
	return time.Date(2026, 6, 15, 11, 59, 48, 0, time.UTC).Add(time.Duration(n%50) * 200 * time.Millisecond)
}

func newScenario(seed uint64, m mutants) *scenario {
	f := faults{}
	r := newWorld(seed, startOf(seed), 1, faults{}, nil).rnd // to draw from before there is a world
	if r.IntN(4) > 0 {
		f = faults{loss: r.Float64() * 0.2, dup: r.Float64() * 0.2, slow: r.Float64() * 0.3, slowest: 1 + r.Int64N(800_000), drift: r.Int64N(150)}
	}
	if r.IntN(4) == 0 {
		f.liar = r.Int64N(400_000)
	}
	if r.IntN(6) == 0 {
		f.table = 1 + r.IntN(6)
	}
	s := &scenario{}
	for i := range 1 + r.IntN(2) {
		l := &Limit{ID: fmt.Sprintf("limit%d", i), Version: 1}
		for range 1 + r.IntN(2) {
			p := drawPeriod(r)
			same := func(x Rate) bool { return x.Period == p }
			if !slices.ContainsFunc(l.Rates, same) {
				l.Rates = append(l.Rates, drawRate(p, r))
			}
		}
		s.limits = append(s.limits, l)
	}
	for i := range 1 + r.IntN(6) {
		s.keys = append(s.keys, "key"+strconv.Itoa(i))
	}
	nodes := 2 + r.IntN(4)
	switch r.IntN(8) {
	case 0:
		nodes = 1
	case 1:
		nodes = 6 + r.IntN(4)
	}
	s.clients = 1 + r.IntN(30)
	s.w = newWorld(seed, startOf(seed), nodes, f, s.limits)
	s.w.mutants = m
	s.born = s.w.now
	if s.w.rnd.IntN(3) == 0 {
		s.born += s.w.rnd.Int64N(9 * second)
		s.w.idle = true
		s.w.after(s.born-s.w.now, s.bear)
	}
	s.w.answer = draw(s.w.rnd.IntN(5), s.w.rnd.Int64N) * 200
	s.w.think = (1 + r.Int64N(20)) * millisecond
	for _, l := range s.limits {
		for _, k := range s.keys {
			s.w.oracle.knows(s.w.nodes[0].core.key(l, k), l.ID)
		}
	}
	return s
}

// drawPeriod is a second or a minute mostly, or any other kind.
func drawPeriod(r *rand.Rand) window.Period {
	p := window.Second + window.Period(r.IntN(2))
	switch r.IntN(8) {
	case 0, 1:
		p = window.Period(r.IntN(window.Periods))
	case 2:
		p, _ = window.Fixed([]int64{2, 3, 7, 90, 7200}[r.IntN(5)])
	case 3, 4, 5:
		p, _ = window.Sliding([]int64{1, 2, 5, 10, 60, 61, 600}[r.IntN(7)])
	}
	if r.IntN(8) == 0 {
		p = window.InFlight
	}
	if r.IntN(5) == 0 {
		p, _ = window.Bucket([]int64{1, 1, 2, 10, 60, 600}[r.IntN(6)])
	}
	if r.IntN(10) == 0 {
		p = p.Local()
	}
	return p
}

// bear creates the limits in a cluster that had none.
func (s *scenario) bear() {
	s.w.idle = false
	for _, l := range s.limits {
		l.Since = s.w.ledger.Settled()
	}
}

func drawRate(p window.Period, r *rand.Rand) Rate {
	x := Rate{Period: p, Max: draw(r.IntN(5), r.Int64N)}
	if p.IsBucket() && r.IntN(4) > 0 {
		x.Burst = draw(r.IntN(5), r.Int64N)
	}
	return x
}

// draw gives a limit of some kind.
func draw(kind int, n func(int64) int64) int64 {
	switch kind {
	case 0:
		return 1
	case 1:
		return 1 + n(8)
	case 2:
		return 1 + n(100)
	case 3:
		return 1 + n(1000)
	}
	return 1 + n(10_000)
}

// client asks again and again, of nodes as they come.
func (s *scenario) client(sticky *simNode) {
	w := s.w
	n := sticky
	if n == nil {
		n = w.nodes[w.rnd.IntN(len(w.nodes))]
	}
	i := w.rnd.IntN(len(s.limits))
	n.take(n.limits[i], s.keys[w.rnd.IntN(len(s.keys))], func(Decision) {
		w.after(w.rnd.Int64N(w.think)+1, func() { s.client(sticky) })
	})
}

// The kinds of trouble.
const (
	crash     = 1 // and 2
	partition = 3
	election  = 4
	fence     = 5
	newLimit  = 6
	topUp     = 7
	leave     = 8
)

// trouble does something bad now and then.
func (s *scenario) trouble() {
	w := s.w
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	kind := w.mutants.trouble
	if kind == 0 {
		kind = 1 + w.rnd.IntN(8)
	}
	switch kind {
	case crash, crash + 1:
		keep := w.rnd.IntN(2) == 0
		n.up = false
		w.after(w.rnd.Int64N(5*second), func() {
			if !n.up {
				n.start(keep)
				n.catchUp()
			}
		})
	case partition:
		n.cut = w.now + w.rnd.Int64N(8*second)
		w.after(n.cut-w.now, n.catchUp)
	case election:
		w.away = w.now + w.rnd.Int64N(6*second)
	case fence:
		for _, m := range w.ledger.Rosters().Last().Members {
			if m.Node == n.id {
				w.propose(&ledger.Change{Kind: ledger.Fence, Member: m}, nil)
			}
		}
	case newLimit:
		s.change(w.rnd.IntN(len(s.limits)))
	case topUp:
		s.topUp()
	case leave:
		if !n.up || n.leaving {
			break
		}
		n.leave(func() {
			keep := w.rnd.IntN(2) == 0
			w.after(w.rnd.Int64N(5*second), func() {
				if !n.up {
					n.start(keep)
					n.catchUp()
				}
			})
		})
	}
	w.after(w.rnd.Int64N(4*second), s.trouble)
}

// topUp adds to a budget of now, whose limit is what some node has it for.
func (s *scenario) topUp() {
	w := s.w
	l := w.nodes[w.rnd.IntN(len(w.nodes))].limits[w.rnd.IntN(len(s.limits))]
	i := w.rnd.IntN(len(l.Rates))
	p := l.Rates[i].Period
	key := s.keys[w.rnd.IntN(len(s.keys))]
	w.topUp(ledger.Budget{Key: w.nodes[0].core.key(l, key), Period: p, Start: p.At(w.now).Start}, l.one(i), draw(w.rnd.IntN(4), w.rnd.Int64N))
}

// change gives all nodes another version of a limit, one after the other.
func (s *scenario) change(i int) {
	w := s.w
	l := &Limit{ID: s.limits[i].ID, Version: s.limits[i].Version + 1, Since: s.limits[i].Since}
	for _, r := range s.limits[i].Rates {
		l.Rates = append(l.Rates, drawRate(r.Period, w.rnd))
	}
	s.limits[i] = l
	for _, n := range w.nodes {
		w.after(w.rnd.Int64N(second), func() {
			if n.limits[i].Version < l.Version {
				w.oracle.adopt(l, n)
				n.limits[i] = l
			}
		})
	}
}

func (s *scenario) run() error {
	w := s.w
	for i := range s.clients {
		var sticky *simNode
		if i%3 == 0 {
			sticky = w.nodes[w.rnd.IntN(len(w.nodes))]
		}
		w.after(s.born-w.now+w.rnd.Int64N(second), func() { s.client(sticky) })
	}
	if len(w.nodes) > 1 || w.rnd.IntN(2) == 0 {
		w.after(s.born-w.now+w.rnd.Int64N(4*second), s.trouble)
	}
	return w.run(15 * second)
}

// runs is how many seeds a test takes; LIMITER_RUNS sets another number.
func runs(t *testing.T, few uint64) uint64 { return setting(t, "LIMITER_RUNS", few) }

// setting is a number of the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// simulated skips a test of the simulation under the race detector, which has it
// take minutes: make test runs it without, too.
func simulated(t *testing.T) {
	if raceDetector {
		t.Skip("one goroutine, in a run of its own")
	}
}

// TestChaos runs clusters through loss, duplication, reordering, crashes,
// partitions, elections, fencing, wrong clocks and changing limits: no window of
// any key may ever see more than its limit. LIMITER_SEED is the seed to begin with.
func TestChaos(t *testing.T) {
	simulated(t)
	all, first, done := runs(t, 20), setting(t, "LIMITER_SEED", 0), atomic.Uint64{}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := done.Add(1); n <= all && !t.Failed(); n = done.Add(1) {
				if err := newScenario(first+n-1, mutants{}).run(); err != nil {
					t.Errorf("seed %d: %v", first+n-1, err)
				}
				if n%500 == 0 {
					t.Logf("%d of %d", n, all)
				}
			}
		})
	}
	workers.Wait()
}

// cutOff has a node be fenced while it is cut off, and asked all the time: for a
// limit of a second, and for a sliding one that is created meanwhile.
func cutOff(m mutants) error {
	old := &Limit{ID: "old", Version: 1, Rates: []Rate{{Period: window.Second, Max: 10}}}
	flights := &Limit{ID: "flights", Version: 1, Rates: []Rate{{Period: window.InFlight, Max: 10}}}
	begin := startOf(1)
	sliding, _ := window.Sliding(10)
	late := &Limit{ID: "late", Version: 1, Rates: []Rate{{Period: sliding, Max: 10}}, Since: begin.UnixMicro() + 6*second}
	limits := []*Limit{old, late, flights}
	w := newWorld(1, begin, 3, faults{}, limits)
	w.answer = 200 * millisecond
	w.mutants = m
	for _, l := range limits {
		w.oracle.knows(w.nodes[0].core.key(l, "key"), l.ID)
	}
	for _, n := range w.nodes {
		n.start(false) // with the mutation
		w.every(5*millisecond, func() { n.take(old, "key", func(Decision) {}) })
		w.every(5*millisecond, func() { n.take(flights, "key", func(Decision) {}) })
		w.after(6*second, func() {
			w.every(5*millisecond, func() { n.take(late, "key", func(Decision) {}) })
		})
	}
	w.after(4*second, func() { w.nodes[2].cut = w.now + 12*second })
	return w.run(15 * second)
}

// lending has nodes be asked a lot of a bucket now and then, one after the other,
// so that much is lent, and one be away without its cells until another roster is
// in force.
func lending(seed uint64, m mutants) error {
	p, _ := window.Bucket(1)
	lim := &Limit{ID: "bucket", Version: 1, Rates: []Rate{{Period: p, Max: 300}}}
	w := newWorld(seed, startOf(seed), 3, faults{}, []*Limit{lim})
	w.mutants = m
	w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
	for _, n := range w.nodes {
		n.start(false) // with the mutation
	}
	ask := func(n *simNode, times, apart int64) {
		for i := range times {
			w.after(i*apart, func() { n.take(lim, "key", func(Decision) {}) })
		}
	}
	var round func()
	round = func() {
		times := 100 + w.rnd.Int64N(60) // what has been borrowed then may be left
		ask(w.nodes[w.rnd.IntN(3)], times, millisecond)
		later := w.rnd.Int64N(95 * millisecond)
		if w.rnd.IntN(2) == 0 {
			later += 800 * millisecond
		}
		w.after(times*millisecond+later, func() {
			for _, n := range w.nodes {
				ask(n, 400, 500)
			}
		})
		w.after(2500*millisecond, round) // all is full again
	}
	w.after(8500*millisecond, func() { // those who are there are full
		for _, n := range w.nodes {
			ask(n, 2000, 2500)
		}
	})
	w.after(15*second, round)
	w.after(second, func() { w.nodes[2].up = false })
	w.after(7*second, func() {
		w.nodes[2].start(false)
		w.nodes[2].catchUp()
	})
	return w.run(40 * second)
}

// slowly has nodes without a part of a bucket borrow over a slow network.
func slowly(seed uint64, m mutants) error {
	p, _ := window.Bucket(1)
	lim := &Limit{ID: "bucket", Version: 1, Rates: []Rate{{Period: p, Max: 2, Burst: 1}}}
	w := newWorld(seed, startOf(seed), 3, faults{slow: 0.3, slowest: 80 * millisecond}, []*Limit{lim})
	w.mutants = m
	w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
	for _, n := range w.nodes {
		n.start(false) // with the mutation
		w.every(10*millisecond, func() { n.take(lim, "key", func(Decision) {}) })
	}
	return w.run(40 * second)
}

// TestMutants breaks the rules one by one: the oracle must notice.
func TestMutants(t *testing.T) {
	simulated(t)
	if err := cutOff(mutants{}); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		if err := lending(seed, mutants{}); err != nil {
			t.Fatal(err)
		}
		if err := slowly(seed, mutants{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, m := range map[string]mutants{
		"a process without its cells uses the birthright again": {sameIncarnation: true, trouble: crash},
		"no freshness rule (S2)": {rules: func(r *rules) {
			r.fresh = func(int64, int64) bool { return true }
		}},
		"a slice too few is looked back": {likely: 40, rules: func(r *rules) {
			r.slices = func(p window.Period) int64 { return p.Slices() - 1 }
		}},
		"what was borrowed is kept after its slice": {likely: 219, rules: func(r *rules) {
			r.used = func(own, left int64) int64 { return own - left }
		}},
		"who may have been fenced admits what is in flight": {rules: func(r *rules) {
			r.current = func(int64, Instant) bool { return true }
		}},
		"a node that has joined begins with a full bucket": {rules: func(r *rules) {
			r.joined = func(since, _ int64) int64 { return since }
		}},
		"what is lent of a bucket comes back at once": {rules: func(r *rules) {
			r.life = func(int64) int64 { return 0 }
		}},
		"what was borrowed of a bucket is good for ever": {rules: func(r *rules) {
			r.borrowed = func(int64, int64) bool { return true }
		}},
		"some take a limit for younger than it is": {rules: func(r *rules) {
			r.since = func(v *view, since int64) int64 {
				if v.member.Node != "n3" {
					since += 4 * second
				}
				return since
			}
		}},
		"the share of today is taken, whoever had it before": {rules: func(r *rules) {
			r.least = func(_, later int64) int64 { return later }
		}},
		"a duplicate reply is credited": {twice: true},
		"a node that leaves gives back more than it had": {trouble: leave, rules: func(r *rules) {
			r.handed = func(left int64) int64 { return left + 1 }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := error(nil)
			if m.rules != nil {
				err = cutOff(m)
				for seed := uint64(0); err == nil && seed < 5; seed++ {
					if err = lending(seed, m); err == nil {
						err = slowly(seed, m)
					}
				}
			}
			seed, first := m.likely, m.likely
			for ; err == nil && seed < first+200; seed++ {
				err = newScenario(seed, m).run()
			}
			if err == nil {
				t.Error("not noticed in 200 runs")
			}
			t.Logf("seed %d: %v", seed-1, err)
		})
	}
}

package limiter

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// runs is how many seeds a simulation test goes through: def, or LIMITER_RUNS.
func runs(t *testing.T, def int) int {
	s := os.Getenv("LIMITER_RUNS")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("LIMITER_RUNS: %v", err)
	}
	return n
}

// starts are moments at which windows of several lengths end soon.
var starts = []time.Time{
	time.Date(2026, 1, 31, 23, 59, 57, 0, time.UTC),
	time.Date(2027, 12, 31, 23, 59, 56, 0, time.UTC),
	time.Date(2026, 6, 15, 12, 30, 58, 500_000_000, time.UTC),
	time.Date(2026, 6, 15, 12, 30, 10, 0, time.UTC),
}

// chaos runs one random world with faults and returns its first violation. In
// every fourth world one node's clock is late by many seconds.
func chaos(seed uint64, m mutants) (*world, error) {
	pick := newWorld(seed, starts[0], 0, faults{}, nil) // for its randomness
	f := faults{
		loss: 0.2 * pick.rnd.Float64(), dup: 0.2 * pick.rnd.Float64(),
		slow: 0.2 * pick.rnd.Float64(), slowest: pick.between(5*millisecond, 1500*millisecond),
	}
	if pick.chance(0.5) {
		f.skew = 400 * millisecond
	}
	lateNode := seed%4 == 3
	if lateNode {
		f.late = pick.between(5*second, 12*second)
	}
	limits := []*Limit{
		{ID: "a", Version: 1, Max: [Periods]int64{pick.between(1, 8), pick.between(1, 60)}},
		{ID: "b", Version: 1, Max: [Periods]int64{Hour: pick.between(30, 1500), Year: pick.between(20, 2000)}},
	}
	w := newWorld(seed, starts[pick.rnd.IntN(len(starts))], 3+pick.rnd.IntN(3), f, limits)
	w.mutants = m
	w.oracle.countOnly = m != mutants{}
	w.think = w.between(2*millisecond, 40*millisecond)
	keys := 1 + w.rnd.IntN(4)
	w.clients(4+w.rnd.IntN(20), func(int) (int, int, string) {
		return w.rnd.IntN(len(w.nodes)), w.rnd.IntN(2), fmt.Sprint("k", w.rnd.IntN(keys))
	}, func(Decision) {})
	w.havoc()
	if lateNode { // its clock stands still in a window that ends meanwhile
		w.after(w.between(0, second), func() {
			w.nodes[0].cut = w.now + w.between(4*second, 7*second)
			w.nodes[0].deaf = w.nodes[0].cut + w.between(0, second)
		})
	}
	w.run(w.between(3*second, 14*second))
	w.oracle.checkLedger()
	return w, w.oracle.err
}

// havoc schedules crashes, partitions, leader losses and limit changes.
func (w *world) havoc() {
	for range w.rnd.IntN(7) {
		n := w.nodes[w.rnd.IntN(len(w.nodes))]
		at, d := w.between(0, 10*second), w.between(5*millisecond, 2*second)
		w.after(at, func() { n.crash(d) })
	}
	for range w.rnd.IntN(4) {
		n := w.nodes[w.rnd.IntN(len(w.nodes))]
		at, d := w.between(0, 8*second), w.between(50*millisecond, 7*second)
		w.after(at, func() { n.cut = w.now + d })
	}
	for range w.rnd.IntN(3) {
		at, d := w.between(0, 8*second), w.between(50*millisecond, 2*second)
		w.after(at, func() { w.away = w.now + d })
	}
	for v := range w.rnd.IntN(4) {
		w.after(w.between(0, 3*second)+int64(v)*3*second, func() { w.change(uint64(v + 2)) })
	}
}

// change brings out a new version of a limit, which nodes adopt one by one.
func (w *world) change(version uint64) {
	i := w.rnd.IntN(2)
	l := *w.nodes[0].limits[i]
	l.Version = version
	for p := range l.Max {
		if l.Max[p] > 0 {
			l.Max[p] = w.between(1, 3*l.Max[p]+1)
		}
	}
	for _, n := range w.nodes {
		w.after(w.between(0, second), func() {
			if n.limits[i].Version < l.Version {
				n.limits[i] = &l
				w.oracle.adopt(&l, n)
			}
		})
	}
}

// TestChaos is the fault fuzz of core and ledger together. More seeds:
// LIMITER_RUNS=20000 go test -run TestChaos.
func TestChaos(t *testing.T) {
	admitted := int64(0)
	for seed := range runs(t, 30) {
		w, err := chaos(uint64(seed), mutants{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, n := range w.oracle.admits {
			admitted += n
		}
	}
	if admitted < 1000 {
		t.Fatalf("only %d requests admitted: the worlds are too quiet to prove anything", admitted)
	}
}

// FuzzChaos lets the fuzzer choose the worlds.
func FuzzChaos(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) {
		if _, err := chaos(seed, mutants{}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMutants breaks the protocol in four ways the oracle has to notice.
func TestMutants(t *testing.T) {
	for name, m := range map[string]mutants{
		"old grant":  {oldGrant: true},
		"twice":      {twice: true},
		"reapply":    {reapply: true},
		"mint again": {mintAgain: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range 400 {
				if m.mintAgain && seed%4 != 3 {
					continue // needs a clock that is very late
				}
				if _, err := chaos(uint64(seed), m); err != nil {
					t.Logf("caught in run %d: %v", seed, err)
					return
				}
			}
			t.Fatal("the oracle did not notice")
		})
	}
}

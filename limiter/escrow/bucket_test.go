package escrow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// TestBucketBurst: a burst from a full bucket is admitted, whichever nodes are
// asked for how much of it.
func TestBucketBurst(t *testing.T) {
	simulated(t)
	p, _ := window.Bucket(10)
	for seed := range runs(t, 30) {
		r := rand.New(rand.NewPCG(seed, 1))
		begin, burst := startOf(3), 1+r.Int64N(12)
		lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: p, Max: 1, Burst: burst}}, Since: begin.UnixMicro() + 8*second}
		w := newWorld(seed, begin, 1+r.IntN(9), faults{}, []*Limit{lim})
		w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
		admitted := int64(0)
		w.after(8*second+50*millisecond, func() {
			for range burst {
				w.nodes[r.IntN(len(w.nodes))].take(lim, "key", func(d Decision) {
					if d.Admitted {
						admitted++
					}
				})
			}
		})
		if err := w.run(9 * second); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if admitted != burst {
			t.Errorf("seed %d: %d of %d admitted by %d nodes", seed, admitted, burst, len(w.nodes))
		}
	}
}

// TestBucketRemaining: what is left is what all nodes have, whichever is asked.
func TestBucketRemaining(t *testing.T) {
	simulated(t)
	p, _ := window.Bucket(600)
	for nodes := 1; nodes <= 9; nodes++ {
		begin := startOf(3)
		lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: p, Max: 10, Burst: 7}}, Since: begin.UnixMicro() + 8*second}
		w := newWorld(uint64(nodes), begin, nodes, faults{}, []*Limit{lim})
		w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
		var left, resets []int64
		n := 0
		w.after(8*second+100*millisecond, func() {
			w.every(50*millisecond, func() {
				n++
				w.nodes[n*2%nodes].take(lim, "key", func(d Decision) {
					left, resets = append(left, d.Remaining[0]), append(resets, d.Reset[0])
				})
			})
		})
		if err := w.run(8*second + 520*millisecond); err != nil {
			t.Fatal(err)
		}
		if want := []int64{6, 5, 4, 3, 2, 1, 0, 0}; len(left) < 8 || !slices.Equal(left[:8], want) {
			t.Errorf("%d nodes: left %v, want %v", nodes, left, want)
		}
		// A token of all takes a minute, one of a share of two of seven 210 seconds.
		for i, r := range resets[:7] {
			if r < int64(i+1)*60-1 {
				t.Errorf("%d nodes: full after %v", nodes, resets)
				break
			}
		}
	}
}

// TestTightBucket: with more demand than there is, all that comes back is spent,
// wherever it is asked for.
func TestTightBucket(t *testing.T) {
	one := func(w *world, _ int) *simNode { return w.nodes[0] }
	alternating := func(w *world, i int) *simNode { return w.nodes[i%len(w.nodes)] }
	uniform := func(w *world, _ int) *simNode { return w.nodes[w.rnd.IntN(len(w.nodes))] }
	for _, c := range []struct {
		max, burst, seconds int64
		demand              float64
		at                  func(*world, int) *simNode
		nodes               int
		least               float64
	}{
		{1, 1, 1, 200, one, 3, 0.97},
		{1, 1, 1, 200, alternating, 3, 0.97},
		{5, 1, 1, 1000, one, 3, 0.97},
		{5, 5, 10, 50, one, 3, 0.97},
		{5, 5, 10, 50, uniform, 9, 0.97},
		{10, 2, 1, 300, one, 3, 0.97},
		{100, 20, 1, 300, one, 3, 0.97},
		{1000, 200, 1, 3000, one, 3, 0.97},
		{1000, 1000, 1, 3000, one, 3, 0.97},
		{1000, 1000, 1, 3000, uniform, 5, 0.97},
		{1000, 1000, 1, 3000, alternating, 3, 0.97},
		{6000, 6000, 60, 300, one, 3, 0.97},
		{100_000, 100_000, 1, 110_000, one, 3, 0.97},
		{100_000, 20_000, 1, 110_000, uniform, 3, 0.97},
		{1000, 50, 1, 3000, one, 3, 0.9},
		{1000, 10, 1, 3000, one, 3, 0.5},
		{1000, 1, 1, 3000, one, 3, 0},
	} {
		t.Run(fmt.Sprintf("%d of %d in %ds over %d", c.burst, c.max, c.seconds, c.nodes), func(t *testing.T) {
			t.Parallel()
			p, _ := window.Bucket(c.seconds)
			begin := time.Date(2026, 6, 15, 11, 59, 50, 0, time.UTC)
			lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: p, Max: c.max, Burst: c.burst}}, Since: begin.UnixMicro() + 8*second}
			w := newWorld(7, begin, c.nodes, faults{}, []*Limit{lim})
			w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
			n, got, burst := 0, 0, 0
			var next func()
			next = func() {
				n++
				c.at(w, n).take(lim, "key", func(d Decision) {
					if d.Admitted {
						got++
					}
				})
				w.after(int64(w.rnd.ExpFloat64()*float64(second)/c.demand), next)
			}
			w.after(8*second+50*millisecond, func() {
				for range min(c.burst, 1000) {
					c.at(w, int(n)).take(lim, "key", func(d Decision) {
						if n++; d.Admitted {
							burst++
						}
					})
				}
			})
			w.after(8*second+100*millisecond, next)
			length := max(20*second, 10*c.seconds*second/max(1, c.max))
			if c.demand > 50_000 {
				length = 3 * second
			}
			if err := w.run(9 * second); err != nil {
				t.Fatal(err)
			}
			got, w.waits = 0, nil
			if err := w.run(length); err != nil {
				t.Fatal(err)
			}
			requests := uint64(0)
			for _, node := range w.nodes {
				requests += node.core.seq
			}
			slices.Sort(w.waits)
			wait := func(q float64) time.Duration {
				return time.Duration(w.waits[int(math.Ceil(q*float64(len(w.waits)-1)))]) * time.Microsecond
			}
			all := float64(c.max) * float64(length) / float64(c.seconds*second)
			if float64(got) < all*c.least-1 {
				t.Errorf("%d admitted of %.0f, asked for %d times", got, all, n)
			}
			if burst < int(min(c.burst, 1000)) {
				t.Errorf("%d admitted of a burst of %d", burst, c.burst)
			}
			t.Logf("%.1f %%; waited p50 %v p99 %v p99.9 %v; %d requests between nodes for %d of %d", 100*float64(got)/all, wait(0.5), wait(0.99), wait(0.999), requests, got, n)
		})
	}
}

// TestBucketSince: of a limit that counts from a time to come, nobody has anything
// before, however often it is asked for or looked at.
func TestBucketSince(t *testing.T) {
	c, mono := lone(64)
	p, _ := window.Bucket(600)
	start := c.view.Load().stamp
	lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: p, Max: 5, Burst: 5}}, Since: start + 2*second}
	at := ledger.Budget{Key: c.key(lim, "key"), Period: p, Start: 1}
	admitted := 0
	for range 40 {
		c.Holdings(mono, &Query{Budgets: []ledger.Budget{at}})
		now, _ := c.Clock.At(mono)
		if s := c.shardOf(at.Key); mono%second == 0 {
			c.table.Sweep(cells.Shard(cells.Key(at.Key)), s.over(s.at(now)))
		}
		var d Decision
		tk := c.Take(mono, lim, "key", &d)
		if tk != nil {
			c.Settle(mono, tk, &d)
		}
		if d.Admitted {
			admitted++
		}
		if mono < 2*second && admitted > 0 {
			t.Fatalf("admitted %v too early", time.Duration(2*second-mono)*time.Microsecond)
		}
		mono += 100 * millisecond
		c.Observe(mono, &ledger.Outcome{Stamp: start + mono})
		c.Clock.Sync(mono, mono, start+mono)
	}
	if admitted != 5 {
		t.Errorf("%d of 5 admitted", admitted)
	}
}

// TestBucketRetry: who is refused is told when the next token comes, on whichever
// node that is.
func TestBucketRetry(t *testing.T) {
	simulated(t)
	p, _ := window.Bucket(60)
	begin := startOf(3)
	lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: p, Max: 6, Burst: 4}}, Since: begin.UnixMicro() + 8*second}
	w := newWorld(4, begin, 3, faults{}, []*Limit{lim})
	w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
	var resets []int64
	n := 0
	w.after(8*second+100*millisecond, func() {
		w.every(100*millisecond, func() {
			n++
			w.nodes[n%3].take(lim, "key", func(d Decision) {
				if !d.Admitted {
					resets = append(resets, d.Reset[0])
				}
			})
		})
	})
	if err := w.run(9 * second); err != nil {
		t.Fatal(err)
	}
	for _, r := range resets {
		// A share of two of four tokens has one again after 20 s, one of one after 40.
		if r < 19 || r > 20 {
			t.Errorf("come back after %v s", resets)
			break
		}
	}
	if len(resets) == 0 {
		t.Error("nobody is refused")
	}
}

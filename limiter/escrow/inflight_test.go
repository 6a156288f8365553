package escrow

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// TestInFlightTight: with more demand than the limit, nearly as many requests are
// in flight all the time, wherever they come from, and the log has little to do.
func TestInFlightTight(t *testing.T) {
	simulated(t)
	for _, c := range []struct {
		max     int64
		nodes   int
		clients int
		at      func(w *world, client, n int) *simNode
		least   float64
	}{
		{1, 3, 6, func(w *world, _, n int) *simNode { return w.nodes[n%len(w.nodes)] }, 0.6},
		{5, 3, 20, func(w *world, _, n int) *simNode { return w.nodes[n%len(w.nodes)] }, 0.8},
		{5, 3, 20, func(w *world, client, _ int) *simNode { return w.nodes[client%len(w.nodes)] }, 0.8},
		{50, 3, 100, func(w *world, _, n int) *simNode { return w.nodes[0] }, 0.95},
		{50, 5, 100, func(w *world, client, _ int) *simNode { return w.nodes[w.rnd.IntN(len(w.nodes))] }, 0.9},
	} {
		t.Run(fmt.Sprintf("%d over %d", c.max, c.nodes), func(t *testing.T) {
			t.Parallel()
			lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: window.InFlight, Max: c.max}}}
			w := newWorld(7, time.Date(2026, 6, 15, 11, 59, 50, 0, time.UTC), c.nodes, faults{}, []*Limit{lim})
			w.answer = 200 * millisecond
			w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
			n := 0
			var client func(i int)
			client = func(i int) {
				n++
				c.at(w, i, n).take(lim, "key", func(d Decision) {
					w.after(w.rnd.Int64N(10*millisecond), func() { client(i) })
				})
			}
			for i := range c.clients {
				w.after(w.rnd.Int64N(second), func() { client(i) })
			}
			if err := w.run(5 * second); err != nil {
				t.Fatal(err)
			}
			w.grants, w.waits = 0, nil
			sum, samples := 0, 0
			w.every(millisecond, func() { sum, samples = sum+len(w.oracle.flights), samples+1 })
			if err := w.run(10 * second); err != nil {
				t.Fatal(err)
			}
			used := float64(sum) / float64(samples) / float64(c.max)
			t.Logf("%.1f %% in use; %d admitted in 10 s, %d entries with grants", 100*used, len(w.waits), w.grants)
			if used < c.least {
				t.Errorf("%.1f %% of %d are in use", 100*used, c.max)
			}
		})
	}
}

// TestInFlightGivenBack: what nobody needs goes back, and nothing is kept of it.
func TestInFlightGivenBack(t *testing.T) {
	lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: window.InFlight, Max: 50}}}
	w := newWorld(7, startOf(3), 3, faults{loss: 0.1, dup: 0.1}, []*Limit{lim})
	key := w.nodes[0].core.key(lim, "key")
	w.oracle.knows(key, lim.ID)
	w.after(5*second, func() {
		for i := range 60 {
			w.nodes[i%3].take(lim, "key", func(Decision) {})
		}
	})
	if err := w.run(5*second + 60*millisecond); err != nil {
		t.Fatal(err)
	}
	if len(w.ledger.Held(key)) != 3 {
		t.Errorf("%v hold some", w.ledger.Held(key))
	}
	w.nodes[1].start(true) // what it answered is over
	w.nodes[1].catchUp()
	if err := w.run(10 * second); err != nil {
		t.Fatal(err)
	}
	if held := w.ledger.Held(key); len(held) > 0 || w.ledger.Len() != 0 {
		t.Errorf("%v is held, %d budgets", held, w.ledger.Len())
	}
	for _, n := range w.nodes {
		for i := range n.core.shards {
			if len(n.core.shards[i].list) > 0 || n.core.Busy() {
				t.Errorf("%s is busy", n.id)
			}
		}
	}
}

// TestInFlightFenced: a node that was fenced with requests in flight admits nobody
// in their place when they are done: what it held is others' by then.
func TestInFlightFenced(t *testing.T) {
	simulated(t)
	lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: window.InFlight, Max: 12}}}
	w := newWorld(7, startOf(3), 3, faults{}, []*Limit{lim})
	w.answer = 1000 * second // longer than all of it
	w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
	n, held := w.nodes[2], 0
	for _, o := range w.nodes {
		w.every(3*millisecond, func() {
			o.take(lim, "key", func(d Decision) {
				if o == n && d.Admitted {
					held++
				}
			})
		})
	}
	w.after(6*second, func() {
		n.cut = w.now + 8*second
		w.after(8*second, func() {
			n.catchUp()
			for range held {
				n.release(lim, "key")
			}
		})
	})
	if err := w.run(30 * second); err != nil {
		t.Fatal(err)
	}
	if held == 0 {
		t.Error("the node had nothing in flight")
	}
}

// TestInFlightAudit: the record of a request's end is made while its token is
// still taken; without an audit, the end allocates nothing.
func TestInFlightAudit(t *testing.T) {
	p := window.InFlight.Local()
	lim := perPeriod(p, 1)
	c, mono := lone(1 << 10)
	var d Decision
	once := func() {
		if c.Take(mono, lim, "key", &d); !d.Admitted {
			t.Fatalf("%+v", d)
		}
		c.Done(mono, lim, "key")
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var overs []bool
	c.audit = func(a Admission) {
		overs = append(overs, a.Over)
		cl := c.table.Find(keyOf(a.Budget), p)
		if a.Limit.Max != 1 || a.Budget.Period != p || cl == nil || tokens(cl) != 0 {
			t.Errorf("%+v", a)
		}
	}
	once()
	if !slices.Equal(overs, []bool{false, true}) {
		t.Errorf("%v are over", overs)
	}
}

// TestInFlightSwept: a cell that is all free is not forgotten while somebody has just
// waited for it: the next one who waits would be given the tokens of whoever has its
// place then.
func TestInFlightSwept(t *testing.T) {
	lim := perPeriod(window.InFlight.Local(), 1)
	c, mono := lone(1 << 10)
	b := ledger.Budget{Key: c.key(lim, "key"), Period: lim.Rates[0].Period, Start: 1}
	var d Decision
	c.Take(mono, lim, "key", &d)
	tk := c.Take(mono, lim, "key", &d)
	if tk == nil {
		t.Fatalf("nobody waits: %+v", d)
	}
	c.Done(mono, lim, "key")
	if c.Settle(mono, tk, &d); !d.Admitted {
		t.Fatalf("%+v", d)
	}
	c.Done(mono, lim, "key")
	for range 3 * cells.Shards {
		mono += millisecond
		c.Tick(mono)
		if h := c.shardOf(b.Key).hunts[placeOf(b)]; h == nil || c.table.Find(keyOf(b), b.Period) != h.cell {
			t.Fatal("the cell is forgotten, or another one")
		}
	}
	mono += 2 * idleHunt
	for range 2 * cells.Shards {
		c.Tick(mono)
	}
	if c.table.Find(keyOf(b), b.Period) != nil {
		t.Error("the cell is kept for ever")
	}
}

// TestInFlightLowered: when the limit is lowered, what is in flight counts until it is
// done: nobody is admitted on top.
func TestInFlightLowered(t *testing.T) {
	simulated(t)
	lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: window.InFlight, Max: 9}}}
	lower := &Limit{ID: "l", Version: 2, Rates: []Rate{{Period: window.InFlight, Max: 2}}}
	w := newWorld(5, startOf(3), 3, faults{}, []*Limit{lim})
	w.answer = 5 * second
	w.oracle.knows(w.nodes[0].core.key(lim, "key"), lim.ID)
	admitted, late := 0, 0
	for _, n := range w.nodes {
		w.every(20*millisecond, func() {
			n.take(n.limits[0], "key", func(d Decision) {
				if d.Admitted {
					if admitted++; n.limits[0] == lower {
						late++
					}
				}
			})
		})
		w.after(6*second, func() {
			w.oracle.adopt(lower, n)
			n.limits[0] = lower
		})
	}
	if err := w.run(9 * second); err != nil {
		t.Fatal(err)
	}
	if admitted < 9 || late > 0 {
		t.Errorf("%d admitted, %d of them after the limit was lowered", admitted, late)
	}
}

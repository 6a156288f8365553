package limiter

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// spreads are ways in which 100 clients can be spread over three nodes.
var spreads = map[string]func(w *world, i int) int{
	"all on one":      func(*world, int) int { return 1 },
	"uniform":         func(w *world, _ int) int { return w.rnd.IntN(3) },
	"client by node":  func(_ *world, i int) int { return i % 3 },
	"mostly one":      func(w *world, _ int) int { return max(0, w.rnd.IntN(12)-9) },
	"alternating 2ms": func(w *world, _ int) int { return int(w.now/(2*millisecond)) % 3 },
	"one, then another": func(w *world, _ int) int {
		sum := int64(0)
		for _, n := range w.oracle.admits {
			sum += n
		}
		return int(sum / 600) // the first 600 on node 1, the rest on node 2
	},
}

// TestTight has more demand than budget: all of the budget is admitted, and
// nobody is refused while a token is left anywhere.
func TestTight(t *testing.T) {
	for _, limit := range []int64{1, 5, 31, 32, 100, 1000} {
		for name, spread := range spreads {
			t.Run(fmt.Sprintf("%d %s", limit, name), func(t *testing.T) {
				lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: limit}}
				w := newWorld(uint64(limit), time.Date(2026, 6, 15, 12, 0, 5, 0, time.UTC), 3, faults{}, []*Limit{lim})
				admitted, refused, early := int64(0), 0, 0
				w.clients(100, func(i int) (int, int, string) { return spread(w, i), 0, "k" }, func(d Decision) {
					if d.Admitted {
						admitted++
					} else {
						refused++
						if admitted < limit {
							early++
						}
					}
				})
				for end := w.now + 3*second; w.now < end && refused < 300; {
					w.run(20 * millisecond)
				}
				must(t, w)
				if admitted != limit {
					t.Errorf("%d of %d admitted", admitted, limit)
				}
				if early > 0 {
					t.Errorf("%d refused while tokens were left", early)
				}
				if refused == 0 {
					t.Error("nobody was refused: the demand was too small to prove anything")
				}
			})
		}
	}
}

// TestTutorial asks three nodes in turn with a budget of five a minute.
func TestTutorial(t *testing.T) {
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 5}}
	w := newWorld(1, time.Date(2026, 6, 15, 12, 0, 5, 250_000_000, time.UTC), 3, faults{}, []*Limit{lim})
	var got []string
	for i := range 7 {
		w.nodes[i%3].request(0, "k", func(d Decision) {
			got = append(got, fmt.Sprint(d.Admitted, d.Remaining[Minute], d.Reset[Minute], d.Refused, d.Err))
		})
		w.run(200 * millisecond)
	}
	must(t, w)
	want := []string{
		"true 4 55 second <nil>", "true 3 55 second <nil>", "true 2 55 second <nil>", "true 1 55 second <nil>",
		"true 0 54 second <nil>", "false 0 54 minute <nil>", "false 0 54 minute <nil>",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// TestClosedIsSilent shows that a window that is used up costs no log entries.
func TestClosedIsSilent(t *testing.T) {
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 40}}
	w := newWorld(1, time.Date(2026, 6, 15, 12, 0, 5, 0, time.UTC), 3, faults{}, []*Limit{lim})
	w.clients(20, func(i int) (int, int, string) { return i % 3, 0, "k" }, func(Decision) {})
	w.run(2 * second)
	before := w.entries
	w.run(5 * second)
	must(t, w)
	if w.entries != before {
		t.Fatalf("%d entries about a closed window", w.entries-before)
	}
}

// TestPutBack has a budget a minute that runs out before the one a second: a
// refused request consumes nothing of either.
func TestPutBack(t *testing.T) {
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Second: 50, Minute: 7}}
	w := newWorld(1, time.Date(2026, 6, 15, 12, 0, 5, 0, time.UTC), 3, faults{}, []*Limit{lim})
	refusals := map[Period]int{}
	w.clients(30, func(i int) (int, int, string) { return i % 3, 0, "k" }, func(d Decision) {
		if !d.Admitted {
			refusals[d.Refused]++
		}
	})
	w.run(2 * second)
	must(t, w)
	sums := [Periods]int64{}
	for l, n := range w.oracle.admits {
		sums[l.period] += n
	}
	if sums[Second] != 7 || sums[Minute] != 7 {
		t.Errorf("admitted %d by the second, %d by the minute, want 7", sums[Second], sums[Minute])
	}
	if refusals[Second] > 0 || refusals[Minute] == 0 {
		t.Errorf("refusals by period: %v, want minute only", refusals)
	}
}

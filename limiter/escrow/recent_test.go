package escrow

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// TestRecent: what is remembered of keys changes nothing: each gets its limit in
// each window, whichever keys meet at one place, however long they are, wherever
// their cells are by then, and if a limit is another one of the same name.
func TestRecent(t *testing.T) {
	var keys []string
	for i := range 40 {
		// The first and last eight bytes and the length are those of others.
		keys = append(keys, fmt.Sprintf("same-%02d-%08d-same-end", i%2, i), fmt.Sprint(i), strings.Repeat(string(rune('a'+i)), 60+i))
	}
	places := map[uint64]bool{}
	for _, k := range keys {
		places[recentPlace(perPeriod(window.Minute, 1), k)] = true
	}
	if len(places) > 100 {
		t.Fatalf("%d keys meet at %d places", len(keys), len(places))
	}
	c, mono := lone(1 << 10)
	r := rand.New(rand.NewPCG(1, 2))
	start := c.view.Load().stamp
	for minute := range int64(30) {
		mono += 60 * second
		c.Observe(mono, &ledger.Outcome{Stamp: start + mono})
		c.Clock.Sync(mono, mono, start+mono)
		lim := perPeriod(window.Minute, 1+minute%4) // another one each time
		admitted := map[string]int64{}
		for range 60 * len(keys) {
			key := keys[r.IntN(len(keys))]
			var d Decision
			tk := c.Take(mono, lim, key, &d)
			if tk != nil {
				c.Settle(mono, tk, &d)
			}
			if d.Admitted {
				admitted[key]++
			}
		}
		for _, key := range keys {
			if got, want := admitted[key], lim.Rates[0].Max; got != want {
				t.Fatalf("minute %d: %d admissions of %q, want %d", minute, got, key, want)
			}
		}
	}
	remembered := 0
	for i := range c.recents {
		if c.recents[i].is.Load() != nil {
			remembered++
		}
	}
	if remembered < len(places)/2 {
		t.Errorf("%d keys are remembered", remembered)
	}
}

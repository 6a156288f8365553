package escrow

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicegate/sluice/limiter/window"
)

// TestHandOver: what a node holds of windows when it leaves is admitted by the
// others, to the last token.
func TestHandOver(t *testing.T) {
	simulated(t)
	sliding, _ := window.Sliding(600)
	for _, c := range []struct {
		name  string
		rate  Rate
		first int // asked of the node that will leave
	}{
		{"5 a minute", Rate{Period: window.Minute, Max: 5}, 1},
		{"5 a minute, nothing left there", Rate{Period: window.Minute, Max: 5}, 3},
		{"90 a minute", Rate{Period: window.Minute, Max: 90}, 10},
		{"6,000 a minute", Rate{Period: window.Minute, Max: 6000}, 100},
		{"1,000 an hour", Rate{Period: window.Hour, Max: 1000}, 60},
		{"600 in ten minutes, sliding", Rate{Period: sliding, Max: 600}, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Date(2026, 6, 15, 11, 58, 55, 0, time.UTC)
			lim := &Limit{ID: "l", Version: 1, Rates: []Rate{c.rate}}
			w := newWorld(11, begin, 3, faults{}, []*Limit{lim})
			key := ""
			for i := 0; ; i++ { // one of which the third node has the larger share, if there are two
				key = fmt.Sprint("key", i)
				if w.nodes[0].core.key(lim, key).Lo%3 == 1 {
					break
				}
			}
			w.oracle.knows(w.nodes[0].core.key(lim, key), lim.ID)
			got := 0
			ask := func(node, times int) {
				for i := range times {
					w.after(int64(i)*5*millisecond, func() {
						w.nodes[node].take(lim, key, func(d Decision) {
							if d.Admitted {
								got++
							}
						})
					})
				}
				if err := w.run(int64(times)*5*millisecond + 300*millisecond); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.run(12 * second); err != nil { // into the second minute
				t.Fatal(err)
			}
			ask(2, c.first)
			if got != c.first {
				t.Fatalf("%d of %d admitted before", got, c.first)
			}
			at, ended := c.rate.Period.At(w.now), false
			w.nodes[2].leave(func() { ended = true })
			if err := w.run(second); err != nil {
				t.Fatal(err)
			}
			if !ended {
				t.Fatal("it has not left")
			}
			for i := 0; i < 40 && got < int(c.rate.Max); i++ {
				ask(i%2, int(c.rate.Max)/10+3)
			}
			if now := c.rate.Period.At(w.now); now != at && !c.rate.Period.IsSliding() {
				t.Fatal("the window is over")
			}
			if got != int(c.rate.Max) {
				t.Errorf("%d of %d admitted", got, c.rate.Max)
			}
		})
	}
}

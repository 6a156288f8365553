package check

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

const ms = second / 1000

// limited forges a run whose first limit is of one window.
func limited(t *testing.T, w book.Window) *forged {
	f := forge(t)
	f.run.Limits[0].Terms[0].Windows[0] = w
	return f
}

// change forges that the first limit was changed at a time.
func (f *forged) change(after int64, w book.Window) {
	l := f.run.Limits[0]
	l.Terms = append(l.Terms, book.Terms{Asked: at(after), Confirmed: at(after + 100*ms), Windows: []book.Window{w}})
}

// over forges the end of a request in flight.
func (f *forged) over(node string, limit, key int, after int64) *audit.Record {
	r := f.admit(node, limit, key, after)
	r.Tokens = -1
	return r
}

// TestSliding: a sliding window is every span of its length.
func TestSliding(t *testing.T) {
	f := limited(t, book.Window{Unit: book.Sliding, Length: 10, Max: 3})
	for _, at := range []int64{0, 4 * second, 9 * second, 10*second + 200, 14*second + 200, 19*second + 200} {
		f.admit("node1", 0, 0, at)
	}
	f.write()
	f.check(0, "")
	f.admit("node2", 0, 0, 13*second).Hi = base + 13*second // with 4, 9 and 10.2
	f.write()
	f.check(1, "4 admitted of 3 in the sliding window of 10 s")
	f.records["node2"][0].Hi = base + 24*second // it may have been as late as that
	f.write()
	if r := f.check(0, ""); r.Groups[1].Admissions != 7 || r.Groups[0].Admissions != 0 {
		t.Errorf("%+v", r.Groups)
	}
}

// TestSlidingSpans: the checker finds as many as somebody who counts every span.
func TestSlidingSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	broken := 0
	for range 200 {
		f := limited(t, book.Window{Unit: book.Sliding, Length: 1, Max: 1 + r.Int64N(4)})
		var lo, hi []int64
		for range 3 + r.IntN(12) {
			a := f.admit(fmt.Sprintf("node%d", 1+r.IntN(2)), 0, 0, r.Int64N(3*second))
			a.Hi = a.Lo + r.Int64N(second/5)
			lo, hi = append(lo, a.Lo), append(hi, a.Hi)
		}
		most := int64(0)
		for _, from := range lo {
			n := int64(0)
			for i := range lo {
				if from <= lo[i] && hi[i] < from+second {
					n++
				}
			}
			most = max(most, n)
		}
		c := newCounter(f.run, nil)
		for node, records := range f.records {
			for i := range records {
				c.record(&process{node: node}, &records[i])
			}
		}
		over := make([]int, 2)
		for b := range c.spent {
			c.slide(b, over)
		}
		if want := most > f.run.Limits[0].Terms[0].Windows[0].Max; want != (over[0] > 0) {
			t.Errorf("%d admitted in a second of %+v: %q", most, f.run.Limits[0].Terms[0].Windows[0], c.result.Told)
		} else if want {
			broken++
		}
	}
	if broken == 0 || broken == 200 {
		t.Errorf("%d of 200 are broken", broken)
	}
}

// TestSlidingUnaware: a node to which something was done may decide by terms that
// others have replaced.
func TestSlidingUnaware(t *testing.T) {
	f := limited(t, book.Window{Unit: book.Sliding, Length: 1, Max: 2})
	f.change(0, book.Window{Unit: book.Sliding, Length: 1, Max: 1})
	f.admit("node1", 0, 0, 20*second)
	f.admit("node2", 0, 0, 20*second).Max = 1
	f.write()
	f.check(1, "2 admitted of 1")
	f.faults = fmt.Sprintf(`{"From":%d,"To":%d,"Kind":"stop"}`+"\n", at(16*second), at(18*second))
	f.write()
	f.check(0, "")
}

// TestBucket: no span has more than the burst and what comes back in it.
func TestBucket(t *testing.T) {
	drip := book.Window{Unit: book.Bucket, Length: 10, Max: 5, Burst: 3} // one in two seconds
	legal := func() *forged {
		f := limited(t, drip)
		for i, at := range []int64{0, 10, 20, 2 * second, 4 * second, 14 * second, 14*second + 10, 14*second + 20, 16 * second} {
			f.admit(fmt.Sprintf("node%d", i%2+1), 0, 0, at)
		}
		f.admit("node1", 0, 1, second) // another key's
		return f
	}
	f := legal()
	f.write()
	if r := f.check(0, ""); r.Groups[2].Admissions != 10 {
		t.Errorf("%+v", r.Groups)
	}
	for _, at := range []int64{30, second, 3 * second, 15 * second, 14 * second, 17 * second} {
		f := legal()
		f.admit("node2", 0, 0, at)
		f.write()
		if r := f.check(1, "more than a burst of 3 and what comes back of the bucket of 10 s"); r.Groups[2].Violations != 1 || r.Usages[0].Over != 1 {
			t.Errorf("%+v", r)
		}
	}
	f = legal()
	f.admit("node2", 0, 0, 17*second).Hi = base + 18*second // it may have been as late as that
	f.write()
	f.check(0, "")
	f.records["node2"][len(f.records["node2"])-1].Hi -= 200
	f.write()
	f.check(1, "")
}

// TestBucketNested: of two admissions neither of which has a time of its own for sure,
// one has none left.
func TestBucketNested(t *testing.T) {
	f := limited(t, book.Window{Unit: book.Bucket, Length: 10, Max: 5, Burst: 1})
	f.admit("node1", 0, 0, 2*second)
	r := f.admit("node2", 0, 0, second)
	r.Hi = base + 3*second
	f.write()
	f.check(1, "")
	r.Hi += 2 * second
	f.write()
	f.check(0, "")
}

// TestBucketTerms: while two versions are in use what comes back adds up, and the
// larger burst counts; then the newer version does.
func TestBucketTerms(t *testing.T) {
	fast := book.Window{Unit: book.Bucket, Length: 1, Max: 10, Burst: 2}
	slow := book.Window{Unit: book.Bucket, Length: 1, Max: 5, Burst: 1}
	forgeAt := func(from, every int64, n int) *forged {
		f := limited(t, fast)
		f.change(10*second, slow)
		for i := range int64(n) {
			r := f.admit("node1", 0, 0, from+i*every)
			if from > 10*second {
				r.Max, r.Burst = slow.Max, uint32(slow.Burst)
			}
		}
		f.write()
		return f
	}
	forgeAt(10*second, second/15, 30).check(0, "") // 15 a second, for two seconds
	forgeAt(10*second, second/18, 11).check(1, "burst of 2")
	forgeAt(2*second, second/15, 5).check(1, "burst of 2") // only the first version was there
	forgeAt(2*second, second/10, 30).check(0, "")
	forgeAt(20*second, second/10, 3).check(1, "burst of 1") // only the second one
	forgeAt(20*second, second/5, 10).check(0, "")

	// The larger burst is over with its version, what comes back or not.
	f := forgeAt(20*second, second/5, 10)
	r := f.admit("node2", 0, 0, 20*second)
	r.Max, r.Burst = fast.Max, uint32(fast.Burst)
	f.write()
	f.check(1, "burst of 1")
	f.faults = fmt.Sprintf(`{"From":%d,"To":%d,"Kind":"stop"}`+"\n", at(16*second), at(18*second))
	f.write()
	f.check(0, "") // node2 did not know
}

// TestBucketClocks: where nodes contradict each other about the time, admissions may
// have been at any of those times.
func TestBucketClocks(t *testing.T) {
	f := limited(t, book.Window{Unit: book.Bucket, Length: 1, Max: 10, Burst: 1})
	f.admit("node1", 0, 0, second)
	r := f.admit("node2", 0, 0, second+80*ms)
	f.write()
	f.check(1, "burst of 1")
	r.Lo, r.Hi = r.Lo-30*ms, r.Hi-30*ms // as node1 knew it, it was later
	f.write()
	f.check(0, "")
}

// TestInFlight: a request counts from its beginning to its end.
func TestInFlight(t *testing.T) {
	legal := func() *forged {
		f := limited(t, book.Window{Unit: book.InFlight, Max: 2})
		f.admit("node1", 0, 0, 0)
		f.admit("node2", 0, 0, 0)
		f.over("node1", 0, 0, second)
		f.admit("node2", 0, 0, second+1)
		f.over("node2", 0, 0, 3*second/2)
		f.over("node2", 0, 0, 2*second)
		f.answer("node1", 0, 0, 0, 200)
		return f
	}
	f := legal()
	f.write()
	if r := f.check(0, ""); r.Groups[3].Admissions != 3 || r.Unheard != 2 {
		t.Errorf("%+v", r)
	}
	f = legal()
	f.admit("node1", 0, 0, second-10*ms)
	f.over("node1", 0, 0, second-5*ms)
	f.write()
	f.check(1, "3 of 2 in-flight")
	f = legal()
	f.admit("node1", 0, 0, second-10*ms)
	f.over("node1", 0, 0, second-9*ms) // clocks are not as exact as that
	f.write()
	f.check(0, "")
	f = legal()
	f.over("node1", 0, 0, 3*second)
	f.write()
	f.check(1, "a request is over that never was in flight")
	f = limited(t, book.Window{Unit: "minute", Max: 5})
	f.over("node1", 0, 0, second)
	f.write()
	f.check(1, "-1 of a minute")
}

// TestInFlightDeath: what a process had in flight that died counts until it did, and
// what one had that was stopped for long counts for some time only.
func TestInFlightDeath(t *testing.T) {
	for _, tt := range []struct {
		last, next int64 // when node1 does something for the last time, and node2 admits
		over       int64 // when node1's request is over, 0 if it died
		count      int
	}{
		{second, 900 * ms, 0, 1},
		{second, 1100 * ms, 0, 0},
		{4 * second, 2 * second, 4 * second, 1},
		{9 * second, 6 * second, 9 * second, 0},
	} {
		f := limited(t, book.Window{Unit: book.InFlight, Max: 1})
		f.admit("node1", 0, 0, 0)
		if tt.over > 0 {
			f.over("node1", 0, 0, tt.over)
		}
		f.admit("node1", 1, 0, tt.last)
		f.admit("node2", 0, 0, tt.next)
		f.over("node2", 0, 0, tt.next+50*ms)
		f.write()
		f.check(tt.count, "2 of 1 in-flight")
	}
}

// TestInFlightTerms: a smaller limit does not end what is in flight.
func TestInFlightTerms(t *testing.T) {
	f := limited(t, book.Window{Unit: book.InFlight, Max: 2})
	f.change(0, book.Window{Unit: book.InFlight, Max: 1})
	for _, from := range []int64{second, 5 * second} {
		for range 2 {
			r := f.admit("node1", 0, 0, from)
			f.over("node1", 0, 0, from+200*ms).Max = 1
			r.Max = 1
		}
	}
	f.write()
	f.check(1, "2 of 1 in-flight at "+fmt.Sprint(at(5*second)+flightSlack))
}

// TestLocalLost: a node that counts by itself begins anew after its cells were lost,
// and only then; what is in flight it has no more of in any case.
func TestLocalLost(t *testing.T) {
	for _, w := range []book.Window{{Unit: "minute", Max: 1}, {Unit: book.Sliding, Length: 30, Max: 1}, {Unit: book.Bucket, Length: 30, Max: 1, Burst: 1}, {Unit: book.InFlight, Max: 1}} {
		f := limited(t, w)
		f.run.Limits[0].Local = true
		f.admit("node2", 0, 0, second)
		first := *f.admit("node1", 0, 0, second)
		second2 := *f.admit("node1", 0, 0, 5*second)
		delete(f.records, "node1")
		f.write()
		f.process("a", "node1", 7, 0, []audit.Record{first})
		f.process("b", "node1", 8, 4*second, []audit.Record{second2})
		want := 1
		if w.Unit == book.InFlight {
			want = 0
		}
		f.check(want, "on node1")
		f.put(f.dir+"/"+book.FaultsFile, fmt.Appendf(nil, `{"From":%d,"To":%d,"Nodes":["node1"],"Lost":%d}`+"\n", at(2*second), at(3*second), at(2*second)))
		if r := f.check(0, ""); r.Groups[4].Admissions != 3 {
			t.Errorf("%+v", r.Groups)
		}
	}
}

// TestUsage: what is used of each sort where there was demand.
func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		w     book.Window
		group int
	}{
		{book.Window{Unit: book.Sliding, Length: 2, Max: 4}, 1},
		{book.Window{Unit: book.Bucket, Length: 2, Max: 4, Burst: 1}, 2},
		{book.Window{Unit: book.InFlight, Max: 2}, 3},
	} {
		f := limited(t, tt.w)
		f.run.Limits[0].Hold = second
		for i := range int64(40) { // four asked, two admitted a second
			for j := range int64(2) {
				f.answer("node1", 0, 0, i*second/2+j*second/4+50*ms, 429)
			}
			f.admit("node1", 0, 0, i*second/2+50*ms)
			if tt.w.Unit == book.InFlight {
				f.over("node1", 0, 0, i*second/2+50*ms+second/4)
			}
		}
		f.write()
		r := f.check(0, "")
		// Of a second in flight, a quarter was: the ideal limiter has two all the time.
		want := map[int]float64{1: 1, 2: 1, 3: 0.25}[tt.group]
		if g := r.Groups[tt.group]; g.All.Windows < 5 || g.All.Of() < want-0.01 || g.All.Of() > want+0.01 {
			t.Errorf("%s: %+v", tt.w, g)
		}
		var text strings.Builder
		if err := WriteGroups(&text, Merge(Merge(nil, r.Groups), r.Groups)); err != nil || !strings.Contains(text.String(), "80") {
			t.Errorf("%v\n%s", err, text.String())
		}
	}
}

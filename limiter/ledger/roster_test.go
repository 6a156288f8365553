package ledger

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/limiter/window"
)

func division(n int, whole bool) Division {
	d := Division{Whole: whole}
	for i := range n {
		d.Members = append(d.Members, Member{Node: fmt.Sprintf("n%02d", i), Incarnation: uint64(i)})
	}
	return d
}

// TestSharesAddUp: whatever the limit, nothing of it is given twice and nothing
// is left out; and nobody's part falls when the limit rises.
func TestSharesAddUp(t *testing.T) {
	limits := make([]int64, 0, 2100)
	for i := range int64(2001) {
		limits = append(limits, i)
	}
	limits = append(limits, 3839, 3840, 3841, 99_999, 100_000, 1<<31, 1<<31+1, MaxTokens-1, MaxTokens)
	for n := range 13 {
		for _, whole := range []bool{false, true} {
			for _, p := range []window.Period{window.Second, window.Minute, window.Hour, window.Year} {
				checkShares(t, division(n, whole), Budget{Key: Key{Lo: uint64(7 * n)}, Period: p}, limits)
				checkShares(t, division(n, whole), Budget{Key: Key{Lo: 1<<64 - 2}, Period: p}, limits)
			}
		}
	}
}

func checkShares(t *testing.T, d Division, b Budget, limits []int64) {
	t.Helper()
	before, poolBefore := make([]int64, len(d.Members)), int64(0)
	for _, limit := range limits {
		births, pool := d.Births(b.Period, limit), d.Pool(b.Period, limit)
		if births < 0 || pool < poolBefore || births+pool != limit {
			t.Fatalf("%d members, %s, limit %d: births %d, pool %d after %d", len(d.Members), b.Period, limit, births, pool, poolBefore)
		}
		sum := int64(0)
		for i, m := range d.Members {
			share := d.Share(m, b, limit)
			if share < before[i] {
				t.Fatalf("%d members, %s, limit %d: the share of %s falls from %d to %d", len(d.Members), b.Period, limit, m.Node, before[i], share)
			}
			before[i], sum = share, sum+share
		}
		if sum != births {
			t.Fatalf("%d members, %s, limit %d: shares of %d in all, births %d", len(d.Members), b.Period, limit, sum, births)
		}
		poolBefore = pool
	}
}

func TestStrangersHaveNoShare(t *testing.T) {
	d := division(3, true)
	for _, m := range []Member{{Node: "n01", Incarnation: 9}, {Node: "n9"}} {
		if s := d.Share(m, Budget{}, 100); s != 0 {
			t.Errorf("%v has %d", m, s)
		}
	}
}

// sharesOf tells of a window all that a node or the ledger may do about it.
func sharesOf(r *Rosters, p window.Period, start int64, members []Member) string {
	d := r.Of(start * Second)
	s := ""
	for _, limit := range []int64{5, 1000} {
		s += fmt.Sprint(" pool ", d.Pool(p, limit))
		for _, m := range members {
			s += fmt.Sprint(" ", d.Share(m, Budget{Key: Key{Lo: 1}, Period: p, Start: start}, limit))
		}
	}
	return s
}

// TestOfIsFinal: once an entry is fresh for a window, no later change, gap or
// forgetting alters who has what of it, until it is over.
func TestOfIsFinal(t *testing.T) {
	type id struct {
		p     window.Period
		start int64
	}
	var members []Member
	for i := range 3 {
		members = append(members, Member{fmt.Sprint("n", i), 1}, Member{fmt.Sprint("n", i), 2}, Member{fmt.Sprint("n", i), 3})
	}
	rapid.Check(t, func(t *rapid.T) {
		l := New()
		now := (noon - rapid.Int64Range(0, 200).Draw(t, "before")) * Second
		known := map[id]string{}
		for range rapid.IntRange(1, 60).Draw(t, "entries") {
			now += rapid.OneOf(
				rapid.Int64Range(0, Second), rapid.Int64Range(0, 8*Second),
				rapid.SampledFrom([]int64{Delay, Delay + 1, 100 * Second, 5000 * Second}),
			).Draw(t, "step")
			e := &Entry{Stamp: now}
			if rapid.Bool().Draw(t, "change") {
				k := ChangeKind(rapid.IntRange(1, 3).Draw(t, "kind"))
				e.Changes = []Change{{k, rapid.SampledFrom(members).Draw(t, "member")}}
			}
			stamp := l.Apply(e).Stamp
			for p := range window.Period(window.Periods) {
				// The first window is the oldest that is not over for 50 seconds.
				for at := p.At(stamp - 50*Second); Fresh(stamp, at.From); at = p.At(at.Until) {
					start := at.Start
					w := id{p, start}
					got := sharesOf(l.Rosters(), p, start, members)
					if was, ok := known[w]; ok && was != got {
						t.Fatalf("at %d, %s %d was divided%s, and is now%s", stamp, p, start, was, got)
					}
					known[w] = got
				}
			}
			for w := range known {
				if at, _ := w.p.Named(w.start); at.Until < stamp-50*Second {
					delete(known, w)
				}
			}
		}
	})
}

// TestRostersAreBounded: many changes and gaps are soon forgotten, but for the
// gap in which the year began.
func TestRostersAreBounded(t *testing.T) {
	newYear := int64(1767225600) // 2026-01-01
	l := New()
	now := (newYear - 5) * Second
	l.Apply(&Entry{Stamp: now, Changes: []Change{{Join, Member{"n", 1}}}})
	now += 10 * Second
	l.Apply(&Entry{Stamp: now})
	for i := range uint64(5000) {
		now += 50 * Millisecond
		if i%10 == 0 {
			now += 4 * Second
		}
		l.Apply(&Entry{Stamp: now, Changes: []Change{{Join, Member{"m", i}}}})
	}
	r := l.Rosters()
	if len(r.History) > 123 || len(r.Gaps) > 50 {
		t.Errorf("%d rosters and %d gaps", len(r.History), len(r.Gaps))
	}
	for _, days := range []int64{0, 3, 100, 364} {
		l.Apply(&Entry{Stamp: now + days*86400*Second})
		want := Division{Members: []Member{{"n", 1}}, Whole: true}
		if d := cmp.Diff(want, l.Rosters().Of(newYear*Second)); d != "" {
			t.Errorf("after %d days the year's division was forgotten: %s", days, d)
		}
	}
	if l.Apply(&Entry{Stamp: now + 367*86400*Second}); len(l.Rosters().Gaps) != 1 {
		t.Errorf("%d gaps after the year", len(l.Rosters().Gaps))
	}
}

func TestLast(t *testing.T) {
	l := New()
	if d := l.Rosters().Last(); !d.Whole || len(d.Members) > 0 {
		t.Errorf("of a new ledger: %+v", d)
	}
	l.Apply(&Entry{Stamp: noon * Second, Changes: []Change{{Join, Member{"b", 2}}, {Join, Member{"a", 1}}}})
	want := Division{Members: []Member{{"a", 1}, {"b", 2}}, Whole: true}
	if d := cmp.Diff(want, l.Rosters().Last()); d != "" {
		t.Error(d)
	}
}

// TestRest: a silence that was announced is no gap, one that was not is.
func TestRest(t *testing.T) {
	l := New()
	l.Apply(&Entry{Stamp: noon * Second, Changes: []Change{{Join, Member{"a", 1}}}})
	for i, c := range []struct {
		rest bool
		gaps int // after an hour
	}{{true, 0}, {false, 1}, {true, 1}} {
		l.Apply(&Entry{Stamp: l.Stamp() + Second, Rest: c.rest})
		o := l.Apply(&Entry{Stamp: l.Stamp() + 3600*Second})
		if n := len(l.Rosters().Gaps); n != c.gaps {
			t.Errorf("silence %d: %d gaps, want %d", i, n, c.gaps)
		}
		if !Fresh(o.Stamp, o.Stamp) {
			t.Error("not fresh")
		}
	}
}

package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/limiter/window"
)

// TestOverflow: keys that find no room share a budget till the window ends,
// each under its own limit.
func TestOverflow(t *testing.T) {
	l := joined(3)
	l.maxOwn = 1
	minute := hour(3, 10, 4)
	minute.Budget.Period = window.Second // ends soon
	for i, c := range []struct {
		ask  Ask
		want Grant
	}{
		{minute, Grant{Pool: 0}}, // has the only room
		{hour(1, 100, 25), Grant{Granted: 25, Pool: 75}},
		{hour(1+buckets, 100, 18), Grant{Granted: 18, Pool: 57}}, // the same bucket
		{hour(1, 50, 99), Grant{Granted: 1, Pool: 6}},            // of another limit
		{hour(1+buckets, 20, 99), Grant{Pool: -24}},
		{hour(2, 20, 5), Grant{Granted: 5, Pool: 15}}, // another bucket
	} {
		g := send(l, batch("n1", 1, uint64(i+1), c.ask)).Grants[0]
		if d := cmp.Diff(c.want, g); d != "" {
			t.Fatalf("step %d: %s", i, d)
		}
	}
	if l.Len() != 3 {
		t.Errorf("%d budgets", l.Len())
	}
	l.Apply(&Entry{Stamp: (noon + 60) * Second})
	if l.Len() != 2 || l.own != 0 {
		t.Errorf("%d budgets, %d own", l.Len(), l.own)
	}
	// There is room again, but not for those who share.
	g := send(l, batch("n1", 1, 7, hour(2, 20, 0))).Grants[0]
	if d := cmp.Diff(Grant{Pool: 15}, g); d != "" {
		t.Error(d)
	}
	if _, limit, ok := l.Pool(hour(2, 0, 0).Budget); !ok || limit.Max != 20 {
		t.Errorf("limit %+v, %v", limit, ok)
	}
}

// TestOverflowIsStrict: keys of several limits that change share two budgets.
// Honest nodes spend what was theirs from the start and what they are granted,
// and return some: no key ever has more than the highest of its limits.
func TestOverflowIsStrict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := joined(rapid.IntRange(0, 3).Draw(t, "members") + 1)
		l.maxOwn = rapid.IntRange(0, 2).Draw(t, "room")
		type state struct {
			limit            Limit
			most, cell, gone int64
		}
		keys := map[Budget]*state{}
		for i := range rapid.IntRange(1, 60).Draw(t, "asks") {
			b := Budget{
				Key:    Key{Hi: rapid.Uint64Range(0, 2).Draw(t, "hi"), Lo: rapid.Uint64Range(0, 1).Draw(t, "lo")},
				Period: rapid.SampledFrom([]window.Period{window.Minute, window.Hour}).Draw(t, "period"), Start: noon,
			}
			s, births := keys[b], func(limit int64) int64 { return l.Rosters().Of(noon*Second).Births(b.Period, limit) }
			if s == nil {
				s = &state{}
				keys[b] = s
			}
			if s.limit.Version == 0 || rapid.IntRange(0, 4).Draw(t, "change") == 0 {
				limit := rapid.Int64Range(0, 600).Draw(t, "max")
				s.cell += births(limit) - births(s.limit.Max)
				s.limit = Limit{Version: s.limit.Version + 1, Max: limit}
				s.most = max(s.most, limit)
			}
			spend := rapid.Int64Range(0, max(0, s.cell)).Draw(t, "spend")
			s.cell, s.gone = s.cell-spend, s.gone+spend
			back := rapid.Int64Range(0, max(0, s.cell)).Draw(t, "back")
			s.cell -= back
			want := rapid.Int64Range(0, 600).Draw(t, "want")
			g := send(l, batch("n1", 1, uint64(i+1), Ask{
				Budget: b, Limit: s.limit, Want: want, Waiting: want / 2, Return: back,
			})).Grants[0]
			s.cell += g.Granted
			if s.gone+s.cell > s.most {
				t.Fatalf("%v: %d spent and %d to spend of %d", b, s.gone, s.cell, s.most)
			}
		}
	})
}

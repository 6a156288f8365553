package ledger

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/limiter/window"
)

// joined returns a ledger at noon whose roster, of n1 to nN in incarnation 1,
// counts for all windows of this minute.
func joined(n int) *Ledger {
	l := New()
	e := &Entry{Stamp: (noon - 10) * Second}
	for i := range n {
		e.Changes = append(e.Changes, Change{Join, Member{fmt.Sprint("n", i+1), 1}})
	}
	l.Apply(e)
	for s := noon - 9; s <= noon; s++ { // no gap
		l.Apply(&Entry{Stamp: s * Second})
	}
	return l
}

func batch(node string, session, seq uint64, asks ...Ask) Batch {
	return Batch{Member: Member{node, 1}, Session: session, Seq: seq, Asks: asks}
}

// send applies one batch and nothing else.
func send(l *Ledger, b Batch) Answer { return l.Apply(&Entry{Batches: []Batch{b}}).Answers[0] }

func hour(key uint64, limit, want int64) Ask {
	return Ask{
		Budget: Budget{Key: Key{Lo: key}, Period: window.Hour, Start: noon},
		Limit:  Limit{Version: 1, Max: limit}, Want: want,
	}
}

// TestGrants: what is waited for is granted in full, what is asked for in
// advance shrinks with the pool, and the last tokens go one by one.
func TestGrants(t *testing.T) {
	l := joined(3)
	for i, c := range []struct {
		want, waiting, back int64
		granted, pool       int64
	}{
		{want: 100, granted: 25, pool: 75},
		{want: 100, granted: 18, pool: 57},
		{want: 40, waiting: 30, granted: 30, pool: 27},
		{want: 2, granted: 2, pool: 25},
		{pool: 25},
		{want: 30, waiting: 24, granted: 24, pool: 1},
		{want: 9, granted: 1, pool: 0},
		{want: 9, waiting: 9, granted: 0, pool: 0},
		{back: 5, pool: 5},
		{want: 8, waiting: 8, back: 1, granted: 6, pool: 0},
		{back: 1000, pool: 100}, // no more than there are
	} {
		k := hour(1, 100, c.want)
		k.Waiting, k.Return = c.waiting, c.back
		a := send(l, batch("n1", 1, uint64(i+1), k))
		if d := cmp.Diff([]Grant{{Granted: c.granted, Pool: c.pool}}, a.Grants); d != "" {
			t.Fatalf("step %d: %s", i, d)
		}
	}
}

// TestSlicesOutOfOrder: asks for slices come as they come, for some are late and some
// nodes' clocks are ahead. No window of slices is ever granted more than the limit.
func TestSlicesOutOfOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := joined(3)
		p, _ := window.Sliding(61)
		now := p.At(noon * Second).Start
		limit := rapid.Int64Range(1, 20).Draw(t, "limit")
		granted := map[int64]int64{}
		for seq := range uint64(30) {
			slice := now + rapid.Int64Range(-2, 2).Draw(t, "slice")
			k := Ask{Budget: Budget{Key: Key{Lo: 1}, Period: p, Start: slice}, Limit: Limit{Version: 1, Max: limit}}
			k.Want = rapid.Int64Range(0, 5).Draw(t, "want")
			k.Waiting = rapid.Int64Range(0, k.Want).Draw(t, "waiting")
			k.Return = rapid.Int64Range(0, granted[slice]).Draw(t, "back")
			g := send(l, batch("n1", 1, seq+1, k)).Grants[0]
			granted[slice] += g.Granted - k.Return
			all := int64(0)
			for _, n := range granted { // all of these are within one window
				all += n
			}
			if g.Refused == NotRefused && all > limit {
				t.Fatalf("%d granted of %d: %v", all, limit, granted)
			}
		}
	})
}

// TestNewVersion: raised and lowered limits move the pool by their difference,
// and an older version nothing.
func TestNewVersion(t *testing.T) {
	l := joined(3)
	for i, c := range []struct {
		version            uint64
		max, granted, pool int64
	}{
		{5, 100, 10, 90}, {6, 200, 10, 180}, {4, 9, 10, 170}, {7, 20, 0, -10}, {7, 500, 0, -10}, {8, 40, 10, 0},
	} {
		k := hour(1, c.max, 10)
		k.Waiting, k.Limit.Version = 10, c.version
		a := send(l, batch("n1", 1, uint64(i+1), k))
		if d := cmp.Diff([]Grant{{Granted: c.granted, Pool: c.pool}}, a.Grants); d != "" {
			t.Fatalf("step %d: %s", i, d)
		}
	}
}

// TestBirthsAreNotInThePool: the ledger grants only what the nodes do not have
// beforehand.
func TestBirthsAreNotInThePool(t *testing.T) {
	for _, c := range []struct {
		members   int
		period    window.Period
		max, pool int64
	}{
		{0, window.Second, 50, 50}, {3, window.Second, 5000, 0},
		{0, window.Minute, 50, 50}, {3, window.Minute, 50, 0}, {3, window.Minute, 96, 0},
		{3, window.Minute, 500, 404}, {3, window.Minute, 10_000, 9000}, {3, window.Year, 50, 50},
	} {
		l := joined(c.members)
		l.Apply(&Entry{Changes: []Change{{Join, Member{"late", 1}}}}) // its shares do not count yet
		start := c.period.At(noon * Second).Start
		k := Ask{Budget: Budget{Period: c.period, Start: start}, Limit: Limit{Version: 1, Max: c.max}}
		a := send(l, batch("late", 1, 1, k))
		if d := cmp.Diff([]Grant{{Pool: c.pool}}, a.Grants); d != "" {
			t.Errorf("%d members, %d a %s: %s", c.members, c.max, c.period, d)
		}
		if l.Len() != 0 {
			t.Error("a question made a budget")
		}
	}
}

func TestRefusals(t *testing.T) {
	minute := func(start int64) func(*Ask) {
		return func(k *Ask) { k.Budget.Period, k.Budget.Start = window.Minute, start }
	}
	second := func(start int64) func(*Ask) {
		return func(k *Ask) { k.Budget.Period, k.Budget.Start = window.Second, start }
	}
	for name, c := range map[string]struct {
		spoil func(*Ask)
		why   Refusal
	}{
		"good":             {func(*Ask) {}, NotRefused},
		"nothing allowed":  {func(k *Ask) { k.Limit.Max = 0 }, NotRefused},
		"largest":          {func(k *Ask) { k.Limit.Max, k.Want, k.Return = MaxTokens, MaxTokens, MaxTokens }, NotRefused},
		"period":           {func(k *Ask) { k.Budget.Period = window.Periods }, Malformed},
		"not a start":      {func(k *Ask) { k.Budget.Start++ }, Malformed},
		"negative start":   {func(k *Ask) { k.Budget.Start = -3600 }, Malformed},
		"huge start":       {func(k *Ask) { k.Budget.Start = math.MaxInt64 / 3600 * 3600 }, Malformed},
		"version":          {func(k *Ask) { k.Limit.Version = 0 }, Malformed},
		"negative max":     {func(k *Ask) { k.Limit.Max = -1 }, Malformed},
		"huge max":         {func(k *Ask) { k.Limit.Max = MaxTokens + 1 }, Malformed},
		"negative want":    {func(k *Ask) { k.Want = -1 }, Malformed},
		"huge want":        {func(k *Ask) { k.Want = math.MaxInt64 }, Malformed},
		"negative waiting": {func(k *Ask) { k.Waiting = math.MinInt64 }, Malformed},
		"waiting":          {func(k *Ask) { k.Waiting = k.Want + 1 }, Malformed},
		"negative return":  {func(k *Ask) { k.Return = -1 }, Malformed},
		"huge return":      {func(k *Ask) { k.Return = MaxTokens + 1 }, Malformed},
		"next minute":      {minute(noon + 60), Early},
		"soon":             {second(noon + 4), Early},
		"decided":          {second(noon + 3), NotRefused},
		"just over":        {minute(noon - 60), NotRefused},
		"late":             {second(noon - 4), Expired},
		"not yet late":     {second(noon - 3), NotRefused},
		"long over":        {minute(noon - 120), Expired},
	} {
		l := joined(1)
		k := hour(1, 10, 2)
		c.spoil(&k)
		g := send(l, batch("n1", 1, 1, k)).Grants[0]
		if g.Refused != c.why || c.why != NotRefused && (g != Grant{Refused: c.why} || l.Len() != 0) {
			t.Errorf("%s: %+v, %d budgets", name, g, l.Len())
		}
	}
}

func TestStampIsBounded(t *testing.T) {
	l := New()
	if l.Apply(&Entry{Stamp: -5}).Stamp != 1 {
		t.Errorf("the first stamp is %d", l.Stamp())
	}
	l.Apply(&Entry{Stamp: math.MaxInt64})
	if s := l.Apply(&Entry{}).Stamp; s != window.MaxUnix*Second {
		t.Errorf("stamp %d", s)
	}
}

func TestTooManyAsks(t *testing.T) {
	l := joined(1)
	if a := send(l, batch("n1", 1, 1, make([]Ask, MaxAsks+1)...)); !a.Stale || len(a.Grants) != 0 {
		t.Errorf("%+v", a)
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	l := joined(1)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 50 {
				l.Pool(hour(1, 1, 1).Budget)
				l.Rosters().Of(noon * Second)
				l.Len()
				b, _ := l.MarshalBinary()
				if err := New().UnmarshalBinary(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range uint64(200) {
		l.Apply(&Entry{
			Batches: []Batch{batch("n1", 1, i+1, hour(i, 10, 1))},
			Changes: []Change{{Join, Member{"n2", i / 10}}},
		})
	}
	wg.Wait()
}

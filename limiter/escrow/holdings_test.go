package escrow

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// spend takes n times for a key.
func spend(c *Core, mono int64, lim *Limit, key string, n int) {
	for range n {
		var d Decision
		if tk := c.Take(mono, lim, key, &d); tk != nil {
			c.Settle(mono, tk, &d)
		}
	}
}

// TestKeyTags: the keys of a limit have its tag and nothing else in common, and are
// spread over the shards and the ranks of nodes as if they had none.
func TestKeyTags(t *testing.T) {
	c, _ := lone(1)
	const n = 1 << 16
	shards, ranks, seen := [cells.Shards]int{}, [3]int{}, map[ledger.Key]bool{}
	for i := range n {
		k := c.Key("limit", fmt.Sprint(i))
		if uint32(k.Hi>>32) != c.Tag("limit") {
			t.Fatalf("%x has not the tag %x", k, c.Tag("limit"))
		}
		shards[cells.Shard(cells.Key(k))]++
		ranks[k.Lo%3]++
		seen[k] = true
	}
	// Six standard deviations.
	for i, got := range shards {
		if got < n/64-190 || got > n/64+190 {
			t.Errorf("%d keys in shard %d of %d on average", got, i, n/64)
		}
	}
	for i, got := range ranks {
		if got < n/3-730 || got > n/3+730 {
			t.Errorf("%d keys begin with node %d of %d on average", got, i, n/3)
		}
	}
	if len(seen) != n {
		t.Errorf("%d keys are %d", n, len(seen))
	}
	other := New(Config{Secret: NewSecret("another"), Table: cells.InMemory(1), Kick: func() {}})
	if c.Tag("limit") == c.Tag("another") || c.Tag("limit") == other.Tag("limit") {
		t.Error("tags do not depend on the limit and the secret")
	}
	prepared := perPeriod(window.Minute, 1)
	if c.key(prepared, "x") != c.Key(prepared.ID, "x") {
		t.Error("a prepared limit has other keys")
	}
}

// TestHoldings: what a node holds is listed in pages, by limit, key and window.
func TestHoldings(t *testing.T) {
	c, mono := lone(1 << 12)
	a := perPeriod(window.Minute, 20)
	b := &Limit{ID: "b", Version: 3, Rates: []Rate{{Period: window.Minute, Max: 7}, {Period: window.Hour, Max: 100}}}
	b.Prepare()
	for i := range 300 {
		spend(c, mono, a, fmt.Sprint(i), 2)
	}
	spend(c, mono, b, "7", 7)
	all := []Holding{}
	for q := (Query{Size: 50}); ; q.After = all[len(all)-1].Budget {
		page := c.Holdings(mono, &q).List
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	if len(all) != 302 {
		t.Errorf("%d holdings", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b Holding) int { return Compare(a.Budget, b.Budget) }) {
		t.Error("pages are out of order")
	}
	for name, q := range map[string]struct {
		Query
		want int
	}{
		"a limit":        {Query{Tagged: true, Tag: c.Tag(a.ID)}, 300},
		"another":        {Query{Tagged: true, Tag: c.Tag(b.ID)}, 2},
		"a window of it": {Query{Tagged: true, Tag: c.Tag(b.ID), Windowed: true, Period: window.Hour}, 1},
		"a key":          {Query{Keys: []ledger.Key{c.Key(a.ID, "7"), c.Key(b.ID, "7"), c.Key(b.ID, "8")}}, 3},
		"one page":       {Query{Tagged: true, Tag: c.Tag(a.ID)}, 300},
	} {
		q.Size = MaxHoldings
		if got := c.Holdings(mono, &q.Query).List; len(got) != q.want {
			t.Errorf("%s: %d holdings, want %d", name, len(got), q.want)
		}
	}
	got := c.Holdings(mono, &Query{Size: 9, Keys: []ledger.Key{c.Key(a.ID, "9")}}).List[0]
	want := Holding{Budget: got.Budget, Limit: ledger.Limit{Version: 1, Max: 20}, Credited: 20, Spent: 2, Minted: true}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if named := c.Holdings(mono, &Query{Budgets: []ledger.Budget{got.Budget}}).List; len(named) != 1 || named[0] != got {
		t.Errorf("by name: %+v", named)
	}
	if later := c.Holdings(mono+60*second, &Query{Size: 9, Budgets: []ledger.Budget{got.Budget}}).List; len(later) != 0 {
		t.Errorf("a window that is over: %+v", later)
	}
}

// TestSlidingHoldings: the slices of a sliding window are one holding, with what
// was spent in all of them and what comes back.
func TestSlidingHoldings(t *testing.T) {
	c, mono := lone(1 << 12)
	p, _ := window.Sliding(60)
	lim := &Limit{ID: "s", Version: 1, Rates: []Rate{{Period: p, Max: 10}}}
	lim.Prepare()
	stamp := c.Stamp()
	holding := func() Holding {
		t.Helper()
		stamp++
		c.Observe(mono, &ledger.Outcome{Stamp: max(stamp, 1_781_524_830*second+mono)})
		list := c.Holdings(mono, &Query{Size: 9}).List
		if len(list) != 1 || list[0].Budget != (ledger.Budget{Key: c.Key("s", "key"), Period: p}) {
			t.Fatalf("%+v", list)
		}
		return list[0]
	}
	spend(c, mono, lim, "key", 3)
	if h := holding(); h.Spent != 3 || h.Credited != 10 || h.Pending != 0 {
		t.Errorf("%+v", h)
	}
	mono += 30 * second
	if h := holding(); h.Spent != 3 || h.Credited != 3 || h.Pending != 7 {
		t.Errorf("before the first request of a slice: %+v", h)
	}
	spend(c, mono, lim, "key", 2)
	if h := holding(); h.Spent != 5 || h.Credited != 10 || h.Pending != 0 {
		t.Errorf("%+v", h)
	}
	mono += 32 * second
	if h := holding(); h.Spent != 2 || h.Pending != 8 {
		t.Errorf("when the first are back: %+v", h)
	}
	mono += 60 * second
	if list := c.Holdings(mono, &Query{Size: 9}).List; len(list) != 0 {
		t.Errorf("when all is back: %+v", list)
	}
}

// TestQueryTooLarge: what the other side would refuse is not sent.
func TestQueryTooLarge(t *testing.T) {
	for name, q := range map[string]Query{
		"size": {Size: MaxHoldings + 1}, "negative": {Size: -1},
		"budgets": {Budgets: make([]ledger.Budget, MaxHoldings+1)}, "keys": {Keys: make([]ledger.Key, maxKeys+1)},
	} {
		if _, err := q.MarshalBinary(); !errors.Is(err, ledger.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTopUp: a node that hears of a top-up takes a window for used up no more, says
// what is left, and sends requests to the pool; who hears of it twice, or of an
// older sum, goes on with the same.
func TestTopUp(t *testing.T) {
	c, mono := lone(64)
	lim := perPeriod(window.Minute, 2)
	spend(c, mono, lim, "key", 5)
	b := ledger.Budget{Key: c.Key(lim.ID, "key"), Period: window.Minute, Start: 1_781_524_800}
	holding := func() Holding { return c.Holdings(mono, &Query{Budgets: []ledger.Budget{b}}).List[0] }
	if h := holding(); !h.Closed || h.Spent != 2 {
		t.Fatalf("used up: %+v", h)
	}
	stamp := c.Stamp()
	for _, added := range []int64{3, 3, 1} {
		stamp++
		c.Observe(mono, &ledger.Outcome{Stamp: stamp, TopUps: []ledger.ToppedUp{{Budget: b, Added: added, Pool: 3}}})
		if h := holding(); h.Closed {
			t.Errorf("after %d: %+v", added, h)
		}
	}
	var d Decision
	tk := c.Take(mono, lim, "key", &d)
	if tk == nil {
		t.Fatalf("%+v", d)
	}
	out := c.Ready(mono, nil)
	if out.Batch == nil || out.Batch.Asks[0].Budget != b || out.Batch.Asks[0].Limit.Max != 2 {
		t.Fatalf("the pool is not asked: %+v", out)
	}
	c.Answered(mono, &ledger.Answer{Member: out.Batch.Member, Session: out.Batch.Session, Seq: out.Batch.Seq, Grants: []ledger.Grant{{Granted: 1, Pool: 2}}})
	c.Settle(mono, tk, &d)
	if !d.Admitted || d.Remaining[0] != 2 {
		t.Errorf("%+v", d)
	}
	// The next window is as any other.
	c.Observe(mono+60*second, &ledger.Outcome{Stamp: stamp + 60*second})
	spend(c, mono+60*second, lim, "key", 5)
	b.Start += 60
	if h := c.Holdings(mono+60*second, &Query{Budgets: []ledger.Budget{b}}).List[0]; h.Spent != 2 || !h.Closed {
		t.Errorf("the next window: %+v", h)
	}
}

// TestTopUpBeforeUse: a node that has counted nothing yet when it hears of a top-up
// knows of it when it does.
func TestTopUpBeforeUse(t *testing.T) {
	c, mono := lone(64)
	lim := perPeriod(window.Minute, 2)
	b := ledger.Budget{Key: c.Key(lim.ID, "key"), Period: window.Minute, Start: 1_781_524_800}
	c.RestoreTopUps(mono, []ledger.ToppedUp{{Budget: b, Added: 3, Pool: 3}})
	var d Decision
	for i := range 2 {
		if c.Take(mono, lim, "key", &d); !d.Admitted || d.Remaining[0] != int64(4-i) {
			t.Errorf("request %d: %+v", i, d)
		}
	}
	if c.Take(mono, lim, "key", &d) == nil {
		t.Errorf("nobody asks the pool: %+v", d)
	}
}

package escrow

import (
	"math/big"
	"testing"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

func TestFlow(t *testing.T) {
	for _, c := range []struct {
		seconds, limit, burst, size int64
		each                        int64 // microseconds
	}{
		{1, 1, 1, 1, 1_000_000},
		{1, 10, 5, 5, 100_000},
		{1, 10, 5, 1, 500_000},
		{60, 5, 5, 2, 30_000_000},
		{1, 1_000_000, 1_000_000, 1_000_000, 1},
		{window.MaxSeconds, 1, 1, 1, window.MaxSeconds * second},
		{window.MaxSeconds, maxSliding, maxSliding, 1, window.MaxSeconds * second},
		{1, 1, 1, 0, 0},
	} {
		p, _ := window.Bucket(c.seconds)
		f := flowOf(p, c.limit, c.burst, c.size)
		if f.each != ticks(c.each) {
			t.Errorf("%+v: %d ticks", c, f.each)
		}
	}
}

// TestFlowNeverFaster: however large the numbers, tokens come back no faster than
// they may, and a bucket is filled within the time that is taken for the longest.
func TestFlowNeverFaster(t *testing.T) {
	large := []int64{1, 2, 3, 7, 1000, 999_983, maxSliding - 1, maxSliding, 1 << 40}
	for _, seconds := range []int64{1, 61, 1<<20 - 1, window.MaxSeconds} {
		p, _ := window.Bucket(seconds)
		for _, max := range large {
			for _, most := range large {
				limit, burst := bucketBounds(p, max, most)
				for _, size := range []int64{1, (burst + 1) / 2, burst} {
					f := flowOf(p, limit, burst, size)
					got := new(big.Int).Mul(big.NewInt(f.each), new(big.Int).Mul(big.NewInt(limit), big.NewInt(size)))
					least := new(big.Int).Mul(big.NewInt(ticks(seconds*second)), big.NewInt(burst))
					if got.Cmp(least) < 0 || f.each <= 0 || f.fill() <= 0 || f.fill() > ticks(maxFill*second)+size {
						t.Fatalf("%d s, limit %d, burst %d, share %d: %d a token", seconds, limit, burst, size, f.each)
					}
				}
			}
		}
	}
}

func TestFlowTokens(t *testing.T) {
	f := flow{size: 5, each: 100}
	full := int64(0)
	for n := int64(5); n > 0; n-- {
		if got := f.tokens(full, 1000, 1000, 0); got != n {
			t.Errorf("%d tokens, want %d", got, n)
		}
		full = f.less(full, 1000, 0, 1)
	}
	if f.tokens(full, 1099, 1099, 0) != 0 || f.tokens(full, 1100, 1100, 0) != 1 || f.next(full, 1000, 0) != 100 {
		t.Errorf("full at %d", full)
	}
	// A time that is in doubt delays the last one, and loses none.
	if full = f.less(0, 1030, 0, 4); f.tokens(full, 1000, 1030, 0) != 0 || f.tokens(full, 1030, 1060, 0) != 1 {
		t.Errorf("full at %d", full)
	}
	// What is reserved does not come back before it is spent.
	if f.tokens(300, 5000, 5000, 3) != 2 {
		t.Error("there is room for more than is not reserved")
	}
}

func TestFlowBecome(t *testing.T) {
	f := flow{size: 5, each: 100}
	for _, c := range []struct {
		to         flow
		full, want int64
	}{
		{flow{5, 100}, 1200, 1200},
		{flow{10, 50}, 1200, 1350},     // three tokens
		{flow{2, 250}, 1200, 1000},     // as many as there is room for
		{flow{2, 250}, 1450, 1375},     // half a token
		{flow{}, 1200, 1000},           // no share
		{flow{10, 50}, 1600, 1600},     // it was lent, until 1100
		{flow{1, 500}, 1600, 2000},     // at the new speed
		{flow{5, 1 << 40}, 1000, 1000}, // still full
	} {
		if got := f.become(c.to, c.full, 1000); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if got := (flow{}).become(f, 0, 1000); got != 1500 {
		t.Errorf("who had no share is full at %d", got)
	}
}

// TestBucketRestart: a process goes on with the bucket of the one before, and one
// without its cells begins with an empty one.
func TestBucketRestart(t *testing.T) {
	p, _ := window.Bucket(60)
	lim := &Limit{ID: "l", Version: 1, Rates: []Rate{{Period: p, Max: 60, Burst: 10}}}
	at := int64(1_781_524_830) * second
	table := cells.InMemory(64)
	start := func(incarnation uint64) *Core {
		c := New(Config{
			Node: "n1", Secret: NewSecret("bench"), From: Heritage{Incarnation: incarnation}, Session: 1, Table: table,
			Random: func() uint64 { return 7 }, Kick: func() {},
		})
		c.Restore(func() (int64, *ledger.Rosters) {
			first := []ledger.Member{{Node: "n1", Incarnation: 1}}
			rosters := &ledger.Rosters{History: []ledger.Roster{{Since: at - 3600*second, Members: first}}}
			if incarnation != 1 {
				now := []ledger.Member{{Node: "n1", Incarnation: incarnation}}
				rosters.History = append(rosters.History, ledger.Roster{Since: at - 6*second, Members: now})
			}
			return at, rosters
		})
		c.Clock.Sync(0, 0, at)
		return c
	}
	take := func(c *Core, times int) (n int) {
		for range times {
			var d Decision
			if tk := c.Take(0, lim, "key", &d); tk != nil {
				c.Settle(0, tk, &d)
			}
			if d.Admitted {
				n++
			}
		}
		return n
	}
	if n := take(start(1), 7); n != 7 {
		t.Errorf("%d admitted of 7", n)
	}
	if n := take(start(1), 7); n != 3 {
		t.Errorf("%d admitted, and 3 were left", n)
	}
	table = cells.InMemory(64)
	if n := take(start(2), 7); n != 3 {
		t.Errorf("%d admitted in 3 seconds of a share", n)
	}
}

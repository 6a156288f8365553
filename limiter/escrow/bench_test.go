package escrow

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// lone is a node alone in its cluster, whose time stands still in the middle of
// a minute.
func lone(keys int) (*Core, int64) {
	table := cells.InMemory(keys)
	c := New(Config{
		Node: "n1", Secret: NewSecret("bench"), From: Heritage{Incarnation: 1}, Session: 1, Table: table,
		Random: rand.Uint64, Kick: func() {},
	})
	at := int64(1_781_524_830) * second
	m := []ledger.Member{{Node: "n1", Incarnation: 1}}
	c.Restore(func() (int64, *ledger.Rosters) {
		return at, &ledger.Rosters{History: []ledger.Roster{{Since: at - 3600*second, Members: m}}}
	})
	c.Clock.Sync(0, 0, at)
	return c, 0
}

func perPeriod(p window.Period, n int64) *Limit {
	l := &Limit{ID: "9c1f2a34-0000-4000-8000-5d6e7f8a9b0c", Version: 1, Rates: []Rate{{Period: p, Max: n}}}
	l.Prepare()
	return l
}

// BenchmarkTake is a decision about a key that has tokens.
func BenchmarkTake(b *testing.B) {
	const key = "3f2c8a10-1111-4111-8111-0a1b2c3d4e5f"
	b.Run("one key", func(b *testing.B) {
		c, mono := lone(1 << 10)
		lim := perPeriod(window.Second, ledger.MaxTokens)
		var d Decision
		c.Take(mono, lim, key, &d)
		b.ReportAllocs()
		for b.Loop() {
			d = Decision{}
			if c.Take(mono, lim, key, &d); !d.Admitted {
				b.Fatalf("%+v", d)
			}
		}
	})
	b.Run("two periods", func(b *testing.B) {
		c, mono := lone(1 << 10)
		lim := perPeriod(window.Second, ledger.MaxTokens)
		lim.Rates = append(lim.Rates, Rate{Period: window.Minute, Max: ledger31})
		var d Decision
		b.ReportAllocs()
		for b.Loop() {
			d = Decision{}
			if c.Take(mono, lim, key, &d); d.Err != nil {
				b.Fatalf("%+v", d)
			}
		}
	})
	b.Run("used up", func(b *testing.B) {
		c, mono := lone(1 << 10)
		lim := perPeriod(window.Minute, 1)
		var d Decision
		c.Take(mono, lim, key, &d)
		for range 3 {
			if tk := c.Take(mono, lim, key, &d); tk != nil {
				c.Settle(mono, tk, &d)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			d = Decision{}
			if c.Take(mono, lim, key, &d) != nil || d.Admitted {
				b.Fatalf("%+v", d)
			}
		}
	})
	for name, max := range map[string]int64{"bucket": maxSliding, "empty bucket": 1} {
		b.Run(name, func(b *testing.B) {
			c, mono := lone(1 << 10)
			p, _ := window.Bucket(1)
			lim := perPeriod(p, max)
			var d Decision
			b.ReportAllocs()
			for b.Loop() {
				d = Decision{}
				if tk := c.Take(mono, lim, key, &d); tk != nil {
					c.Settle(mono, tk, &d)
				}
			}
		})
	}
	b.Run("2^20 keys by Zipf's law", func(b *testing.B) { manyKeys(b, true) })
	b.Run("2^20 keys", func(b *testing.B) { manyKeys(b, false) })
}

// ledger31 is a minute's budget that a lone node has all of.
const ledger31 = 31

func manyKeys(b *testing.B, skewed bool) {
	const n = 1 << 20
	c, mono := lone(n)
	lim := perPeriod(window.Second, ledger.MaxTokens)
	keys := make([]string, n)
	var before, after runtime.MemStats
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	var d Decision
	for _, k := range keys {
		c.Take(mono, lim, k, &d)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	rnd := rand.New(rand.NewPCG(1, 2))
	order := make([]uint32, 1<<20)
	z := rand.NewZipf(rnd, 1.1, 1, n-1)
	for i := range order {
		if order[i] = uint32(rnd.IntN(n)); skewed {
			order[i] = uint32(z.Uint64())
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d = Decision{}
		if c.Take(mono, lim, keys[order[i&(1<<20-1)]], &d); !d.Admitted {
			b.Fatalf("%+v", d)
		}
		i++
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
}

// TestTakeAllocates: a decision on tokens at hand, or on a budget that is used
// up, allocates nothing.
func TestTakeAllocates(t *testing.T) {
	c, mono := lone(1 << 10)
	p, _ := window.Bucket(1)
	for name, lim := range map[string]*Limit{
		"tokens": perPeriod(window.Second, 1<<30), "used up": perPeriod(window.Minute, 2),
		"bucket": perPeriod(p, 1<<30), "empty bucket": perPeriod(p, 2),
	} {
		var d Decision
		for range 8 {
			if tk := c.Take(mono, lim, name, &d); tk != nil {
				c.Settle(mono, tk, &d)
			}
		}
		if n := testing.AllocsPerRun(1000, func() {
			d = Decision{}
			c.Take(mono, lim, name, &d)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

package cells

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
)

func filled(tb testing.TB, keys int) (*Table, []Key) {
	tab := InMemory(keys)
	return tab, fill(tb, tab, keys)
}

func fill(tb testing.TB, tab *Table, keys int) []Key {
	list := make([]Key, keys)
	for i := range list {
		list[i] = keyOf(uint64(i))
		c := tab.Insert(list[i], window.Year, never)
		if c == nil {
			tb.Fatal("no room")
		}
		c.Enter(uint32(noon), MaxTokens)
	}
	return list
}

func spend(tab *Table, k Key) bool {
	c := tab.Find(k, window.Year)
	if c == nil {
		return false
	}
	_, ok := c.TakeFor(k, window.Year, uint32(noon))
	return ok
}

func TestTakeDoesNotAllocate(t *testing.T) {
	tab, keys := filled(t, 100)
	if n := testing.AllocsPerRun(1000, func() {
		if !spend(tab, keys[7]) {
			t.Fatal("no token")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHot(b *testing.B) {
	tab, keys := filled(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if !spend(tab, keys[7]) {
			b.Fatal("no token")
		}
	}
}

// BenchmarkExchange is what a hot take cannot be faster than.
func BenchmarkExchange(b *testing.B) {
	var w atomic.Uint64
	for b.Loop() {
		v := w.Load()
		w.CompareAndSwap(v, v+1)
	}
}

func BenchmarkFind(b *testing.B) {
	tab, keys := filled(b, 1000)
	for b.Loop() {
		if tab.Find(keys[7], window.Year) == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkHotParallel(b *testing.B) {
	tab, keys := filled(b, 1000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			spend(tab, keys[7])
		}
	})
}

// The keys of a benchmark are drawn before, one after the other: reading them
// costs a sixteenth of a cache line.
func benchmarkMany(b *testing.B, tab *Table, draw func() uint64) {
	keys := fill(b, tab, 1<<20)
	order := make([]Key, 1<<20)
	for i := range order {
		order[i] = keys[draw()]
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !spend(tab, order[i&(1<<20-1)]) {
			b.Fatal("no token")
		}
		i++
	}
	b.ReportMetric(float64(tab.Bytes())/float64(len(keys)), "B/key")
}

func BenchmarkZipf(b *testing.B) {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, 1<<20-1)
	benchmarkMany(b, InMemory(1<<20), z.Uint64)
}

func BenchmarkUniform(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	benchmarkMany(b, InMemory(1<<20), func() uint64 { return r.Uint64N(1 << 20) })
}

func BenchmarkMiss(b *testing.B) {
	tab, _ := filled(b, 1<<20)
	order := make([]Key, 1<<16)
	for i := range order {
		order[i] = keyOf(uint64(i + 1<<21))
	}
	i := 0
	for b.Loop() {
		if spend(tab, order[i&(1<<16-1)]) {
			b.Fatal("a token of nobody")
		}
		i++
	}
}

// BenchmarkInsert makes and enters cells in a table whose other cells are over.
func BenchmarkInsert(b *testing.B) {
	tab, _ := filled(b, 1<<16)
	over := func(*Cell) bool { return true }
	b.ReportAllocs()
	i := uint64(1 << 32)
	for b.Loop() {
		i++
		tab.Insert(Key{i * mix1, i * mix2}, window.Second, over).Enter(uint32(noon), 5)
	}
}

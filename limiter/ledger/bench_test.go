package ledger

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
)

// spread is a cheap random-looking key.
func spread(i uint64) Key { return Key{Hi: i * 0x9e3779b97f4a7c15, Lo: i * 0xbf58476d1ce4e5b9} }

// BenchmarkApply is one batch an entry, over 2^17 budgets that are there.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := filled(1 << 17)
			asks, seq := make([]Ask, size), uint64(1<<32)
			b.ReportAllocs()
			for b.Loop() {
				seq++
				for i := range asks {
					asks[i] = hour(0, MaxTokens, 4)
					asks[i].Budget.Key = spread((seq*1000 + uint64(i)) * 7919 % (1 << 17))
				}
				send(l, batch("n1", 1, seq, asks...))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/ask")
		})
	}
}

// BenchmarkTick is an entry with nothing but a stamp.
func BenchmarkTick(b *testing.B) {
	l := filled(1)
	b.ReportAllocs()
	for b.Loop() {
		l.Apply(&Entry{})
	}
}

func BenchmarkCodec(b *testing.B) {
	e := Entry{Stamp: noon * Second, Batches: []Batch{batch("n1", 1, 1)}}
	for i := range uint64(1000) {
		k := hour(0, 1000, 4)
		k.Budget.Key = spread(i)
		e.Batches[0].Asks = append(e.Batches[0].Asks, k)
	}
	data, _ := e.MarshalBinary()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		b.ReportMetric(float64(len(data))/1000, "B/ask")
		var buf []byte
		for b.Loop() {
			buf, _ = e.AppendBinary(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := new(Entry).UnmarshalBinary(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSnapshot is of 2^17 budgets.
func BenchmarkSnapshot(b *testing.B) {
	l := filled(1 << 17)
	data, _ := l.MarshalBinary()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.MarshalBinary()
		}
		b.ReportMetric(float64(len(data))/(1<<17), "B/budget")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := New().UnmarshalBinary(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// filled returns a ledger of n budgets of this hour.
func filled(n int) *Ledger {
	l := joined(1)
	asks, seq := make([]Ask, 0, 1000), uint64(0)
	for i := range n {
		k := Ask{
			Budget: Budget{Key: spread(uint64(i)), Period: window.Hour, Start: noon},
			Limit:  Limit{Version: 1, Max: MaxTokens}, Want: 4,
		}
		if asks = append(asks, k); len(asks) == 1000 || i == n-1 {
			seq++
			send(l, batch("n1", 1, seq, asks...))
			asks = asks[:0]
		}
	}
	return l
}

// TestMemory: a budget takes at most 120 bytes, whatever the tables' sizes.
func TestMemory(t *testing.T) {
	for _, n := range []int{60_000, 100_000, 150_000} {
		before := heap()
		l := filled(n)
		each := float64(heap()-before) / float64(n)
		t.Logf("%d budgets: %.0f bytes each", n, each)
		if l.Len() != n || each > 120 {
			t.Errorf("%d budgets take %.0f bytes each", l.Len(), each)
		}
		runtime.KeepAlive(l)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

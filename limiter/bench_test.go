package limiter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// ample is a limiter whose log grants all that is asked for.
type ample struct{}

func (ample) Propose(_ context.Context, b Batch) (BatchResult, error) {
	r := BatchResult{Node: b.Node, Incarnation: b.Incarnation, Seq: b.Seq, Results: make([]Result, len(b.Items))}
	for i := range b.Items {
		r.Results[i].Pool = 1 << 40
		if b.Items[i].Want > 0 {
			r.Results[i].Granted = 1 << 30
		}
	}
	return r, nil
}

func newAmple(b testing.TB) *Limiter {
	l := New(Config{Node: "n1", Log: ample{}, MaxWait: time.Minute})
	b.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return l
}

var yearly = &Limit{ID: "4e1f7a52-9a5c-4c57-a9a6-8a4c0d3f2b11", Version: 1, Max: [Periods]int64{Year: 1 << 45}}

// TestTakeDoesNotAllocate: the promise of the hot path.
func TestTakeDoesNotAllocate(t *testing.T) {
	l := newAmple(t)
	two := &Limit{ID: "two", Version: 1, Max: [Periods]int64{Month: 1 << 45, Year: 1 << 45}}
	for _, lim := range []*Limit{yearly, two} {
		if d := l.Take(t.Context(), lim, "k"); !d.Admitted {
			t.Fatalf("%+v", d)
		}
		if n := testing.AllocsPerRun(1000, func() {
			if !l.Take(context.Background(), lim, "k").Admitted {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%v allocations a request", n)
		}
	}
}

func BenchmarkTakeHot(b *testing.B) {
	l := newAmple(b)
	b.ReportAllocs()
	for b.Loop() {
		if !l.Take(context.Background(), yearly, "203.0.113.7").Admitted {
			b.Fatal("refused")
		}
	}
}

func BenchmarkTakeHotParallel(b *testing.B) {
	l := newAmple(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !l.Take(context.Background(), yearly, "203.0.113.7").Admitted {
				b.Error("refused")
				return
			}
		}
	})
}

// BenchmarkTakeZipf draws from 2^16 keys.
func BenchmarkTakeZipf(b *testing.B) {
	l := newAmple(b)
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprintf("10.%d.%d.%d", i>>12, i>>6&63, i&63)
		l.Take(context.Background(), yearly, keys[i])
	}
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(len(keys)-1))
	order := make([]string, 1<<16)
	for i := range order {
		order[i] = keys[z.Uint64()]
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		l.Take(context.Background(), yearly, order[i&(1<<16-1)])
		i++
	}
}

// BenchmarkRefused is a request of a key whose window is used up.
func BenchmarkRefused(b *testing.B) {
	l := NewLedger()
	c := newCore("n1", "a", defaultShards)
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Year: 1}}
	now := noon * second
	fill(b, c, l, lim, "k", now)
	fill(b, c, l, lim, "k", now)
	b.ReportAllocs()
	for b.Loop() {
		var d Decision
		if c.take(now, lim, "k", &d); d.Admitted {
			b.Fatal("admitted")
		}
	}
}

// BenchmarkApply is an entry of 100 batches of 10 items each.
func BenchmarkApply(b *testing.B) {
	l := NewLedger()
	e := Entry{Stamp: noon * second}
	for n := range 100 {
		batch := Batch{Node: fmt.Sprint("n", n), Incarnation: "a"}
		for i := range 10 {
			batch.Items = append(batch.Items, Item{
				Limit: "l", Version: 1, Max: 1 << 40, Key: fmt.Sprint("k", (n*10+i)%300), Period: Year, Start: 1767225600, Want: 1, Waiting: 1,
			})
		}
		e.Batches = append(e.Batches, batch)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range e.Batches {
			e.Batches[i].Seq++
		}
		l.Apply(e)
	}
}

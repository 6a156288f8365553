package cells

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
)

// race is a table under load: some take without a lock, as a request does, others
// make, renew and sweep cells with it, and time goes on. Every window of a key is
// given tokens once; admitted counts what was taken of it.
type race struct {
	table    *Table
	keys     []Key
	now      atomic.Int64
	locks    [Shards]sync.Mutex
	given    []atomic.Int64 // the last window that was given tokens, by key
	admitted [][]atomic.Int64
	refunded atomic.Int64
	tries    atomic.Int64 // since the last second began
}

const (
	raceTokens  = 20
	raceSeconds = 40
	raceTries   = 3000 // a second lasts for
)

func TestConcurrentInMemory(t *testing.T) { testConcurrent(t, InMemory(1)) }

func testConcurrent(t *testing.T, tab *Table) {
	// Three shards of one extent each, and more keys than they have room for:
	// cells change hands all the time.
	tab.pool.limit = 3
	r := &race{table: tab}
	for s := range 3 {
		r.keys = append(r.keys, keysIn(s, extentCells+64)...)
	}
	r.given = make([]atomic.Int64, len(r.keys))
	r.admitted = make([][]atomic.Int64, len(r.keys))
	for i := range r.admitted {
		r.admitted[i] = make([]atomic.Int64, raceSeconds)
	}
	r.now.Store(noon)
	var wg sync.WaitGroup
	for seed := range uint64(3) {
		wg.Go(func() { r.take(rand.New(rand.NewPCG(seed, 1))) })
	}
	for seed := range uint64(2) {
		wg.Go(func() { r.enter(rand.New(rand.NewPCG(seed, 2))) })
	}
	wg.Wait()
	total := int64(0)
	for i := range r.admitted {
		for s := range r.admitted[i] {
			n := r.admitted[i][s].Load()
			if total += n; n > raceTokens {
				t.Errorf("key %d, second %d: %d admitted", i, s, n)
			}
		}
	}
	if total == 0 || r.refunded.Load() == 0 {
		t.Errorf("%d admitted, %d put back: nothing was tested", total, r.refunded.Load())
	}
}

// take spends tokens until time is over, and puts some back.
func (r *race) take(rnd *rand.Rand) {
	for {
		now := r.now.Load()
		if now >= noon+raceSeconds {
			return
		}
		r.tries.Add(1)
		i := rnd.IntN(len(r.keys))
		c := r.table.Find(r.keys[i], window.Second)
		if c == nil {
			continue
		}
		if _, ok := c.TakeFor(r.keys[i], window.Second, uint32(now)); !ok {
			continue
		}
		if rnd.IntN(8) == 0 {
			if _, ok := c.Add(uint32(now), 1); ok {
				r.refunded.Add(1)
				continue
			}
		}
		r.admitted[i][now-noon].Add(1)
	}
}

// enter gives keys their tokens, once a window, and lets time pass.
func (r *race) enter(rnd *rand.Rand) {
	for step := 1; ; step++ {
		if step%1000 == 0 && r.tries.Load() >= raceTries {
			r.tries.Store(0)
			r.now.Add(1)
		}
		i := rnd.IntN(len(r.keys))
		shard := Shard(r.keys[i])
		r.locks[shard].Lock()
		now := r.now.Load()
		if now >= noon+raceSeconds {
			r.locks[shard].Unlock()
			return
		}
		if step%300 == 0 {
			r.table.Sweep(shard, overAt(now))
		}
		if r.given[i].Load() != now {
			if c := r.table.Insert(r.keys[i], window.Second, overAt(now)); c != nil {
				c.Enter(uint32(now), raceTokens)
				r.given[i].Store(now)
			}
		}
		r.locks[shard].Unlock()
	}
}

// TestOneCellAtOnce counts every token of a cell that several take from, put back
// to, add to and enter anew at the same time.
func TestOneCellAtOnce(t *testing.T) {
	const first, more, rounds = 1_000_000, 3, 10
	var c Cell
	k := Key{1, 1}
	c.own(k, window.Year, nil)
	c.Enter(uint32(noon), first)
	var taken, given atomic.Int64
	given.Store(first)
	var wg sync.WaitGroup
	ready := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			<-ready
			for n := 0; ; n++ {
				if _, ok := c.TakeFor(k, window.Year, uint32(noon)); !ok {
					return
				}
				if n%16 != 0 {
					taken.Add(1)
				} else if _, ok := c.Add(uint32(noon), 1); !ok {
					t.Error("a token could not be put back")
				}
			}
		})
	}
	wg.Go(func() {
		close(ready)
		for n := range rounds {
			if n%2 == 0 {
				c.Add(uint32(noon), more)
				given.Add(more)
				continue
			}
			tokens := c.Word().Tokens() + more
			old := c.Enter(uint32(noon), tokens)
			given.Add(tokens - old.Tokens())
		}
	})
	wg.Wait()
	if n := taken.Load() + c.Word().Tokens(); n != given.Load() {
		t.Errorf("%d tokens given, %d taken or left", given.Load(), n)
	}
}

// TestShardsAtOnce fills all shards at the same time, which share the memory.
func TestShardsAtOnce(t *testing.T) {
	const keys = 40_000
	tab := InMemory(keys)
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := range uint64(keys) {
				if k := keyOf(i); Shard(k)%4 == part {
					tab.Insert(k, window.Minute, never).Enter(uint32(noon), int64(i))
				}
			}
		})
	}
	wg.Wait()
	if tab.Len() != keys {
		t.Errorf("%d cells", tab.Len())
	}
	for i := range uint64(keys) {
		if c := tab.Find(keyOf(i), window.Minute); c == nil || c.Word().Tokens() != int64(i) {
			t.Fatalf("key %d is lost", i)
		}
	}
}

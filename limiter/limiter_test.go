package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("log is down")

// memCluster is a cluster in one process: a ledger, a batcher in front of it,
// and limiters that observe every outcome.
type memCluster struct {
	ledger  *Ledger
	batcher *Batcher
	down    atomic.Bool  // no leader
	slow    atomic.Int64 // nanoseconds that a commit takes longer
	mute    atomic.Bool  // answers of Propose get lost
	entries atomic.Int64

	mu       sync.Mutex
	limiters []*Limiter
	admits   map[label]int64
}

func newMemCluster(nodes int) *memCluster {
	c := &memCluster{ledger: NewLedger(), admits: map[label]int64{}}
	c.batcher = NewBatcher(c.commit, time.Now)
	for i := range nodes {
		c.start(fmt.Sprintf("n%d", i+1), nodes)
	}
	return c
}

// start adds a limiter, or replaces the one of the same number.
func (c *memCluster) start(id string, nodes int) *Limiter {
	voters := func() []string {
		var ids []string
		for i := range nodes {
			ids = append(ids, fmt.Sprintf("n%d", i+1))
		}
		return ids
	}
	l := New(Config{
		Node: id, Log: c, Voters: voters, Known: c.ledger.Pool,
		HasLeader: func() bool { return !c.down.Load() },
		Audit: func(limit, key string, p Period, start int64) {
			c.mu.Lock()
			c.admits[label{limit, key, p, start}]++
			c.mu.Unlock()
		},
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limiters = append(c.limiters, l)
	return l
}

func (c *memCluster) commit(ctx context.Context, e Entry) (*Outcome, error) {
	select {
	case <-time.After(2*time.Millisecond + time.Duration(c.slow.Load())): // the log's latency
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.down.Load() {
		return nil, errDown
	}
	o := c.ledger.Apply(e)
	c.entries.Add(1)
	c.mu.Lock()
	limiters := c.limiters
	c.mu.Unlock()
	for _, l := range limiters {
		l.Observe(o)
	}
	return o, nil
}

// Propose implements Log.
func (c *memCluster) Propose(ctx context.Context, b Batch) (BatchResult, error) {
	if c.down.Load() {
		return BatchResult{}, errDown
	}
	r, err := c.batcher.Submit(ctx, b)
	if err == nil && c.mute.Load() {
		<-ctx.Done()
		return BatchResult{}, ctx.Err()
	}
	return r, err
}

func (c *memCluster) close(t *testing.T) {
	t.Helper()
	for _, l := range c.limiters {
		if err := l.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	c.batcher.Close()
}

// load sends requests from 100 clients until n have been refused, and returns
// how many were admitted.
func (c *memCluster) load(lim *Limit, n int64, pick func(client, i int) int) int64 {
	var admitted, refused atomic.Int64
	var wg sync.WaitGroup
	for client := range 100 {
		wg.Go(func() {
			for i := 0; refused.Load() < n; i++ {
				d := c.limiters[pick(client, i)].Take(context.Background(), lim, "k")
				if d.Admitted {
					admitted.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return admitted.Load()
}

// begin puts the synctest clock shortly after the beginning of a minute.
func begin() { time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(61 * time.Second))) }

func TestExactUnderConcurrency(t *testing.T) {
	for name, pick := range map[string]func(client, i int) int{
		"one node":    func(int, int) int { return 2 },
		"alternating": func(_, i int) int { return i % 3 },
		"by client":   func(client, _ int) int { return client % 3 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newMemCluster(3)
				begin()
				lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 1000}}
				if n := c.load(lim, 200, pick); n != 1000 {
					t.Errorf("%d admitted, want exactly 1000", n)
				}
				c.close(t)
			})
		})
	}
}

// TestOneNodeThenAnother moves all demand to another node half way.
func TestOneNodeThenAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(3)
		begin()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 1000}}
		for i := range 500 {
			if d := c.limiters[0].Take(t.Context(), lim, "k"); !d.Admitted {
				t.Fatalf("request %d refused: %+v", i, d)
			}
		}
		if n := c.load(lim, 200, func(int, int) int { return 1 }); n != 500 {
			t.Errorf("%d admitted on the second node, want the other 500", n)
		}
		c.close(t)
	})
}

// TestLostAnswers loses every answer of Propose: Observe brings them, once.
func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(3)
		c.mute.Store(true)
		begin()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 100}}
		if n := c.load(lim, 200, func(client, _ int) int { return client % 3 }); n != 100 {
			t.Errorf("%d admitted, want 100", n)
		}
		c.close(t)
	})
}

// TestRestart restarts nodes cleanly and by crash: the first loses nothing, the
// second at most what the node held, and neither refunds anything.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(2)
		begin()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Hour: 400}}
		for range 100 {
			c.limiters[0].Take(t.Context(), lim, "k")
		}
		if err := c.limiters[0].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := c.ledger.Cells("l", 1)[0]
		if v.Pool != 300 || v.Spent != 100 {
			t.Fatalf("after a clean stop: %+v, want a pool of 300 and 100 spent", v)
		}
		if d := c.limiters[0].Take(t.Context(), lim, "k"); d.Admitted || !errors.Is(d.Err, ErrClosed) {
			t.Fatalf("a closed limiter decided %+v", d)
		}
		c.limiters[0] = c.start("n1", 2)
		c.limiters = c.limiters[:2]
		if n := c.load(lim, 200, func(client, _ int) int { return client % 2 }); n != 300 {
			t.Errorf("%d admitted after the restart, want the other 300", n)
		}
		c.close(t)
	})
}

func TestWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(3)
		begin()
		strict := &Limit{ID: "strict", Version: 1, Max: [Periods]int64{Minute: 20}}
		tolerant := &Limit{ID: "tolerant", Version: 1, Max: [Periods]int64{Minute: 20}, FaultTolerant: true}
		for range 3 {
			c.limiters[0].Take(t.Context(), strict, "k")
			c.limiters[0].Take(t.Context(), tolerant, "k")
		}
		c.down.Store(true)
		lost := time.Now()
		time.Sleep(time.Second)
		// A leader may come any moment: no share is touched before three seconds.
		if d := c.limiters[0].Take(t.Context(), tolerant, "k"); !d.Admitted || !d.Degraded || time.Since(lost) < 3*time.Second {
			t.Errorf("asked one second after the loss: %+v %s after it", d, time.Since(lost))
		}
		if d := c.limiters[1].Take(t.Context(), strict, "k"); d.Admitted || !errors.Is(d.Err, ErrNoQuorum) {
			t.Errorf("strict limit: %+v, want ErrNoQuorum", d)
		}
		// 17 left: 6 + 6 + 5.
		total := 1
		for _, l := range c.limiters {
			for range 20 {
				d := l.Take(t.Context(), tolerant, "k")
				if !d.Degraded || d.Err != nil {
					t.Fatalf("tolerant limit: %+v, want a degraded decision", d)
				}
				if d.Admitted {
					total++
				}
			}
		}
		if total != 17 {
			t.Errorf("%d admitted on shares, want the 17 that were left", total)
		}
		c.down.Store(false)
		time.Sleep(2 * time.Second)
		v := c.ledger.Cells("tolerant", 1)[0]
		if v.Spent != 20 || v.Pool != 0 {
			t.Errorf("after the leader's return: %+v, want all 20 accounted", v)
		}
		if d := c.limiters[2].Take(t.Context(), tolerant, "k"); d.Admitted || d.Degraded {
			t.Errorf("after the leader's return: %+v, want a plain refusal", d)
		}
		c.close(t)
	})
}

// TestBlind starts a node that never sees a leader. Of windows that were open
// before, it touches those that its ledger knows, which is how a lone restart
// after a clean stop goes on; of others an earlier run may have spent all.
func TestBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(0)
		c.down.Store(true)
		begin()
		now := time.Now()
		c.ledger.Apply(Entry{Stamp: now.UnixMicro(), Batches: []Batch{{Node: "n1", Incarnation: "earlier", Seq: 1, Items: []Item{{
			Limit: "l", Version: 1, Max: 3, Key: "seen", Period: Minute, Start: now.Truncate(time.Minute).Unix(), Want: 1, Waiting: 1,
		}}}}})
		l := c.start("n1", 1)
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 3}, FaultTolerant: true}
		time.Sleep(4 * time.Second)
		for i := range 3 {
			if d := l.Take(t.Context(), lim, "seen"); d.Admitted != (i < 2) || !d.Degraded {
				t.Errorf("request %d of a window that the ledger knows: %+v, want the 2 left", i+1, d)
			}
		}
		if d := l.Take(t.Context(), lim, "k"); d.Admitted || !d.Degraded {
			t.Errorf("window from before the start: %+v, want a refusal", d)
		}
		time.Sleep(time.Minute)
		n := 0
		for range 5 {
			if l.Take(t.Context(), lim, "k").Admitted {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%d admitted in a window of its own time, want 3", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close without a leader: %v, want the context's error", err)
		}
		c.batcher.Close()
	})
}

// TestSlowLog: a log that takes longer than MaxWait is no reason to refuse; one
// that says nothing at all is, after MaxSilence.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(2)
		defer c.close(t)
		begin()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 5}}
		c.slow.Store(int64(700 * time.Millisecond))
		for i := range int64(5) {
			if d := c.limiters[i%2].Take(t.Context(), lim, "k"); !d.Admitted || d.Remaining[Minute] != 4-i {
				t.Errorf("request %d: %+v", i+1, d)
			}
		}
		if d := c.limiters[0].Take(t.Context(), lim, "k"); d.Admitted {
			t.Errorf("a sixth was admitted: %+v", d)
		}
		c.slow.Store(int64(time.Hour))
		start := time.Now()
		d := c.limiters[0].Take(t.Context(), lim, "other")
		if waited := time.Since(start); d.Admitted || waited != defaultMaxSilence {
			t.Errorf("a log that says nothing: %+v after %s", d, waited)
		}
		c.slow.Store(0)
	})
}

// TestLeaderBackWhileWaiting: a request that waits when the leader is lost is
// decided by the next one.
func TestLeaderBackWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(3)
		defer c.close(t)
		begin()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 2}}
		c.down.Store(true)
		back := time.AfterFunc(1500*time.Millisecond, func() { c.down.Store(false) })
		defer back.Stop()
		if d := c.limiters[0].Take(t.Context(), lim, "k"); !d.Admitted || d.Degraded {
			t.Errorf("%+v", d)
		}
	})
}

func TestCancelledRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(1)
		c.down.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 3}}
		if d := c.limiters[0].Take(ctx, lim, "k"); d.Admitted || !errors.Is(d.Err, context.Canceled) {
			t.Errorf("%+v, want the context's error", d)
		}
		c.down.Store(false)
		time.Sleep(time.Second)
		for i := range 4 {
			if d := c.limiters[0].Take(t.Context(), lim, "k"); d.Admitted != (i < 3) {
				t.Errorf("request %d: %+v", i, d)
			}
		}
		c.close(t)
	})
}

// TestStale takes a node's identity over: the old process notices and goes on
// under a new incarnation, without the tokens that were written off.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(1)
		begin()
		lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 40}}
		for range 5 {
			c.limiters[0].Take(t.Context(), lim, "k")
		}
		if _, err := c.batcher.Submit(t.Context(), Batch{Node: "n1", Incarnation: "other", Seq: 1}); err != nil {
			t.Fatal(err)
		}
		c.load(lim, 200, func(int, int) int { return 0 })
		for l, n := range c.admits {
			if n > 40 || n < 6 {
				t.Errorf("%d of 40 admitted in %+v", n, l)
			}
		}
		c.close(t)
	})
}

// TestRace runs the real clock, several limits and keys, limit changes and
// closing, for the race detector.
func TestRace(t *testing.T) {
	c := newMemCluster(3)
	var wg sync.WaitGroup
	for client := range 12 {
		wg.Go(func() {
			for i := range 300 {
				lim := &Limit{ID: "l", Version: uint64(1 + i/100), Max: [Periods]int64{int64(50 + i/100), 500, 0, 5000}}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				c.limiters[(client+i)%3].Take(ctx, lim, fmt.Sprint("k", i%5))
				cancel()
			}
		})
	}
	wg.Wait()
	c.close(t)
	for l, n := range c.admits {
		if most := [Periods]int64{52, 500, 0, 5000}[l.period]; n > most {
			t.Errorf("%d of %d admitted in %+v", n, most, l)
		}
	}
}

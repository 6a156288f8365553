package limiter

import (
	"fmt"
	"strings"
	"testing"
)

// fill gives n tokens of each limited period to a core's cell, by way of a
// ledger.
func fill(t testing.TB, c *core, l *Ledger, lim *Limit, key string, now int64) {
	t.Helper()
	var d Decision
	c.take(now, lim, key, &d)
	for b, ok := c.ready(now); ok; b, ok = c.ready(now) {
		o := l.Apply(Entry{Stamp: now, Batches: []Batch{b}})
		c.observe(now, o)
	}
}

// TestAccountsAreBounded: at the bound an account that is not in use makes room,
// and gives its tokens back; one with a request waiting is kept.
func TestAccountsAreBounded(t *testing.T) {
	c, l := newCore("n1", "a", 1), NewLedger()
	c.maxAccounts = 8
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Hour: 1000}}
	now := noon * second
	for i := range 100 {
		fill(t, c, l, lim, fmt.Sprint("k", i), now+int64(i))
		if n := len(c.shards[0].accounts); n > 8 {
			t.Fatalf("%d accounts", n)
		}
	}
	held := int64(0)
	for _, v := range l.Cells("l", 1000) {
		for _, h := range v.Holders {
			held += h.Held
		}
	}
	has := int64(0)
	for _, a := range c.shards[0].accounts {
		has += a.cells[Hour].tokens
	}
	if held != has+8 { // those that are left have not reported what they spent
		t.Errorf("the ledger says %d are held here, the node has %d", held, has)
	}

	for i := range 20 { // nobody answers: every account is in use
		var d Decision
		c.take(now, lim, fmt.Sprint("w", i), &d)
	}
	var d Decision
	if tk := c.take(now, lim, "one more", &d); tk != nil || d.Admitted || d.Err != nil {
		t.Errorf("a table full of waiting requests took one more: %+v", d)
	}
}

// TestWaitersAreBounded: beyond the bound requests are refused at once.
func TestWaitersAreBounded(t *testing.T) {
	c := newCore("n1", "a", 1)
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 1 << 20}}
	waiting := 0
	var tickets []*ticket
	for range maxWaitersCell + 10 {
		var d Decision
		if tk := c.take(noon*second, lim, "k", &d); tk != nil {
			tickets = append(tickets, tk)
			waiting++
		}
	}
	if waiting != maxWaitersCell {
		t.Errorf("%d wait, want %d", waiting, maxWaitersCell)
	}
	var d Decision
	for _, tk := range tickets {
		c.settle(tk, lim, noon*second, &d)
	}
	if n := c.waiting.Load(); n != 0 {
		t.Errorf("%d wait after all have left", n)
	}
	if tk := c.take(noon*second, lim, "k", &d); tk == nil {
		t.Error("no room after all have left")
	} else if n := len(tk.acct.cells[Minute].waiters); n > maxWaitersCell/2 {
		t.Errorf("%d requests that left are kept", n)
	}
}

// TestIdle: an idle cell gives its tokens back and is dropped.
func TestIdle(t *testing.T) {
	c, l := newCore("n1", "a", 1), NewLedger()
	lim := &Limit{ID: "l", Version: 1, Max: [Periods]int64{Minute: 100, Hour: 1000}}
	now := noon * second
	fill(t, c, l, lim, "k", now)
	for range 20 {
		now += second
		c.tick(now)
		for b, ok := c.ready(now); ok; b, ok = c.ready(now) {
			c.observe(now, l.Apply(Entry{Stamp: now, Batches: []Batch{b}}))
		}
	}
	if n := len(c.shards[0].accounts); n != 0 {
		t.Errorf("%d accounts left", n)
	}
	for _, v := range l.Cells("l", 9) {
		if v.Pool != v.Max-1 || v.Spent != 1 {
			t.Errorf("not all came back: %+v", v)
		}
	}
}

func TestBatchIsBounded(t *testing.T) {
	c := newCore("n1", "a", 4)
	lim := &Limit{ID: strings.Repeat("l", maxKey), Version: 1, Max: [Periods]int64{Minute: 5}}
	for i := range 3000 {
		var d Decision
		c.take(noon*second, lim, fmt.Sprintf("%0200d", i), &d)
	}
	l := NewLedger()
	total, batches := 0, 0
	for b, ok := c.ready(noon * second); ok; b, ok = c.ready(noon * second) {
		raw, _ := b.MarshalBinary()
		if len(b.Items) > maxBatchItems || len(raw) > maxBatchBytes {
			t.Fatalf("%d items, %d bytes", len(b.Items), len(raw))
		}
		total += len(b.Items)
		batches++
		c.observe(noon*second, l.Apply(Entry{Stamp: noon * second, Batches: []Batch{b}}))
	}
	if total != 3000 || batches > 10 {
		t.Errorf("%d items in %d batches", total, batches)
	}
	if n := c.waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestShares(t *testing.T) {
	voters := []string{"c", "a", "b"}
	for pool := range int64(40) {
		for _, key := range []string{"", "k", "other", "x"} {
			sum := int64(0)
			for _, v := range voters {
				s := shareOf(pool, v, key, voters)
				if s < pool/3 || s > pool/3+1 {
					t.Errorf("%d of %d", s, pool)
				}
				sum += s
			}
			if sum != pool {
				t.Errorf("the shares of %d add up to %d", pool, sum)
			}
		}
	}
	if s := shareOf(10, "guest", "k", voters); s != 0 {
		t.Errorf("a node without a vote has %d", s)
	}
	if s := shareOf(-3, "a", "k", voters); s != 0 {
		t.Errorf("a debt gave %d", s)
	}
}

func TestShortKey(t *testing.T) {
	long := strings.Repeat("x", 300)
	a, b := shortKey(long+"a"), shortKey(long+"b")
	if len(a) != maxKey || len(b) != maxKey || a == b {
		t.Errorf("%q, %q", a, b)
	}
}

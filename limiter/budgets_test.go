package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/inprocess"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// only returns the single budget that a query finds, asking a node, and checks
// that its numbers add up.
func only(t *testing.T, c *inprocess.Cluster, node int, q limiter.BudgetQuery) limiter.Budget {
	t.Helper()
	q.Size = 10
	list, err := c.Limiter(node).Budgets(t.Context(), q)
	if err != nil || len(list.Budgets) != 1 || list.More {
		t.Fatalf("%+v, %v", list, err)
	}
	return whole(t, list)
}

// whole returns the only budget of a list.
func whole(t *testing.T, list *limiter.BudgetList) limiter.Budget {
	t.Helper()
	b := list.Budgets[0]
	if b.Spent+b.Left+b.Elsewhere != b.Max+b.Added || b.Left < 0 {
		t.Errorf("%d spent, %d left and %d elsewhere are not %d and %d: %+v", b.Spent, b.Left, b.Elsewhere, b.Max, b.Added, b)
	}
	return b
}

func op(n byte) ledger.OperationID { return ledger.OperationID{n} }

// TestBudgets: whoever is asked says the same of a budget: all of it is somewhere.
// What is granted is admitted, once, whatever is repeated, and after a reset the
// whole budget is.
func TestBudgets(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(5)
	take(t, c, 3, lim, 2)
	q := limiter.BudgetQuery{Limit: lim.ID}
	b := only(t, c, 0, q)
	if b.Max != 5 || b.Spent != 2 || b.Left != 3 || b.Elsewhere != 0 || b.Reset < 1 || b.Reset > 40 || b.Until != b.Start+60 {
		t.Errorf("%+v", b)
	}
	take(t, c, 3, lim, 6)
	for node := range 3 {
		b = only(t, c, node, limiter.BudgetQuery{Keys: []limiter.LimitKey{{Limit: lim.ID, Key: "key"}, {Limit: "other", Key: "key"}}})
		if b.Spent != 5 || b.Left != 0 {
			t.Errorf("used up, as node %d sees it: %+v", node, b)
		}
	}
	for try := range 2 { // the second time, nothing more is granted
		list, err := c.Limiter(try).TopUp(t.Context(), op(1), b.Budget, 3)
		if err != nil {
			t.Fatal(err)
		}
		if b = whole(t, list); b.Added != 3 || b.Left != 3-int64(3*try) {
			t.Errorf("granted, try %d: %+v", try, b)
		}
		if n := take(t, c, 3, lim, 6); n != 3-3*try {
			t.Errorf("try %d: %d admitted of 3 granted", try, n)
		}
	}
	for try := range 2 {
		list, err := c.Limiter(try).Renew(t.Context(), op(2+byte(try)), b.Budget)
		if err != nil {
			t.Fatal(err)
		}
		if b = whole(t, list); b.Left != 5 {
			t.Errorf("reset, try %d: %+v", try, b)
		}
		if n := take(t, c, 3, lim, 9); n != 5 {
			t.Errorf("reset, try %d: %d admitted of 5", try, n)
		}
	}
	if b = only(t, c, 2, q); b.Spent != 18 || b.Added != 13 {
		t.Errorf("after all: %+v", b)
	}
}

// TestBudgetPages: pages have every budget once, whichever nodes count it.
func TestBudgetPages(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(50)
	const keys = 60
	for i := range keys {
		for node := range i%3 + 1 {
			c.Limiter(node).Take(t.Context(), lim, fmt.Sprint(i))
		}
	}
	spent, seen := int64(0), map[ledger.Budget]bool{}
	for q := (limiter.BudgetQuery{Size: 7}); ; {
		list, err := c.Limiter(1).Budgets(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list.Budgets {
			if seen[b.Budget] {
				t.Errorf("%s is there twice", b.ID())
			}
			seen[b.Budget] = true
			spent += b.Spent
		}
		if !list.More {
			break
		}
		if len(list.Budgets) != 7 {
			t.Fatalf("a page of %d", len(list.Budgets))
		}
		q.After = list.Budgets[6].Budget
	}
	if len(seen) != keys || spent != 120 {
		t.Errorf("%d budgets with %d spent", len(seen), spent)
	}
	for node, want := range map[string]int{"n1": 60, "n2": 40, "n3": 20} {
		list, err := c.Limiter(0).Budgets(t.Context(), limiter.BudgetQuery{Size: 100, Node: node})
		if err != nil {
			t.Fatal(err)
		}
		counted := 0
		for _, b := range list.Budgets {
			for _, h := range b.Holders {
				if h.Node == node && h.Spent > 0 {
					counted++
				}
			}
		}
		if counted != want || list.More {
			t.Errorf("%s has counted %d of %d", node, counted, want)
		}
	}
	if _, err := c.Limiter(0).Budgets(t.Context(), limiter.BudgetQuery{Node: "n9"}); !errors.Is(err, limiter.ErrUnknownNode) {
		t.Errorf("a node that is not there: %v", err)
	}
}

// TestBudgetOfUnreachable: a node that does not answer is named, and what it holds
// is not made up. What can be done is done without it.
func TestBudgetOfUnreachable(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(30)
	if n := take(t, c, 3, lim, 30); n != 30 {
		t.Fatal(n)
	}
	c.Cut(2, true)
	b := only(t, c, 0, limiter.BudgetQuery{})
	h := b.Holders[len(b.Holders)-1]
	if h.Node != "n3" || !h.Unreachable || h.Tokens != 0 || b.Left != 0 || b.Elsewhere == 0 {
		t.Errorf("%+v", b)
	}
	list, err := c.Limiter(1).Renew(t.Context(), op(1), b.Budget)
	if err != nil || len(list.Unreachable) != 1 || list.Unreachable[0] != "n3" {
		t.Fatalf("%+v, %v", list, err)
	}
	if now := whole(t, list); now.Added != b.Spent {
		t.Errorf("what is known to be spent was not granted: %+v", now)
	}
	c.Lead(-1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Limiter(0).TopUp(ctx, op(2), b.Budget, 1); !errors.Is(err, limiter.ErrNoAnswer) {
		t.Errorf("without a leader: %v", err)
	}
}

// TestTopUpRefused: what cannot be changed is told in so many words.
func TestTopUpRefused(t *testing.T) {
	c := cluster(t, 1, nil)
	take(t, c, 1, perMinute(5), 1)
	b := only(t, c, 0, limiter.BudgetQuery{}).Budget
	unknown, over := b, b
	unknown.Key.Lo++
	over.Start -= 60
	for name, x := range map[string]struct {
		budget ledger.Budget
		tokens int64
		want   error
	}{
		"unknown":   {unknown, 1, limiter.ErrUnknownBudget},
		"over":      {over, 1, limiter.ErrWindowOver},
		"too large": {b, ledger.MaxTokens, limiter.ErrBudgetTooLarge},
	} {
		if _, err := c.Limiter(0).TopUp(t.Context(), op(1), x.budget, x.tokens); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Limiter(0).Budget(t.Context(), unknown); !errors.Is(err, limiter.ErrUnknownBudget) {
		t.Errorf("look: %v", err)
	}
}

// TestRenewAtOnce: of resets at the same time, one gives the budget back.
func TestRenewAtOnce(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(20)
	if n := take(t, c, 3, lim, 20); n != 20 {
		t.Fatal(n)
	}
	b := only(t, c, 0, limiter.BudgetQuery{}).Budget
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			if list, err := c.Limiter(i%3).Renew(t.Context(), op(byte(i)), b); err != nil || list.Budgets[0].Added != 20 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
	all.Wait()
	if n := take(t, c, 3, lim, 40); n != 20 {
		t.Errorf("%d admitted after the resets", n)
	}
}

// TestStats: the numbers say what happened.
func TestStats(t *testing.T) {
	c := cluster(t, 2, nil)
	take(t, c, 2, perMinute(5), 9)
	s := c.Limiter(0).Stats()
	if s.Mode != limiter.ModeQuorum || s.Cells != 1 || s.Closed != 1 || s.Waited == 0 || s.PoolAsks == 0 || s.TokensGranted == 0 || s.Pools != 1 || s.Uncertainty <= 0 {
		t.Errorf("%+v", s)
	}
	other := c.Limiter(1).Stats()
	if got := s.TokensGranted + other.TokensGranted; got != 5 {
		t.Errorf("%d tokens of 5 are from the pool", got)
	}
	if s.TokensGiven != other.TokensReceived || other.TokensGiven != s.TokensReceived || s.TransfersAsked != other.TransfersServed {
		t.Errorf("transfers differ: %+v %+v", s, other)
	}
}

// TestBudgetsOfOtherWindows: of a sliding window, what can be had now is shown, of
// one that each node counts, each node's part, and of requests in flight how many
// there are. None of them can be changed.
func TestBudgetsOfOtherWindows(t *testing.T) {
	c := cluster(t, 2, nil)
	minute, _ := window.Sliding(60)
	long, _ := window.Sliding(3600)
	lim := &limiter.Limit{ID: "l", Version: 1, Rates: []limiter.Rate{{Period: minute, Max: 20}, {Period: long, Max: 50}, {Period: limiter.Hour.Local(), Max: 30}, {Period: window.InFlight, Max: 40}}}
	admitted := 0
	for i := range 12 { // some may find no share yet
		if c.Limiter(i%2).Take(t.Context(), lim, "key").Admitted {
			admitted++
		}
	}
	if admitted == 0 {
		t.Fatal("nobody is admitted")
	}
	list, err := c.Limiter(1).Budgets(t.Context(), limiter.BudgetQuery{Size: 10})
	if err != nil || len(list.Budgets) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, b := range list.Budgets {
		if b.Spent != int64(admitted) || (b.Reset < 1) != b.Period.IsInFlight() || b.Until < b.From {
			t.Errorf("%s: %+v", b.Period, b)
		}
		switch left := b.Max - b.Spent; {
		case b.Period.IsLocal():
			if b.Left != 2*b.Max-b.Spent {
				t.Errorf("%s: %+v", b.Period, b)
			}
		case b.Period.IsInFlight():
			if b.Left != left {
				t.Errorf("%s: %+v", b.Period, b)
			}
		case b.Start != 0 || b.Left > left || b.Left+b.Elsewhere != left:
			t.Errorf("%s: %+v", b.Period, b)
		}
		one, err := c.Limiter(0).Budget(t.Context(), b.Budget)
		if err != nil || one.Budgets[0].Spent != b.Spent {
			t.Errorf("%s: %+v, %v", b.Period, one, err)
		}
		if _, err := c.Limiter(0).TopUp(t.Context(), op(1), b.Budget, 1); !errors.Is(err, limiter.ErrUnchangeable) {
			t.Errorf("%s is changed: %v", b.Period, err)
		}
	}
}

// TestTopUpOutlivesRestart: a process that ends and comes back on its file knows
// what was granted before.
func TestTopUpOutlivesRestart(t *testing.T) {
	dir, now := t.TempDir(), frozen()
	change := func(i int, cfg *limiter.Config) {
		cfg.Now, cfg.Cells = now, filepath.Join(dir, fmt.Sprint(i))
	}
	c := inprocess.New(2, change)
	t.Cleanup(c.Close)
	lim := perMinute(6)
	if n := take(t, c, 2, lim, 12); n != 6 {
		t.Fatal(n)
	}
	b := only(t, c, 0, limiter.BudgetQuery{}).Budget
	if _, err := c.Limiter(0).TopUp(t.Context(), op(1), b, 4); err != nil {
		t.Fatal(err)
	}
	admitted := take(t, c, 2, lim, 2)
	for node := range 2 {
		c.Stop(node)
		c.Start(node, change)
	}
	for until := time.Now().Add(20 * time.Second); admitted < 4 && time.Now().Before(until); {
		admitted += take(t, c, 2, lim, 2)
	}
	if admitted += take(t, c, 2, lim, 6); admitted != 4 {
		t.Errorf("%d admitted of 4 granted", admitted)
	}
}

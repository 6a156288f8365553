package limiter_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/inprocess"
	"github.com/sluicegate/sluice/limiter/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frozen is a wall clock in the middle of a minute, so that no window of it
// turns within a test, whatever the time.
func frozen() func() time.Time {
	start, real := time.Date(2026, 6, 15, 12, 0, 20, 0, time.UTC), time.Now()
	return func() time.Time { return start.Add(time.Since(real)) }
}

// patience is how long requests wait for tokens of other nodes: on a machine that is
// busy with other tests these answer late, and a refusal would be right.
const patience = 500 * time.Millisecond

// cluster starts nodes whose clocks are frozen() and ends them with the test.
func cluster(t testing.TB, nodes int, change func(int, *limiter.Config)) *inprocess.Cluster {
	t.Helper()
	now := frozen()
	c := inprocess.New(nodes, func(i int, cfg *limiter.Config) {
		cfg.Now = now
		cfg.MaxWait = patience
		if change != nil {
			change(i, cfg)
		}
	})
	t.Cleanup(c.Close)
	return c
}

func perMinute(n int64) *limiter.Limit {
	l := &limiter.Limit{ID: "l", Version: 1, FaultTolerant: true, Rates: []limiter.Rate{{Period: limiter.Minute, Max: n}}}
	l.Prepare()
	return l
}

// take takes n times, on the nodes in turn, and says how often it may.
func take(t *testing.T, c *inprocess.Cluster, nodes int, lim *limiter.Limit, n int) (admitted int) {
	t.Helper()
	for i := range n {
		d := c.Limiter(i%nodes).Take(t.Context(), lim, "key")
		if d.Err != nil {
			t.Fatalf("request %d: %v", i, d.Err)
		}
		if d.Admitted {
			admitted++
		}
	}
	return admitted
}

// TestAcrossNodes: a cluster just born admits the limit, to the token, and says
// what remains on every node.
func TestAcrossNodes(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(5)
	for i := range 5 {
		d := c.Limiter(i%3).Take(t.Context(), lim, "key")
		if !d.Admitted || d.Err != nil {
			t.Fatalf("request %d: %+v", i, d)
		}
		if d.Reset[0] < 1 || d.Reset[0] > 40 {
			t.Errorf("reset in %d s", d.Reset[0])
		}
	}
	if n := take(t, c, 3, lim, 9); n != 0 {
		t.Errorf("%d more than the limit", n)
	}
	d := c.Limiter(1).Take(t.Context(), lim, "key")
	if d.Refused != 0 || d.Remaining[0] != 0 {
		t.Errorf("refused: %+v", d)
	}
	if n := take(t, c, 3, &limiter.Limit{ID: "other", Version: 1, Rates: lim.Rates}, 9); n != 5 {
		t.Errorf("another limit admits %d", n)
	}
}

// TestManyAtOnce: a hundred clients over three nodes get all of a budget and no
// more, however they race.
func TestManyAtOnce(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(1000)
	var mu sync.Mutex
	admitted := 0
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			n := 0
			for range 20 {
				if c.Limiter(i%3).Take(t.Context(), lim, "key").Admitted {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			admitted += n
		})
	}
	clients.Wait()
	if admitted != 1000 {
		t.Errorf("admitted %d of 1000", admitted)
	}
}

// TestRestart: a process that ends and comes back on its file goes on with what
// it had: nothing is refunded, nothing lost.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	now := frozen()
	change := func(i int, cfg *limiter.Config) {
		cfg.Now, cfg.Cells = now, filepath.Join(dir, string(rune('a'+i)))
	}
	c := inprocess.New(2, change)
	t.Cleanup(c.Close)
	lim := perMinute(200)
	admitted := take(t, c, 2, lim, 120)
	for node := range 2 {
		c.Stop(node)
		c.Start(node, change)
	}
	// A node that is not up yet when it is asked is taken for lost for a while.
	for until := time.Now().Add(20 * time.Second); admitted < 200 && time.Now().Before(until); {
		admitted += take(t, c, 2, lim, 20)
	}
	if admitted += take(t, c, 2, lim, 20); admitted != 200 {
		t.Errorf("admitted %d of 200", admitted)
	}
}

// TestRestartWithoutLeader: on its file, a process goes on at once, before it has
// heard of anybody.
func TestRestartWithoutLeader(t *testing.T) {
	dir := t.TempDir()
	now := frozen()
	change := func(i int, cfg *limiter.Config) {
		cfg.Now, cfg.Cells = now, filepath.Join(dir, string(rune('a'+i)))
	}
	c := inprocess.New(2, change)
	t.Cleanup(c.Close)
	lim := perMinute(1 << 30)
	for begun := time.Now(); time.Since(begun) < 300*time.Millisecond; {
		take(t, c, 1, lim, 10) // so often that the node keeps some in advance
	}
	used := &limiter.Limit{ID: "used", Version: 1, Rates: []limiter.Rate{{Period: limiter.Minute, Max: 1}}}
	take(t, c, 1, used, 3)
	c.Lead(-1)
	c.Stop(1)
	c.Stop(0)
	c.Start(0, change)
	if d := c.Limiter(0).Take(t.Context(), lim, "key"); !d.Admitted {
		t.Errorf("the tokens of before: %+v", d)
	}
	if d := c.Limiter(0).Take(t.Context(), used, "key"); d.Admitted || d.Err != nil {
		t.Errorf("what was used up: %+v", d)
	}
}

// TestLostFile: a process without its file has lost what it held, and gets no
// second share.
func TestLostFile(t *testing.T) {
	c := cluster(t, 2, nil)
	lim := perMinute(50)
	admitted := take(t, c, 2, lim, 30)
	c.Stop(1)
	c.Start(1, nil)
	if admitted += take(t, c, 2, lim, 60); admitted > 50 {
		t.Errorf("admitted %d of 50", admitted)
	}
}

// TestWithoutQuorum: budgets that are known go on without a leader; a window
// that begins without one is divided among those who were there, if the limit
// tolerates faults, and refused otherwise.
func TestWithoutQuorum(t *testing.T) {
	c := cluster(t, 2, nil)
	second := &limiter.Limit{ID: "s", Version: 1, FaultTolerant: true, Rates: []limiter.Rate{{Period: limiter.Second, Max: 10}}}
	strict := &limiter.Limit{ID: "strict", Version: 1, Rates: second.Rates}
	if d := c.Limiter(0).Take(t.Context(), second, "key"); !d.Admitted {
		t.Fatalf("with a leader: %+v", d)
	}
	c.Lead(-1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !errors.Is(c.Limiter(0).Take(ctx, strict, "key").Err, limiter.ErrNoQuorum) {
		if ctx.Err() != nil {
			t.Fatal("a limit that tolerates no fault goes on without a quorum")
		}
	}
	d := c.Limiter(0).Take(ctx, second, "key")
	for range 3 { // the second may turn
		if d.Admitted {
			break
		}
		d = c.Limiter(0).Take(ctx, second, "key")
	}
	if !d.Admitted || !d.Degraded {
		t.Errorf("tolerant: %+v", d)
	}
	c.Lead(1)
	for d = c.Limiter(0).Take(ctx, strict, "key"); !d.Admitted; d = c.Limiter(0).Take(ctx, strict, "key") {
		if ctx.Err() != nil {
			t.Fatalf("with a leader again: %+v", d)
		}
	}
}

// TestCutOff: a node that cannot reach the others is refused their tokens, and
// they its; together they stay within the limit.
func TestCutOff(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := perMinute(30)
	admitted := take(t, c, 3, lim, 6)
	c.Cut(2, true)
	for range 40 {
		for node := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if c.Limiter(node).Take(ctx, lim, "key").Admitted {
				admitted++
			}
			cancel()
		}
	}
	c.Cut(2, false)
	admitted += take(t, c, 3, lim, 60)
	if admitted > 30 {
		t.Errorf("admitted %d of 30", admitted)
	}
}

// TestClose: requests that wait end with ErrClosed, as do later ones.
func TestClose(t *testing.T) {
	synctest.Test(t, testClose)
}

func testClose(t *testing.T) {
	l := limiter.New(limiter.Config{
		Node: "n1", Peers: alone{}, Log: alone{}, Secret: func() (string, bool) { return "", false },
	})
	got := make(chan error)
	go func() { got <- l.Take(context.Background(), perMinute(5), "key").Err }()
	synctest.Wait()
	l.Close()
	if err := <-got; !errors.Is(err, limiter.ErrClosed) {
		t.Errorf("waiting: %v", err)
	}
	if err := l.Take(context.Background(), perMinute(5), "key").Err; !errors.Is(err, limiter.ErrClosed) {
		t.Errorf("later: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Take(ctx, perMinute(5), "key").Err; err == nil {
		t.Error("no error")
	}
}

// alone is a node that never learns of its cluster.
type alone struct{}

func (alone) CallLeader(context.Context, []byte) ([]byte, error) {
	return nil, inprocess.ErrUnreachable
}
func (alone) CallNode(context.Context, string, []byte) ([]byte, error) {
	return nil, inprocess.ErrUnreachable
}
func (alone) IsLeader() bool  { return false }
func (alone) HasLeader() bool { return false }
func (alone) Commit(context.Context, *ledger.Entry) (*ledger.Outcome, error) {
	return nil, inprocess.ErrUnreachable
}
func (alone) Ledger() *ledger.Ledger          { return ledger.New() }
func (alone) Known() (int64, *ledger.Rosters) { return 0, &ledger.Rosters{} }

// TestMalformedCalls: nonsense from the network is refused, and changes nothing.
func TestMalformedCalls(t *testing.T) {
	c := cluster(t, 1, nil)
	if n := take(t, c, 1, perMinute(5), 2); n != 2 {
		t.Fatal(n)
	}
	for _, body := range [][]byte{nil, {0}, {2}, {2, 9}, {3, 1, 2}, {9}} {
		if _, err := c.Limiter(0).ServeLeader(t.Context(), body); err == nil {
			t.Errorf("the leader answers %x", body)
		}
		if _, err := c.Limiter(0).ServeNode(t.Context(), body); err == nil {
			t.Errorf("the node answers %x", body)
		}
	}
	if n := take(t, c, 1, perMinute(5), 9); n != 3 {
		t.Errorf("%d of 3 left", n)
	}
}

// TestInFlight: so many requests are admitted as the limit says, on all nodes
// together, and others when those are done.
func TestInFlight(t *testing.T) {
	c := cluster(t, 3, nil)
	lim := &limiter.Limit{ID: "flights", Version: 1, Rates: []limiter.Rate{{Period: limiter.InFlight, Max: 4}}}
	lim.Prepare()
	if n := take(t, c, 3, lim, 12); n != 4 {
		t.Fatalf("%d of 4 are admitted", n)
	}
	for i := range 4 { // on the nodes that had them
		c.Limiter(i%3).Done(lim, "key")
	}
	if n := take(t, c, 1, lim, 12); n != 4 {
		t.Errorf("then %d of 4, on one node", n)
	}
}

// TestLeaveIsForGood: a node that has given its shares up does not ask for new
// ones while it goes on for a moment.
func TestLeaveIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(t, 3, nil)
		in := func() (found bool) {
			for _, m := range c.Ledger().Rosters().Last().Members {
				found = found || m.Node == "n3"
			}
			return found
		}
		for end := time.Now().Add(10 * time.Second); !in(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the node never joined")
			}
		}
		if err := c.Limiter(2).Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if in() {
				t.Fatal("the node has shares again")
			}
		}
	})
}

// TestLeaveHandsOver: nothing is lost with a node that leaves.
func TestLeaveHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(t, 3, nil)
		lim := perMinute(1000)
		spend := func(node int) bool {
			time.Sleep(time.Millisecond)
			return c.Limiter(node).Take(t.Context(), lim, "key").Admitted
		}
		admitted := 0
		for ; admitted < 100 && spend(2); admitted++ {
		}
		if err := c.Limiter(2).Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Stop(2)
		for spend(admitted % 2) {
			admitted++
		}
		if admitted != 1000 {
			t.Errorf("%d of 1000 admitted", admitted)
		}
	})
}

// TestSlidingAtOnce: a sliding limit that is created in a cluster just born waits
// for everybody to have a share, and then admits all.
func TestSlidingAtOnce(t *testing.T) {
	c := cluster(t, 3, nil)
	for deadline := time.Now().Add(10 * time.Second); len(c.Ledger().Rosters().Last().Members) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("three nodes have not joined")
		}
	}
	p, _ := limiter.Sliding(60)
	lim := &limiter.Limit{ID: "slide", Version: 1, Since: c.Ledger().Settled(), Rates: []limiter.Rate{{Period: p, Max: 5}}}
	lim.Prepare()
	if n := take(t, c, 3, lim, 8); n != 5 {
		t.Errorf("%d of 5 are admitted", n)
	}
}

// tardy answers calls to the leader late: what they bring is known through the log
// before they are over.
type tardy struct{ limiter.Peers }

func (p tardy) CallLeader(ctx context.Context, body []byte) ([]byte, error) {
	answer, err := p.Peers.CallLeader(ctx, body)
	time.Sleep(tardiness)
	return answer, err
}

const tardiness = 10 * time.Millisecond

// TestNothingIsLostBehindACall: what is to be asked while a call is under way is
// asked as soon as that is over, and not when it is found to be overdue.
func TestNothingIsLostBehindACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(t, 2, func(_ int, cfg *limiter.Config) { cfg.Peers = tardy{cfg.Peers} })
		lim := &limiter.Limit{ID: "l", Version: 1, Rates: []limiter.Rate{{Period: limiter.Hour, Max: 5}}}
		if d := c.Limiter(1).Take(t.Context(), lim, "first"); !d.Admitted {
			t.Fatalf("%+v", d)
		}
		const requests = 40
		start := time.Now()
		for i := range requests {
			if d := c.Limiter(1).Take(t.Context(), lim, strconv.Itoa(i)); !d.Admitted {
				t.Fatalf("request %d: %+v", i, d)
			}
		}
		if took := time.Since(start); took > requests*2*tardiness {
			t.Errorf("%d requests took %v", requests, took)
		}
	})
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicegate/sluice/cluster/memnet"
	"github.com/sluicegate/sluice/fsm"
)

// lab is a cluster in virtual time on a network in memory. Hosts are 10.0.0.1
// and so on.
type lab struct {
	t     *testing.T
	net   *memnet.Net
	nodes []*Node
}

func host(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }

// start opens a node on its host with the clocks of production.
func (l *lab) start(i int, change func(*Config)) *Node {
	l.t.Helper()
	conf := config(l.t, l.t.TempDir())
	conf.Timing = Timing{Commit: 100 * time.Millisecond} // idle virtual time costs real messages
	conf.Snapshot = SnapshotPolicy{}
	conf.Network, conf.Insecure = l.net.Host(host(i)), true
	conf.Listen = host(i) + ":8005"
	conf.NodeName = fmt.Sprintf("n%d", i)
	if change != nil {
		change(&conf)
	}
	n, err := Open(l.t.Context(), conf)
	if err != nil {
		l.t.Fatalf("open %s: %v", conf.NodeName, err)
	}
	l.nodes = append(l.nodes, n)
	return n
}

func (l *lab) stop() {
	l.net.Heal()
	for _, n := range l.nodes {
		if err := n.Shutdown(context.Background()); err != nil {
			l.t.Errorf("shutdown of %s: %v", n.Name(), err)
		}
	}
	// Virtual time stands still once the test returns, and gossip's probes end
	// with their own timeouts.
	time.Sleep(time.Minute)
}

// inLab runs a test in virtual time.
func inLab(t *testing.T, f func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, net: memnet.New(1)}
		defer l.stop()
		f(t, l)
	})
}

// expecting makes a node one of so many that form a cluster.
func expecting(count int) func(*Config) {
	return func(c *Config) {
		c.Expect = count
		for i := range count {
			c.Join = append(c.Join, host(i)+":8005")
		}
	}
}

func TestExpectFormsOneCluster(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		l.net.Lose(0.05)
		for i := range 5 { // more than expected, all with the same line
			l.start(i, expecting(3))
		}
		waitLeader(t, l.nodes...)
		id := ""
		eventually(t, func() error {
			for _, n := range l.nodes {
				status := n.Status()
				if id == "" {
					id = status.ClusterID
				}
				if status.ClusterID != id || id == "" || n.Voters() != 5 {
					return fmt.Errorf("%s: cluster %q, %d voters", n.Name(), status.ClusterID, n.Voters())
				}
			}
			return nil
		})
	})
}

func TestPartition(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		for i := range 3 {
			l.start(i, expecting(3))
		}
		old := waitLeader(t, l.nodes...)
		put(t, old, "before")

		var minority string
		var majority []string
		var rest []*Node
		for i, n := range l.nodes {
			if n == old {
				minority = host(i)
			} else {
				majority, rest = append(majority, host(i)), append(rest, n)
			}
		}
		put(t, rest[0], "on a connection that stays open")
		l.net.Partition([]string{minority}, majority)
		// This goes to the leader that is cut off, and is done by the next one.
		start := time.Now()
		if r, err := rest[0].Apply(t.Context(), create("held")); err != nil || r.Err != nil {
			t.Errorf("write while the leader is cut off: %v, %v", r, err)
		}
		if waited := time.Since(start); waited >= rest[0].conf.Timing.Hold { // virtual
			t.Errorf("write while the leader is cut off: took %s", waited)
		}
		next := waitLeader(t, rest...)
		put(t, next, "during")

		_, err := old.Apply(t.Context(), create("lost"))
		var none *NoQuorumError
		if !errors.As(err, &none) || none.Reachable != 1 || none.Voters != 3 {
			t.Errorf("write without a quorum: %v (%+v)", err, none)
		}
		if err != nil && err.Error() != "no leader: 1 of 3 voters reachable; writes need 2" {
			t.Errorf("message: %v", err)
		}
		if !has(old, "before") {
			t.Error("the cut-off node lost its configuration")
		}
		status := old.Status()
		if status.Quorum || len(status.Nodes) != 3 {
			t.Errorf("status without a quorum: %+v", status)
		}

		time.Sleep(15 * time.Second) // virtual: gossip has given up long ago
		l.net.Heal()
		waitLeader(t, l.nodes...)
		holds(t, old, "during")
		eventually(t, func() error {
			for _, node := range old.Status().Nodes {
				if node.State != StateAlive {
					return fmt.Errorf("%s is %s", node.Name, node.State)
				}
			}
			return nil
		})
		for _, n := range l.nodes {
			if n.Voters() != 3 {
				t.Errorf("%s: a partition changed the members: %d voters", n.Name(), n.Voters())
			}
		}
	})
}

func TestVotersAreCapped(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		capped := func(c *Config) {
			expecting(3)(c)
			c.MaxVoters = 3
		}
		for i := range 3 {
			l.start(i, capped)
		}
		waitLeader(t, l.nodes...)
		for i := 3; i < 7; i++ {
			l.start(i, func(c *Config) {
				c.MaxVoters = 3
				c.Join = []string{host(0)}
			})
		}
		eventually(t, func() error {
			for _, n := range l.nodes {
				if s := n.Stats(); s.Voters != 3 || s.Nonvoters != 4 || s.Members != 7 {
					return fmt.Errorf("%s: %+v", n.Name(), s)
				}
			}
			return nil
		})
		if got := l.nodes[6].Stats().FailureTolerance; got != 1 {
			t.Errorf("failure tolerance %d, want 1", got)
		}
		index := put(t, l.nodes[6], "from a non-voter")
		if late, err := l.nodes[5].WaitAll(t.Context(), index); err != nil || len(late) > 0 {
			t.Errorf("late: %v, %v", late, err)
		}

		// A dead voter keeps its place until somebody removes it.
		leader := waitLeader(t, l.nodes...)
		var dead *Node
		var rest []*Node
		for _, n := range l.nodes {
			if dead == nil && n != leader && voterIn(n.servers(), n.id) {
				dead = n
				continue
			}
			rest = append(rest, n)
		}
		if err := leader.Remove(t.Context(), dead.ID()); !errors.Is(err, ErrAlive) {
			t.Errorf("removal of a live node: %v", err)
		}
		crash(t, dead)
		time.Sleep(15 * time.Second) // virtual: gossip knows by now
		if got := leader.Stats(); got.Voters != 3 || got.Nonvoters != 4 || got.FailureTolerance != 0 {
			t.Errorf("gossip changed the members: %+v", got)
		}
		if err := rest[len(rest)-1].Remove(t.Context(), dead.ID()); err != nil {
			t.Fatalf("remove: %v", err)
		}
		eventually(t, func() error {
			if s := leader.Stats(); s.Voters != 3 || s.Nonvoters != 3 || s.FailureTolerance != 1 {
				return fmt.Errorf("no non-voter took the place: %+v", s)
			}
			return nil
		})
		put(t, rest[0], "after")
		if err := leader.Remove(t.Context(), dead.ID()); !errors.Is(err, ErrUnknownNode) {
			t.Errorf("removal of nobody: %v", err)
		}
	})
}

// A silent connection is ended when its time is over.
func TestSilentConnectionsEnd(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		n := l.start(0, nil)
		conn, err := l.net.Host(host(1)).Dial(t.Context(), n.Address())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(2 * handshakeTimeout)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read: %v, want the end", err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Nodes are cut off and crashed at random while all of them write. Whatever was
// acknowledged is there in the end, once.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) { storm(t, l, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func storm(t *testing.T, l *lab, rng *rand.Rand) {
	l.net.Lose(0.02)
	for i := range 3 {
		l.start(i, expecting(3))
	}
	waitLeader(t, l.nodes...)
	nodes := slices.Clone(l.nodes) // the newest on each host
	var mu sync.Mutex
	acknowledged, maybe := map[string]uint64{}, map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for k := 0; pause(ctx, 100*time.Millisecond); k++ {
				mu.Lock()
				n := nodes[i]
				mu.Unlock()
				name := fmt.Sprintf("n%d-%d", i, k)
				result, err := n.Apply(ctx, create(name))
				mu.Lock()
				if err != nil {
					maybe[name] = true
				} else if acknowledged[name] = result.Index; result.Err != nil {
					t.Errorf("%s: %v", name, result.Err)
				}
				mu.Unlock()
			}
		})
	}
	for range 5 {
		victim := rng.IntN(3)
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		if rng.IntN(2) == 0 {
			l.net.Partition([]string{host(victim)}, []string{host((victim + 1) % 3), host((victim + 2) % 3)})
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
			l.net.Heal()
			continue
		}
		old := nodes[victim]
		crash(t, old)
		again := l.start(victim, func(c *Config) {
			expecting(3)(c)
			c.DataDir = old.conf.DataDir
		})
		mu.Lock()
		nodes[victim] = again
		mu.Unlock()
	}
	cancel()
	wg.Wait()
	l.net.Lose(0)
	leader := waitLeader(t, nodes...)
	index := put(t, leader, "end")
	if len(acknowledged) < 10 {
		t.Fatalf("only %d writes were acknowledged: the test proves nothing", len(acknowledged))
	}
	for _, n := range nodes {
		if err := n.WaitServed(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		view := n.conf.Machine.View()
		for name, at := range acknowledged {
			if e := view.Lookup("consumers", name); e == nil || e.CreateIndex != at {
				t.Errorf("%s: %s is %+v, acknowledged at %d", n.Name(), name, e, at)
			}
		}
		for e := range view.All("consumers") {
			name := e.Value.(*fsm.Consumer).Username
			if _, ok := acknowledged[name]; !ok && !maybe[name] && name != "end" {
				t.Errorf("%s: %s came from nowhere", n.Name(), name)
			}
		}
	}
}

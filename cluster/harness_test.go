package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

// patience bounds every wait of these tests. It is not how long anything takes,
// but how long a busy machine may take before the test gives up.
const patience = slower * 20 * time.Second

// quick are clocks for nodes on one machine that is busy with other things too.
func quick() Timing {
	return Timing{
		Heartbeat: slower * 250 * time.Millisecond, Election: slower * 250 * time.Millisecond, Lease: slower * 200 * time.Millisecond,
		Commit: 5 * time.Millisecond, Probe: 200 * time.Millisecond, ProbeTimeout: 150 * time.Millisecond,
		Gossip: 40 * time.Millisecond, Sync: 2 * time.Second, Rejoin: 200 * time.Millisecond,
		Call: slower * 5 * time.Second, Hold: slower * 5 * time.Second,
	}
}

func config(t testing.TB, dir string) Config {
	t.Helper()
	machine, err := fsm.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := zap.NewNop()
	if testing.Verbose() {
		// Not the test's own log: gossip's probes may end after the test.
		log = zap.Must(zap.NewDevelopment(zap.IncreaseLevel(zap.InfoLevel)))
	}
	return Config{DataDir: dir, Listen: "127.0.0.1:0", Timing: quick(), Machine: machine, Logger: log, noSync: true,
		Snapshot: SnapshotPolicy{Quiet: 50 * time.Millisecond, Longest: 200 * time.Millisecond}}
}

// open starts a node that the end of the test shuts down.
func open(t testing.TB, conf Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), conf)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return n
}

// crash stops a node as a kill does: nothing is handed over, nobody is told.
func crash(t testing.TB, n *Node) {
	t.Helper()
	n.closeOnce.Do(func() { n.closeErr = n.teardown() })
	if n.closeErr != nil {
		t.Fatalf("crash: %v", n.closeErr)
	}
}

func shutdown(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Shutdown(context.Background()); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
}

// openCluster starts a cluster of so many voters.
func openCluster(t testing.TB, count int) []*Node {
	t.Helper()
	nodes := []*Node{open(t, config(t, t.TempDir()))}
	waitLeader(t, nodes...)
	for range count - 1 {
		conf := config(t, t.TempDir())
		conf.Join = []string{nodes[0].Address()}
		nodes = append(nodes, open(t, conf))
	}
	eventually(t, func() error {
		for _, n := range nodes {
			if n.Voters() != count || !n.HasLeader() {
				return fmt.Errorf("%s sees %d voters, leader %q", n.Name(), n.Voters(), n.leaderID())
			}
		}
		return nil
	})
	return nodes
}

// eventually polls until check gives nil.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: %v", patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// waitLeader gives the node that leads, once all agree on it.
func waitLeader(t testing.TB, nodes ...*Node) *Node {
	t.Helper()
	var leader *Node
	eventually(t, func() error {
		leader = nil
		for _, n := range nodes {
			if n.IsLeader() {
				leader = n
			}
		}
		if leader == nil {
			return fmt.Errorf("no leader")
		}
		for _, n := range nodes {
			if n.leaderID() != leader.ID() {
				return fmt.Errorf("%s follows %q, %s leads", n.Name(), n.leaderID(), leader.Name())
			}
		}
		return nil
	})
	return leader
}

// writer makes a command that creates a consumer of a name.
func create(name string) *fsm.Command {
	id := uuid.NewString()
	raw, err := json.Marshal(map[string]any{"id": id, "username": name})
	if err != nil {
		panic(err) // strings encode
	}
	return fsm.NewWrite(uuid.NewString(), 0, fsm.Op{Verb: fsm.Create, Kind: "consumers", ID: id, Raw: raw})
}

// put creates a consumer through a node and gives the index.
func put(t testing.TB, n *Node, name string) uint64 {
	t.Helper()
	result, err := n.Apply(t.Context(), create(name))
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	if result.Err != nil {
		t.Fatalf("create %s: %v", name, result.Err)
	}
	return result.Index
}

func has(n *Node, name string) bool {
	return n.conf.Machine.View().Lookup("consumers", name) != nil
}

// holds waits until a node has a consumer.
func holds(t testing.TB, n *Node, name string) {
	t.Helper()
	eventually(t, func() error {
		if !has(n, name) {
			return fmt.Errorf("%s does not have %s", n.Name(), name)
		}
		return nil
	})
}

func contains(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error is more than one line: %q", err)
	}
}

// TestMain fails if goroutines outlive the tests by long. Gossip's probes and
// exchanges end with their own timeouts, and raft never answers a future whose
// entry was committed while it stopped.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		leaked := goleak.Find(goleak.IgnoreAnyFunction("github.com/sluicegate/sluice/cluster.(*Node).await.func1"))
		for end := time.Now().Add(patience); leaked != nil && time.Now().Before(end); {
			leaked = goleak.Find(goleak.IgnoreAnyFunction("github.com/sluicegate/sluice/cluster.(*Node).await.func1"))
		}
		if leaked != nil {
			fmt.Fprintln(os.Stderr, leaked)
			code = 1
		}
	}
	os.Exit(code)
}

func logEntry(index uint64, data []byte) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}
}

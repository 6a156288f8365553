package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/sluicegate/sluice/fsm"
)

// dirs starts a cluster of three whose data directories outlive their nodes.
func dirs(t *testing.T) (nodes []*Node, paths []string) {
	t.Helper()
	nodes = openCluster(t, 3)
	for _, n := range nodes {
		paths = append(paths, n.conf.DataDir)
	}
	return nodes, paths
}

// saved waits until a node's snapshot on disk holds all changes.
func saved(t *testing.T, n *Node) {
	t.Helper()
	eventually(t, func() error {
		if want, got := n.conf.Machine.ConfigIndex(), n.state.persisted.Load(); got < want {
			return fmt.Errorf("%s: snapshot of %d, state of %d", n.Name(), got, want)
		}
		return nil
	})
}

// A power cut takes all three; the first one back has no quorum and must serve
// what it knew.
func TestLoneRestartServesTheLastChange(t *testing.T) {
	t.Parallel()
	nodes, paths := dirs(t)
	put(t, nodes[0], "last")
	for _, n := range nodes {
		holds(t, n, "last")
		saved(t, n)
	}
	for _, n := range nodes {
		crash(t, n)
	}
	conf := config(t, paths[1])
	conf.Timing.Hold = 200 * time.Millisecond
	lone := open(t, conf)
	if !has(lone, "last") {
		t.Fatal("the last change is not there when Open returns")
	}
	_, err := lone.Apply(t.Context(), create("refused"))
	var none *NoQuorumError
	if !errors.As(err, &none) || none.Reachable != 1 || none.Voters != 3 || none.Sent {
		t.Errorf("write without a quorum: %v", err)
	}
	if status := lone.Status(); status.Quorum || status.ClusterID == "" || len(status.Nodes) != 3 {
		t.Errorf("status: %+v", status)
	}
	if s := lone.Stats(); s.FailureTolerance != -1 || s.Voters != 3 {
		t.Errorf("stats: %+v", s)
	}
}

// Containers come back with new addresses; one is told where another is.
func TestAllRestartOnNewPorts(t *testing.T) {
	t.Parallel()
	nodes, paths := dirs(t)
	put(t, nodes[0], "kept")
	for _, n := range nodes {
		holds(t, n, "kept")
	}
	for _, n := range nodes {
		crash(t, n)
	}
	var again []*Node
	for i, path := range paths {
		conf := config(t, path)
		if i > 0 {
			conf.Join = []string{again[0].Address()}
		}
		n := open(t, conf)
		if n.Address() == nodes[i].Address() {
			t.Fatalf("%s came back at its old address", n.Name())
		}
		again = append(again, n)
	}
	waitLeader(t, again...)
	index := put(t, again[2], "new")
	if late, err := again[1].WaitAll(t.Context(), index); err != nil || len(late) > 0 {
		t.Errorf("late: %v, %v", late, err)
	}
	for _, n := range again {
		if !has(n, "kept") || !has(n, "new") {
			t.Errorf("%s lost a change", n.Name())
		}
		if n.Voters() != 3 {
			t.Errorf("%s: %d voters", n.Name(), n.Voters())
		}
	}
}

// A restarted node needs nothing new: it remembers the others' addresses.
func TestRestartWithoutJoin(t *testing.T) {
	t.Parallel()
	nodes, paths := dirs(t)
	put(t, nodes[0], "before")
	eventually(t, func() error { // the addresses are written once a round
		if got := len(nodes[2].data.readMembers()); got != 3 {
			return fmt.Errorf("%d members remembered", got)
		}
		return nil
	})
	shutdown(t, nodes[2])
	put(t, nodes[0], "while away")
	again := open(t, config(t, paths[2]))
	holds(t, again, "while away")
	put(t, again, "after")
}

// More entries than raft's channels hold, none of them in a snapshot.
func TestRestartWithManyEntries(t *testing.T) {
	t.Parallel()
	const entries = 8300
	dir := t.TempDir()
	conf := config(t, dir)
	conf.Snapshot.Quiet, conf.Snapshot.Longest = time.Hour, time.Hour
	n := open(t, conf)
	waitLeader(t, n)
	eventually(t, func() error {
		if conf.Machine.ClusterID() == "" {
			return errors.New("no cluster id")
		}
		return nil
	})
	data, err := fsm.NewWrite("", 0).Encode()
	if err != nil {
		t.Fatal(err)
	}
	const writers = 100 // many at once share a write to disk
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range entries / writers {
				if err := n.raft.Apply(data, 0).Error(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	index := put(t, n, "last")
	crash(t, n)

	if found, err := filepath.Glob(filepath.Join(dir, "cluster", dirSnapshots, "*")); err != nil || len(found) > 0 {
		t.Fatalf("a snapshot was taken: the test proves nothing (%v, %v)", found, err)
	}
	again := open(t, config(t, dir))
	waitLeader(t, again)
	holds(t, again, "last")
	if got := again.conf.Machine.Index(); got < index {
		t.Errorf("index %d, want %d", got, index)
	}
	put(t, again, "more")
}

func TestWriteStormAcrossALeaderCrash(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 3)
	leader := waitLeader(t, nodes...)
	var survivors []*Node
	for _, n := range nodes {
		if n != leader {
			survivors = append(survivors, n)
		}
	}
	const writers, each = 8, 30
	var mu sync.Mutex
	acknowledged := map[string]uint64{} // name -> index
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("w%d-%d", w, i)
				result, err := survivors[w%2].Apply(t.Context(), create(name))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				// A primary key violation here would be a write done twice.
				if result.Err != nil {
					t.Errorf("%s: %v", name, result.Err)
				}
				mu.Lock()
				acknowledged[name] = result.Index
				count := len(acknowledged)
				mu.Unlock()
				if count == writers*each/3 {
					crash(t, leader)
				}
			}
		})
	}
	wg.Wait()
	waitLeader(t, survivors...)
	if len(acknowledged) != writers*each {
		t.Fatalf("%d writes acknowledged, want %d", len(acknowledged), writers*each)
	}
	for _, n := range survivors {
		for name, index := range acknowledged {
			if err := n.WaitServed(t.Context(), index); err != nil {
				t.Fatal(err)
			}
			e := n.conf.Machine.View().Lookup("consumers", name)
			if e == nil || e.CreateIndex != index {
				t.Errorf("%s: %s is %+v, acknowledged at %d", n.Name(), name, e, index)
			}
		}
		total := 0
		for range n.conf.Machine.View().All("consumers") {
			total++
		}
		if total != writers*each {
			t.Errorf("%s holds %d consumers, want %d", n.Name(), total, writers*each)
		}
	}
}

// A disk that was wiped is another node, even at the same address.
func TestWipedNodeJoinsUnderANewID(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 3)
	put(t, nodes[0], "kept")
	address := nodes[2].Address()
	crash(t, nodes[2])
	conf := config(t, t.TempDir())
	conf.Listen, conf.Join = address, []string{nodes[0].Address()}
	wiped := open(t, conf)
	if wiped.ID() == nodes[2].ID() {
		t.Fatal("the id survived the wipe")
	}
	holds(t, wiped, "kept")
	eventually(t, func() error {
		if got := wiped.Voters(); got != 4 {
			return fmt.Errorf("%d voters", got)
		}
		return nil
	})
	if err := wiped.Remove(t.Context(), nodes[2].ID()); err != nil {
		t.Fatalf("remove the old id: %v", err)
	}
	eventually(t, func() error {
		if got := nodes[1].Voters(); got != 3 {
			return fmt.Errorf("%d voters", got)
		}
		return nil
	})
	put(t, wiped, "new")
}

func TestFollowerFarBehindGetsASnapshot(t *testing.T) {
	t.Parallel()
	short := func(conf Config) Config {
		conf.Snapshot.TrailingLogs = 8
		conf.MaxVoters = 1 // the leader must not need the one that is away
		return conf
	}
	first := open(t, short(config(t, t.TempDir())))
	waitLeader(t, first)
	dir := t.TempDir()
	conf := short(config(t, dir))
	conf.Join = []string{first.Address()}
	behind := open(t, conf)
	put(t, first, "seen")
	holds(t, behind, "seen")
	crash(t, behind)

	for i := range 60 {
		put(t, first, fmt.Sprintf("missed-%d", i))
	}
	saved(t, first)
	eventually(t, func() error {
		oldest, err := first.data.log.FirstIndex()
		if err == nil && oldest <= behind.raft.LastIndex()+1 {
			err = fmt.Errorf("the log still begins at %d", oldest)
		}
		return err
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			put(t, first, fmt.Sprintf("meanwhile-%d", i))
		}
	})
	conf = short(config(t, dir))
	conf.Join = []string{first.Address()}
	again := open(t, conf)
	holds(t, again, "missed-59")
	close(stop)
	wg.Wait()
	index := put(t, first, "end")
	if late, err := first.WaitAll(t.Context(), index); err != nil || len(late) > 0 {
		t.Errorf("late: %v, %v", late, err)
	}
	if again.state.persisted.Load() == 0 {
		t.Error("no snapshot was installed: the test proves nothing")
	}
}

// dialer is a stream layer of a raft that does not listen.
type dialer struct {
	streams *raftStreams
	done    chan struct{}
	once    sync.Once
}

func (d *dialer) Accept() (net.Conn, error) { <-d.done; return nil, net.ErrClosed }
func (d *dialer) Close() error              { d.once.Do(func() { close(d.done) }); return nil }
func (d *dialer) Addr() net.Addr            { return serverAddr("nobody") }
func (d *dialer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return d.streams.Dial(to, timeout)
}

// A leader that stops in the middle of a snapshot leaves its follower reading.
func TestShutdownWhileASnapshotIsInstalled(t *testing.T) {
	t.Parallel()
	n := open(t, config(t, t.TempDir()))
	waitLeader(t, n)
	put(t, n, "kept")

	conf := config(t, t.TempDir())
	conf.Join = []string{n.Address()}
	follower := open(t, conf)
	holds(t, follower, "kept")
	layer := &dialer{streams: n.streams, done: make(chan struct{})}
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: layer, MaxPool: 1, Timeout: patience, Logger: n.raftLogger()})
	defer func() {
		if err := transport.Close(); err != nil {
			t.Error(err)
		}
	}()
	stalled, feed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		to := raft.ServerID(follower.ID())
		err := transport.InstallSnapshot(to, raft.ServerAddress(to), &raft.InstallSnapshotRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.ID()), Addr: []byte(n.ID())},
			Term:      1000, SnapshotVersion: 1, LastLogIndex: 1 << 20, LastLogTerm: 1000, Size: 1 << 30,
			Configuration: raft.EncodeConfiguration(raft.Configuration{Servers: n.servers()}),
		}, &raft.InstallSnapshotResponse{}, stalled)
		stalled.CloseWithError(err)
		ended <- err
	}()
	// More than the buffers between hold: when it is written, the follower is
	// reading.
	if _, err := feed.Write(bytes.Repeat([]byte("x"), 16<<20)); err != nil {
		t.Fatal(err)
	}
	if err := follower.Shutdown(context.Background()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the snapshot was installed: the test proves nothing")
	}
	if !has(follower, "kept") {
		t.Error("half a snapshot replaced the state")
	}
}

// A raft connection meant for another node ends before raft sees it.
func TestRaftConnectionForAnotherNodeIsRefused(t *testing.T) {
	t.Parallel()
	n := open(t, config(t, t.TempDir()))
	waitLeader(t, n)
	other := uuid.New()
	conn, err := n.mux.dial(t.Context(), n.Address(), streamRaft, other[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want the end", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

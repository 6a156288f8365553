// Package cluster makes nodes one cluster: gossip finds them, raft replicates
// the commands of package fsm, and calls between nodes carry the rest. All of
// it goes over one port.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// Node is this process's part of the cluster. All methods are safe for
// concurrent use.
type Node struct {
	conf Config
	log  *zap.Logger
	id   string
	name string

	data            *dataDir
	identityMu      sync.Mutex // guards data.node
	at              *advertised
	packets         net.PacketConn
	mux             *mux
	streams         *raftStreams
	calls           *streamQueue
	gossipTransport *gossipTransport
	dir             *directory
	gossip          *gossip
	state           *stateMachine
	raft            *raft.Raft
	entries         *cachedLog // of raft's log
	raftTransport   *raft.NetworkTransport
	server          *http.Server
	client          *client

	// ctx ends when the node stops; loops is everything that runs until then,
	// futures what waits for raft.
	ctx     context.Context
	stop    context.CancelFunc
	loops   sync.WaitGroup
	futures futures

	leaving   atomic.Bool
	closeOnce sync.Once
	closeErr  error

	handlersMu sync.RWMutex
	handlers   map[string]Handler

	leaderMoved *broadcast    // another leader, or none
	lookAfter   chan struct{} // wakes the membership loop
	tell        chan struct{} // wakes the gossip of metadata
	dirty       chan struct{} // wakes the snapshot loop

	failed   chan struct{} // closed when the node can be of no more use
	failOnce sync.Once
	failure  error // why; to be read after failed
	rotating sync.Mutex
	sealing  sealingNews

	writes  chan struct{} // one place for each write that waits here
	applies *applies
	commits *commits
	reach   reachability
	finding finder
}

// Open starts a node: it takes the data directory and the port, restores what
// the last snapshot holds, and begins to find the other nodes. It does not wait
// for a leader. The context bounds the start only.
//
// Each error is one sentence and wraps one of this package's: ErrInvalidConfig,
// ErrInsecure, ErrDataDir, ErrDataDirLocked, ErrCorruptData, ErrKeyMissing,
// ErrPortInUse, or a *ForeignClusterError. An Open that failed has lost nothing on disk.
func Open(ctx context.Context, conf Config) (*Node, error) {
	conf.setDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	n := &Node{conf: conf, log: conf.Logger, handlers: map[string]Handler{},
		leaderMoved: newBroadcast(),
		lookAfter:   make(chan struct{}, 1), tell: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
		failed: make(chan struct{}),
		writes: make(chan struct{}, maxWrites), applies: newApplies(), commits: newCommits(), reach: reachability{turn: make(chan struct{}, 1)}}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.dir = newDirectory(func() { wake(n.lookAfter) })
	for name, h := range conf.Handlers {
		n.handlers[name] = h
	}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.teardown())
	}
	return n, nil
}

// start brings up the parts in the order in which they need each other.
func (n *Node) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		n.openData, n.openPort, n.startRaft, n.startGossip, n.serve, n.bootstrapAlone, n.greetSeeds,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, loop := range []func(){n.membershipLoop, n.tellLoop, n.leadershipLoop, n.snapshotLoop, n.watchLoop, n.failoverLoop, n.commitLoop} {
		n.loops.Go(loop)
	}
	n.log.Info("cluster node started", zap.String("id", n.id), zap.String("name", n.name),
		zap.String("address", n.at.text), zap.Uint64("index", n.conf.Machine.Index()))
	return nil
}

func (n *Node) openData(context.Context) error {
	var err error
	n.data, err = openDataDir(&n.conf, n.raftLogger())
	if err != nil {
		return err
	}
	n.id, n.name = n.data.node.ID.String(), n.conf.NodeName
	if n.name == "" {
		n.name = "node-" + n.id[len(n.id)-8:]
	}
	for _, m := range n.data.readMembers() {
		n.dir.learn(m.ID, m.Name, m.Address)
		n.dir.opens(m.ID, m.Keys)
	}
	return nil
}

// openPort takes the cluster port. Nothing is answered before serve.
func (n *Node) openPort(ctx context.Context) error {
	ln, packets, err := n.conf.Network.Listen(n.conf.Listen)
	if err != nil {
		return err
	}
	n.packets = packets
	n.mux = newMux(ln, n.conf.Network, n.log)
	if n.at, err = advertise(ctx, n.conf.Advertise, ln.Addr()); err != nil {
		return err
	}
	n.streams = newRaftStreams(n.mux, n.data.node.ID, n.dir)
	n.calls = n.mux.queue(streamCall, nil)
	n.gossipTransport = newGossipTransport(n.mux, packets, n.at, n.log)
	n.client = newClient(n)
	return nil
}

func (n *Node) startRaft(context.Context) error {
	started := make(chan struct{}) // raft's goroutines run before it is given back
	n.state = &stateMachine{machine: n.conf.Machine, keys: n.conf.Keys,
		sealWith:   func() *seal.Key { <-started; return n.snapshotKey() },
		changed:    func() { wake(n.dirty) },
		configured: func() { wake(n.lookAfter); wake(n.tell) },
		failed:     n.fail}
	n.state.sealed.Store(n.data.sealed)
	logger := n.raftLogger()
	n.raftTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.streams, MaxPool: 3, Timeout: n.conf.Timing.Call, Logger: logger,
		ServerAddressProvider: idIsAddress{},
	})
	var err error
	n.entries = newCachedLog(n.data.log)
	transport := raftTransport{n.raftTransport, newReach(n.ctx, func(follower raft.ServerID, term uint64) bool {
		<-started
		return n.raft != nil && n.leadsTo(follower, term)
	})}
	n.raft, err = raft.NewRaft(n.raftConfig(logger), n.state, n.entries, n.data.log, n.data.snapshots, transport)
	close(started)
	// raft passes over a snapshot that the state machine refuses, and takes an
	// older one in silence.
	if why := n.state.restoreErr.Load(); why != nil {
		kind := ErrCorruptData
		if errors.Is(*why, fsm.ErrNewerSnapshot) || errors.Is(*why, seal.ErrNewer) {
			kind = ErrDataDir
		}
		err = fmt.Errorf("%w: %s: %w", kind, n.data.path, *why)
	}
	if err != nil {
		return errors.Join(err, n.raftTransport.Close())
	}
	ours, theirs := n.data.node.ClusterID, n.conf.Machine.ClusterID()
	if ours != "" && theirs != "" && ours != theirs {
		return fmt.Errorf("%w: %s belongs to cluster %s but its snapshot to %s", ErrCorruptData, n.data.path, ours, theirs)
	}
	return nil
}

// leadsTo says whether this node leads in a term, and a follower is a member.
func (n *Node) leadsTo(follower raft.ServerID, term uint64) bool {
	return n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term &&
		slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return s.ID == follower })
}

func (n *Node) raftConfig(logger *raftLog) *raft.Config {
	t := n.conf.Timing
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(n.id)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = t.Heartbeat, t.Election, t.Lease
	conf.CommitTimeout = t.Commit
	conf.TrailingLogs = n.conf.Snapshot.TrailingLogs
	// Limiter entries do not wake the snapshot loop: this bounds the log when
	// there is nothing else.
	conf.SnapshotInterval, conf.SnapshotThreshold = compactEvery, compactAfter
	conf.ShutdownOnRemove = false // the node decides when it ends
	conf.NoLegacyTelemetry = true
	conf.Logger = logger
	return conf
}

func (n *Node) startGossip(context.Context) error {
	g := &gossip{id: n.id, dir: n.dir, log: libraryLogger(n.log, "gossip"), self: n.meta, clusterID: n.clusterID}
	n.gossipTransport.serve()
	if err := startGossip(g, n.conf.Timing, n.gossipTransport); err != nil {
		return err
	}
	n.gossip = g
	return nil
}

// serve begins to answer on the port.
func (n *Node) serve(context.Context) error {
	n.server = newServer(n)
	n.loops.Go(func() {
		if err := n.server.Serve(n.calls); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			n.log.Error("calls are no longer answered", zap.Error(err))
		}
	})
	n.mux.serve()
	return nil
}

func (n *Node) raftLogger() *raftLog {
	return &raftLog{log: libraryLogger(n.log, "raft"), over: func() bool { return n.ctx.Err() != nil }}
}

// meta is what gossip tells of this node.
func (n *Node) meta() meta {
	servers := n.servers()
	return meta{Name: n.name, Address: n.at.text, Voter: voterIn(servers, n.id), Configured: len(servers) > 0,
		Expect: n.conf.Expect, Cluster: n.clusterID(), Keys: joinKeys(n.conf.Keys.IDs())}
}

// tellLongest bounds the wait for the first node to be told; the news spreads
// all the same, and a shutdown waits for this.
const tellLongest = 500 * time.Millisecond

// tellLoop gossips the metadata whenever it changed.
func (n *Node) tellLoop() {
	told := meta{}
	for {
		if now := n.meta(); now != told {
			n.gossip.update(tellLongest)
			told = now
		}
		select {
		case <-n.tell:
		case <-n.ctx.Done():
			return
		}
	}
}

// ID is the node's id: it never changes while the data directory lasts.
func (n *Node) ID() string { return n.id }

// Name is the node's name, for people.
func (n *Node) Name() string { return n.name }

// Address is where other nodes reach this one.
func (n *Node) Address() string { return n.at.text }

// IsLeader says whether this node leads.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// HasLeader says whether this node knows a leader.
func (n *Node) HasLeader() bool { return n.leaderID() != "" }

// Voters is how many nodes vote, dead ones included.
func (n *Node) Voters() int { return countVoters(n.servers()) }

// VoterIDs gives the ids of the nodes that vote, dead ones included. It asks no
// other node.
func (n *Node) VoterIDs() []string {
	var ids []string
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

func (n *Node) leaderID() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// servers gives raft's latest configuration.
func (n *Node) servers() []raft.Server {
	future := n.raft.GetConfiguration() // answered at once
	if future.Error() != nil {
		return nil
	}
	return future.Configuration().Servers
}

func countVoters(servers []raft.Server) int {
	count := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			count++
		}
	}
	return count
}

func serverIn(servers []raft.Server, id string) bool {
	for _, s := range servers {
		if string(s.ID) == id {
			return true
		}
	}
	return false
}

func voterIn(servers []raft.Server, id string) bool {
	for _, s := range servers {
		if string(s.ID) == id {
			return s.Suffrage == raft.Voter
		}
	}
	return false
}

// clusterID is "" until the node belongs to a cluster.
func (n *Node) clusterID() string {
	if id := n.conf.Machine.ClusterID(); id != "" {
		return id
	}
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	return n.data.node.ClusterID
}

// adopt remembers the cluster this node belongs to.
func (n *Node) adopt(id string) error {
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	if id == "" || n.data.node.ClusterID != "" {
		return nil
	}
	next := n.data.node
	next.ClusterID = id
	if err := n.data.writeJSON(fileNode, next); err != nil {
		return err
	}
	n.data.node = next
	wake(n.tell)
	return nil
}

// idIsAddress tells raft's transport that a server's address is its id, also
// where a log holds something else.
type idIsAddress struct{}

func (idIsAddress) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return raft.ServerAddress(id), nil
}

// wake leaves a note that something has to be looked at.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}

// broadcast wakes all who wait at once.
type broadcast struct {
	mu sync.Mutex
	c  chan struct{}
}

func newBroadcast() *broadcast { return &broadcast{c: make(chan struct{})} }

// wait gives a channel that the next send closes.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.c
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.c)
	b.c = make(chan struct{})
}

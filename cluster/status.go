package cluster

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// probeTimeout is how long another node may take to say how it is.
	probeTimeout = 500 * time.Millisecond
	// probesAtOnce bounds how many are asked at the same time.
	probesAtOnce = 16
	// reachableFor is how long a count of reachable voters is shared: a
	// thousand writes without a leader ask once.
	reachableFor = time.Second
)

// State is how a node is doing, as seen from the node that was asked.
type State string

// The states of a node.
const (
	StateAlive State = "alive"
	// StateSuspect: gossip has it alive, but it does not answer now.
	StateSuspect State = "suspect"
	// StateDead: a member that is away. It stays a member until it is removed.
	StateDead State = "dead"
	// StateLeft: it is away and no member any more.
	StateLeft State = "left"
)

// Status is the answer of GET /cluster.
type Status struct {
	ClusterID string `json:"cluster_id"`
	// Leader is a node's id, "" when none is known.
	Leader string `json:"leader"`
	// Index is the log index of the last command that this node applied.
	Index uint64       `json:"index"`
	Nodes []NodeStatus `json:"nodes"`
	// Quorum says that this node knows a leader: writes work.
	Quorum bool `json:"quorum"`
}

// NodeStatus is one node in a Status.
type NodeStatus struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	State   State  `json:"state"`
	Leader  bool   `json:"leader"`
	// Index is the last command the node applied; 0 when it does not answer.
	Index uint64 `json:"index"`
}

// Status asks every node how it is, for half a second at most, and needs no
// quorum. Nodes are in the order of their ids, which is that of their creation.
func (n *Node) Status() Status {
	servers, leader := n.servers(), n.leaderID()
	known := map[string]member{}
	for _, m := range n.dir.all() {
		known[m.ID] = m
	}
	for _, s := range servers {
		if _, ok := known[string(s.ID)]; !ok {
			known[string(s.ID)] = member{ID: string(s.ID)}
		}
	}
	infos := n.probe(n.ctx, known)
	status := Status{ClusterID: n.clusterID(), Leader: leader, Index: n.conf.Machine.Index(), Quorum: leader != "", Nodes: []NodeStatus{}}
	for id, m := range known {
		info, answers := infos[id]
		node := NodeStatus{ID: id, Name: m.Name, Address: m.Address, Voter: voterIn(servers, id), Leader: id == leader, Index: info.Index}
		switch {
		case answers:
			node.State = StateAlive
		case m.alive:
			node.State = StateSuspect
		case serverIn(servers, id):
			node.State = StateDead
		default:
			node.State = StateLeft
		}
		status.Nodes = append(status.Nodes, node)
	}
	sort.Slice(status.Nodes, func(i, j int) bool { return status.Nodes[i].ID < status.Nodes[j].ID })
	return status
}

// NodeNames gives the names of all nodes that are known, by their ids. It asks
// nobody.
func (n *Node) NodeNames() map[string]string {
	names := map[string]string{n.id: n.name}
	for _, m := range n.dir.all() {
		if m.Name != "" {
			names[m.ID] = m.Name
		}
	}
	return names
}

// probe asks nodes how they are; those that do not answer are missing.
func (n *Node) probe(ctx context.Context, members map[string]member) map[string]nodeInfo {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var mu sync.Mutex
	out := map[string]nodeInfo{}
	each(members, func(m member) {
		info, err := n.info(), error(nil)
		if m.ID != n.id {
			info, err = n.client.info(ctx, m.Address)
		}
		if err == nil && info.ID == m.ID {
			mu.Lock()
			defer mu.Unlock()
			out[m.ID] = info
		}
	})
	return out
}

// each calls f for every member, several at a time, and waits for all.
func each(members map[string]member, f func(member)) {
	places := make(chan struct{}, probesAtOnce)
	var wg sync.WaitGroup
	for _, m := range members {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			f(m)
		})
	}
	wg.Wait()
}

// reachability shares one count of reachable voters among many who ask. Who has the
// place in turn counts; a mutex would be waited for longer than the context lasts.
type reachability struct {
	turn  chan struct{}
	at    time.Time
	count int
}

// noQuorum counts the voters that answer now. It is the context's error if that ends
// before.
func (n *Node) noQuorum(ctx context.Context) error {
	voters := map[string]member{}
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			voters[string(s.ID)] = member{ID: string(s.ID), Address: n.dir.address(string(s.ID))}
		}
	}
	select {
	case n.reach.turn <- struct{}{}:
		defer func() { <-n.reach.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if time.Since(n.reach.at) > reachableFor {
		count := len(n.probe(ctx, voters))
		if ctx.Err() != nil {
			return context.Cause(ctx) // the count is of those who were asked in time
		}
		n.reach.count, n.reach.at = count, time.Now()
	}
	return &NoQuorumError{Reachable: min(n.reach.count, len(voters)), Voters: len(voters)}
}

// WaitServed returns once this node's data plane serves an index.
func (n *Node) WaitServed(ctx context.Context, index uint64) error {
	return n.conf.Served.Wait(ctx, index)
}

// WaitAll returns once every live member serves an index, and otherwise at the end
// of the context with the names of those that did not. The error is for a node
// that is shutting down.
func (n *Node) WaitAll(ctx context.Context, index uint64) ([]string, error) {
	servers := n.servers()
	var live []member
	for _, m := range n.dir.alive() {
		if serverIn(servers, m.ID) { // who is still joining serves nothing yet
			live = append(live, m)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, waitAllLongest)
	defer cancel()
	var mu sync.Mutex
	var late []string
	var wg sync.WaitGroup
	for _, m := range live {
		wg.Go(func() {
			err := error(nil)
			if m.ID == n.id {
				err = n.conf.Served.Wait(ctx, index)
			} else {
				err = n.client.served(ctx, m, index)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				late = append(late, m.Name)
			}
		})
	}
	wg.Wait()
	if n.ctx.Err() != nil {
		return nil, ErrClosed
	}
	sort.Strings(late)
	return late, nil
}

// waitAllLongest bounds a WaitAll whose context has no end of its own.
const waitAllLongest = 30 * time.Second

// Stats are the numbers for metrics. Durations are in seconds.
type Stats struct {
	// State is raft's: "Follower", "Candidate", "Leader" or "Shutdown".
	State string
	Term  uint64
	// CommitIndex and AppliedIndex are raft's.
	CommitIndex, AppliedIndex uint64
	// LastContact is how long ago a leader was heard; 0 on the leader, -1 if
	// never.
	LastContact float64
	// Applies and ApplySeconds sum up the commands that this node committed as
	// leader.
	Applies      uint64
	ApplySeconds float64
	// SnapshotSeconds is how long the last snapshot took to write, SnapshotIndex
	// the log index of the last change of an entity that is in it: what a node
	// that restarts alone would serve.
	SnapshotSeconds   float64
	SnapshotIndex     uint64
	Voters, Nonvoters int
	// FailureTolerance is how many more voters may be lost before writes stop,
	// as far as gossip knows; negative when they have stopped.
	FailureTolerance int
	// Members is how many nodes gossip finds alive, this one included.
	Members int
	// HealthScore is gossip's doubt of this node itself: 0 is well.
	HealthScore int
	// Sealed says that this node seals what it stores with its first key.
	Sealed bool
}

// Stats gives the numbers of now. It asks no other node.
func (n *Node) Stats() Stats {
	servers := n.servers()
	s := Stats{State: n.raft.State().String(), Term: n.raft.CurrentTerm(),
		CommitIndex: n.raft.CommitIndex(), AppliedIndex: n.raft.AppliedIndex(),
		SnapshotSeconds: time.Duration(n.state.seconds.Load()).Seconds(), SnapshotIndex: n.state.persisted.Load(),
		Voters: countVoters(servers), HealthScore: n.gossip.list.GetHealthScore()}
	count, total := n.applies.sums()
	s.Applies, s.ApplySeconds = count, total.Seconds()
	s.Nonvoters = len(servers) - s.Voters
	switch last := n.raft.LastContact(); {
	case n.IsLeader():
	case last.IsZero():
		s.LastContact = -1
	default:
		s.LastContact = time.Since(last).Seconds()
	}
	alive := 0
	for _, m := range n.dir.alive() {
		s.Members++
		if voterIn(servers, m.ID) {
			alive++
		}
	}
	s.FailureTolerance = alive - (s.Voters/2 + 1)
	key, err := n.sealingKey()
	s.Sealed = err == nil && key != nil && key == n.conf.Keys.All()[0]
	return s
}

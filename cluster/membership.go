package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

const (
	// findEvery is how many rounds of the membership loop pass between looks
	// for nodes that are away, while others are there.
	findEvery = 10
	// findAtOnce bounds how many addresses one look tries.
	findAtOnce = 8
	// wordEvery is how often a node without a cluster says so.
	wordEvery = 10 * time.Second
	// leastPause keeps a storm of news from turning the loop without a pause.
	leastPause = 25 * time.Millisecond
)

// membershipLoop looks after this node's own membership: it finds the others,
// forms a cluster if that is what was asked for, and asks to be a member where
// it is none.
func (n *Node) membershipLoop() {
	nextWord := time.Now().Add(wordEvery)
	for {
		n.lookAfterMembership(n.ctx)
		if len(n.servers()) == 0 && time.Now().After(nextWord) {
			n.log.Info("still waiting for a cluster: none of the nodes found has one", zap.Int("found", len(n.dir.alive())-1),
				zap.Int("expected", n.conf.Expect), zap.Strings("join", n.conf.Join))
			nextWord = time.Now().Add(wordEvery)
		}
		wait := n.conf.Timing.Rejoin
		if !n.HasLeader() {
			wait /= 4
		}
		wait += rand.N(wait / 2)
		if !pause(n.ctx, leastPause) {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-n.lookAfter:
			timer.Stop()
		case <-n.ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (n *Node) lookAfterMembership(ctx context.Context) {
	if err := n.adopt(n.conf.Machine.ClusterID()); err != nil {
		n.log.Error("the cluster's id could not be remembered", zap.Error(err))
	}
	wake(n.tell)
	n.tellSealing()
	if err := n.findOthers(ctx); err != nil {
		n.log.Error("another node is refused", zap.Error(err))
	}
	if n.leaving.Load() {
		return
	}
	if err := n.bootstrapTogether(ctx); errors.Is(err, ErrKeyMissing) {
		n.log.Warn("no cluster is formed yet", zap.Error(err)) // and none will be
	} else if err != nil && ctx.Err() == nil {
		n.log.Debug("no cluster is formed yet", zap.Error(err))
	}
	if err := n.ensureMember(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("this node is not a member yet", zap.Error(err))
	}
	n.dir.prune(func(id string) bool { return serverIn(n.servers(), id) })
	if n.dir.takeDirty() {
		if err := n.data.writeMembers(n.dir.all()); err != nil {
			n.dir.markDirty()
			n.log.Warn("the other nodes' addresses could not be remembered", zap.Error(err))
		}
	}
}

// finder remembers when the others were looked for.
type finder struct {
	mu   sync.Mutex
	next time.Time
	from int // where the next look goes on in the list of addresses
}

// greetSeeds looks for the others once before Open returns, so that a node of
// another cluster is refused there and then.
func (n *Node) greetSeeds(ctx context.Context) error {
	if len(n.conf.Join) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.conf.Timing.Dial)
	defer cancel()
	return n.findOthers(ctx)
}

// findOthers asks the seeds and the known nodes that gossip does not see, and
// gossips with those that answer. An error is a *ForeignClusterError: nobody
// else was there. One stranger among friends is only logged, because an address
// may have been given away since.
func (n *Node) findOthers(ctx context.Context) error {
	n.finding.mu.Lock()
	defer n.finding.mu.Unlock()
	alone := len(n.dir.alive()) <= 1
	now := time.Now()
	if !alone && now.Before(n.finding.next) {
		return nil
	}
	n.finding.next = now.Add(findEvery * n.conf.Timing.Rejoin)
	addresses := n.missing(ctx)
	if len(addresses) > findAtOnce {
		n.finding.from = (n.finding.from + findAtOnce) % len(addresses)
		addresses = slices.Concat(addresses[n.finding.from:], addresses[:n.finding.from])[:findAtOnce]
	}
	results := make([]error, len(addresses))
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() { results[i] = n.greet(ctx, address) })
	}
	wg.Wait()
	var stranger error
	friends := !alone
	for _, err := range results {
		foreign := (*ForeignClusterError)(nil)
		switch {
		case err == nil:
			friends = true
		case errors.As(err, &foreign):
			stranger = foreign
		}
	}
	if stranger != nil && friends {
		n.log.Warn("a node of another cluster is passed over", zap.Error(stranger))
		return nil
	}
	return stranger
}

// missing gives the addresses, "ip:port", of seeds and members that gossip does
// not see.
func (n *Node) missing(ctx context.Context) []string {
	self := net.JoinHostPort(n.at.ip.String(), fmt.Sprint(n.at.port))
	known := map[string]bool{self: true, n.at.text: true}
	var wanted []string
	servers := n.servers()
	for _, m := range n.dir.all() {
		if m.alive {
			known[m.Address] = true
		} else if serverIn(servers, m.ID) {
			wanted = append(wanted, m.Address)
		}
	}
	wanted = append(wanted, n.conf.Join...)
	var out []string
	for _, entry := range wanted {
		s, err := parseSeed(entry)
		if err != nil || known[net.JoinHostPort(s.host, s.port)] {
			continue
		}
		addresses, err := s.resolve(ctx)
		if err != nil {
			n.log.Debug("a node's address is not known", zap.String("join", entry), zap.Error(err))
			continue
		}
		for _, a := range addresses {
			if !known[a] {
				known[a] = true
				out = append(out, a)
			}
		}
	}
	return out
}

// errSelf is met at another of this node's own addresses.
var errSelf = errors.New("this is the node itself")

// greet asks whoever is at an address who it is, and gossips with it.
func (n *Node) greet(ctx context.Context, address string) error {
	info, err := n.client.info(ctx, address)
	if err != nil {
		return err
	}
	if info.ID == n.id {
		return errSelf
	}
	ours := n.clusterID()
	if ours != "" && info.ClusterID != "" && ours != info.ClusterID {
		return &ForeignClusterError{Ours: ours, Theirs: info.ClusterID, Address: address}
	}
	n.dir.heard(info.ID, info.Name, info.Address)
	return n.gossip.join([]string{address})
}

// ensureMember asks the cluster's leader to make this node a member, where it is
// none, and where a member hears of no leader although others are there: it may
// have been removed while it was away.
func (n *Node) ensureMember(ctx context.Context) error {
	member := serverIn(n.servers(), n.id)
	if member && n.HasLeader() {
		return nil
	}
	if member && time.Since(n.raft.LastContact()) < 4*n.conf.Timing.Election {
		return nil // an election is under way
	}
	var hosts []string
	for _, m := range n.dir.alive() {
		if m.ID != n.id && m.meta.Configured {
			hosts = append(hosts, m.Address)
		}
	}
	if len(hosts) == 0 {
		return nil // nobody to ask, and the log says so where it matters
	}
	ctx, cancel := context.WithTimeout(ctx, n.conf.Timing.Call)
	defer cancel()
	answer, err := n.client.join(ctx, hosts[rand.IntN(len(hosts))],
		joinRequest{ID: n.id, Name: n.name, Address: n.at.text, ClusterID: n.clusterID(), Keys: joinKeys(n.conf.Keys.IDs())})
	if err != nil {
		if member && (errors.Is(err, ErrNotLeader) || ctx.Err() != nil) {
			return nil // nobody has a leader: that is for the election to mend
		}
		return fmt.Errorf("join: %w", err)
	}
	for _, m := range answer.Members {
		n.dir.learn(m.ID, m.Name, m.Address)
		n.dir.opens(m.ID, m.Keys)
	}
	return n.adopt(answer.ClusterID)
}

// addMember is the leader's side of a join. A newcomer does not vote at first:
// promote gives it a vote once it has caught up, so that no write waits for a
// node that is still reading a snapshot.
func (n *Node) addMember(ctx context.Context, req joinRequest) (*joinAnswer, error) {
	ours := n.conf.Machine.ClusterID()
	if !n.IsLeader() || ours == "" {
		return nil, ErrNotLeader // or not yet: the cluster gets its name first
	}
	if req.ClusterID != "" && req.ClusterID != ours {
		return nil, &ForeignClusterError{Ours: ours, Theirs: req.ClusterID, Address: req.Address}
	}
	newcomer := !serverIn(n.servers(), req.ID)
	if newcomer {
		if err := n.admits(splitKeys(req.Keys)); err != nil {
			return nil, err
		}
	}
	n.dir.heard(req.ID, req.Name, req.Address)
	n.dir.opens(req.ID, req.Keys)
	if newcomer {
		err := n.await(ctx, func() raft.Future {
			return n.raft.AddNonvoter(raft.ServerID(req.ID), raft.ServerAddress(req.ID), 0, n.conf.Timing.Call)
		})
		if err != nil {
			return nil, changeError(err)
		}
		n.log.Info("a node joined", zap.String("node", req.ID), zap.String("name", req.Name), zap.String("address", req.Address))
	}
	return &joinAnswer{ClusterID: ours, Members: n.dir.all()}, nil
}

// changeError tells a change of members that failed because leadership moved.
func changeError(err error) error {
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return fmt.Errorf("change members: %w", err)
}

// removeMember is the leader's side of Leave and Remove.
func (n *Node) removeMember(ctx context.Context, req removeRequest) error {
	if !n.IsLeader() {
		return ErrNotLeader
	}
	servers := n.servers()
	if !serverIn(servers, req.ID) {
		if req.Leaving {
			return nil // done already: the answer was lost
		}
		return fmt.Errorf("%w: %s", ErrUnknownNode, req.ID)
	}
	if voterIn(servers, req.ID) && countVoters(servers) == 1 {
		return ErrLastVoter
	}
	if !req.Leaving {
		if info, err := n.client.info(ctx, n.dir.address(req.ID)); req.ID == n.id || err == nil && info.ID == req.ID {
			return fmt.Errorf("%w: %s", ErrAlive, req.ID)
		}
	}
	if req.ID == n.id {
		return fmt.Errorf("%w: the leader hands over before it leaves", ErrNotLeader)
	}
	err := n.await(ctx, func() raft.Future {
		return n.raft.RemoveServer(raft.ServerID(req.ID), 0, n.conf.Timing.Call)
	})
	if err != nil {
		return changeError(err)
	}
	n.log.Info("a node is no longer a member", zap.String("node", req.ID), zap.Bool("left", req.Leaving))
	return nil
}

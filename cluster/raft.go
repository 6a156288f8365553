package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

const (
	// compactEvery is how often raft looks whether its log is longer than
	// compactAfter entries and takes a snapshot then.
	compactEvery = 20 * time.Second
	compactAfter = 8192
	// hungAfter is how long an apply may take before the log says so.
	hungAfter = 2 * time.Second
	// promotable is how many entries a non-voter may be behind when it becomes
	// a voter: writes wait for it from then on.
	promotable = 128
)

// await waits for a raft future no longer than the context allows. Futures know
// no contexts, and one whose entry was committed while raft stops is never
// answered, so that each needs a goroutine of its own.
func (n *Node) await(ctx context.Context, start func() raft.Future) error {
	done := make(chan error, 1)
	n.futures.begin()
	go func() {
		defer n.futures.end()
		done <- start().Error()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// futures counts those that wait for raft. A sync.WaitGroup would need one more
// goroutine to be waited for with a limit, which a lost future keeps for ever.
type futures struct {
	mu    sync.Mutex
	count int
	idle  chan struct{} // closed when the count is 0 again
}

func (f *futures) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		f.idle = make(chan struct{})
	}
	f.count++
}

func (f *futures) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count--; f.count == 0 {
		close(f.idle)
	}
}

// wait says whether all were answered in time.
func (f *futures) wait(longest time.Duration) bool {
	f.mu.Lock()
	count, idle := f.count, f.idle
	f.mu.Unlock()
	if count == 0 {
		return true
	}
	t := time.NewTimer(longest)
	defer t.Stop()
	select {
	case <-idle:
		return true
	case <-t.C:
		return false
	}
}

// leadershipLoop does what only the leader does, for as long as it is one.
func (n *Node) leadershipLoop() {
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case leads := <-n.raft.LeaderCh():
			end()
			end = func() {}
			if leads {
				end = n.beginTerm()
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// beginTerm starts a leader's work; the function it gives ends it and waits.
func (n *Node) beginTerm() (end func()) {
	ctx, cancel := context.WithCancel(n.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.lead(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (n *Node) lead(ctx context.Context) {
	n.log.Info("this node leads the cluster", zap.Uint64("term", n.raft.CurrentTerm()))
	for {
		err := n.takeOver(ctx)
		if err == nil {
			break
		}
		if !pause(ctx, n.conf.Timing.Heartbeat) {
			return
		}
		n.log.Warn("leadership is not complete yet", zap.Error(err))
	}
	for {
		if err := n.promote(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("no voter could be added", zap.Error(err))
		}
		if !pause(ctx, n.conf.Timing.Rejoin/2) {
			n.log.Info("this node no longer leads the cluster")
			return
		}
	}
}

// takeOver waits until everything committed before is applied here, and names
// the cluster if nobody has.
func (n *Node) takeOver(ctx context.Context) error {
	if err := n.await(ctx, func() raft.Future { return n.raft.Barrier(0) }); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	if n.conf.Machine.ClusterID() == "" {
		id, err := newClusterID()
		if err != nil {
			return err
		}
		data, err := encode(fsm.NewInit(id))
		if err != nil {
			return err
		}
		if _, _, err := n.commit(ctx, data); err != nil {
			return fmt.Errorf("name the cluster: %w", err)
		}
		n.log.Info("a new cluster", zap.String("cluster_id", n.conf.Machine.ClusterID()))
	}
	return n.adopt(n.conf.Machine.ClusterID())
}

// promote makes one healthy non-voter a voter while fewer vote than may. A
// voter that died keeps its place until it is removed: gossip decides nothing.
func (n *Node) promote(ctx context.Context) error {
	servers := n.servers()
	if countVoters(servers) >= n.conf.MaxVoters {
		return nil
	}
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			continue
		}
		m, known := n.dir.get(string(s.ID))
		if !known || !m.alive {
			continue
		}
		info, err := n.client.info(ctx, m.Address)
		if err != nil || info.ID != m.ID || info.Applied+promotable < n.raft.CommitIndex() {
			continue // not well, or still catching up
		}
		err = n.await(ctx, func() raft.Future { return n.raft.AddVoter(s.ID, raft.ServerAddress(s.ID), 0, n.conf.Timing.Call) })
		if err != nil {
			return fmt.Errorf("node %s: %w", m.ID, err)
		}
		n.log.Info("a node votes now", zap.String("node", m.ID), zap.String("name", m.Name))
		return nil
	}
	return nil
}

// watchLoop tells waiting writes of a new leader, and the log of a hung one.
func (n *Node) watchLoop() {
	// raft drops observations when this is full; writes look again by
	// themselves.
	observed := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observed, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	tick := time.NewTicker(hungAfter / 2)
	defer tick.Stop()
	hung := false
	for {
		select {
		case o := <-observed:
			leader := o.Data.(raft.LeaderObservation)
			n.leaderMoved.send()
			wake(n.lookAfter)
			n.log.Info("leader changed", zap.String("leader", string(leader.LeaderID)))
		case <-tick.C:
			age := n.applies.oldest()
			if age > hungAfter && !hung {
				n.log.Error("a change has been waiting for this leader's disk or for a majority",
					zap.Duration("for", age), zap.Duration("since_contact", time.Since(n.raft.LastContact())))
			}
			hung = age > hungAfter
		case <-n.ctx.Done():
			return
		}
	}
}

// snapshotLoop writes a snapshot soon after a change: a node that is restarted
// without a quorum has its snapshot and nothing else.
func (n *Node) snapshotLoop() {
	policy := n.conf.Snapshot
	var rested time.Time // from when on the next may be written
	for {
		select {
		case <-n.dirty:
		case <-n.ctx.Done():
			return
		}
		n.settle(policy.Quiet, policy.Longest)
		// Both: nothing to wait for and the end are there at once, at times.
		if !pause(n.ctx, time.Until(rested)) || n.ctx.Err() != nil {
			return
		}
		select {
		case <-n.dirty: // it was applied, so it comes along
		default:
		}
		err := n.takeSnapshot(n.ctx)
		if n.ctx.Err() != nil {
			return
		}
		rest := time.Duration(n.state.rest.Swap(0))
		if err != nil {
			n.log.Warn("the state could not be written to disk; it will be tried again", zap.Error(err))
			wake(n.dirty)
			rest = max(rest, policy.Longest)
		}
		rested = time.Now().Add(rest)
	}
}

// settle waits until nothing has changed for the quiet time, at most for the
// longest.
func (n *Node) settle(quiet, longest time.Duration) {
	end := time.NewTimer(longest)
	defer end.Stop()
	for {
		calm := time.NewTimer(quiet)
		select {
		case <-n.dirty:
			calm.Stop()
		case <-calm.C:
			return
		case <-end.C:
			calm.Stop()
			return
		case <-n.ctx.Done():
			calm.Stop()
			return
		}
	}
}

// takeSnapshot writes the state to disk.
func (n *Node) takeSnapshot(ctx context.Context) error {
	err := n.await(ctx, func() raft.Future { return n.raft.Snapshot() })
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// pause waits; false when the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

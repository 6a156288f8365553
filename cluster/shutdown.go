package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// What a shutdown may spend on each step. Together they stay under 5 s.
const (
	transferLongest = 1200 * time.Millisecond
	snapshotLongest = time.Second
	farewellLongest = 300 * time.Millisecond
	stopLongest     = 2400 * time.Millisecond
)

// Shutdown stops the node; it stays a member, and its data directory starts it
// again. Leadership is handed over first and the state written to disk, as far
// as that is quick: a shutdown takes less than five seconds, whatever the node
// is doing. Further calls wait for the first and give its error.
func (n *Node) Shutdown(ctx context.Context) error {
	n.closeOnce.Do(func() {
		n.handOver(ctx)
		n.lastSnapshot(ctx)
		n.farewell()
		n.closeErr = n.teardown()
	})
	return n.closeErr
}

// fail says that this node can be of no more use before it is started again.
func (n *Node) fail(why error) {
	n.failOnce.Do(func() {
		n.log.Error("this node stands still and must be started again", zap.Error(why))
		n.failure = why
		close(n.failed)
	})
}

// Failed is closed when this node can be of no more use: it met an entry that it
// cannot open, or its log is gone. It acknowledges nothing any more that it does
// not have; it is to be shut down and started again, which says what is wrong.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Failure is why, after Failed; nil before. It wraps ErrHalted or ErrDataDir.
func (n *Node) Failure() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// handOver lets another voter lead, so that writes pause for a moment instead
// of an election timeout. Only a node that goes does this: a transfer that
// fails can leave a leader that refuses writes.
func (n *Node) handOver(ctx context.Context) {
	if !n.IsLeader() || n.Voters() < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, transferLongest)
	defer cancel()
	if err := n.await(ctx, n.raft.LeadershipTransfer); err != nil {
		n.log.Info("leadership was not handed over", zap.Error(err))
	}
}

// lastSnapshot writes the state, limiter entries included. What it misses is
// still in the log.
func (n *Node) lastSnapshot(ctx context.Context) {
	n.state.hurry.Store(true)
	ctx, cancel := context.WithTimeout(ctx, snapshotLongest)
	defer cancel()
	if err := n.takeSnapshot(ctx); err != nil {
		n.log.Info("no snapshot at the end", zap.Error(err))
	}
}

// farewell spares the others finding out.
func (n *Node) farewell() {
	if err := n.gossip.list.Leave(farewellLongest); err != nil {
		n.log.Debug("nobody was told of the shutdown", zap.Error(err))
	}
}

// teardown releases what a start, complete or not, has taken. Connections end
// before raft does: it cannot stop while it reads a snapshot from one.
func (n *Node) teardown() error {
	n.stop()
	if n.state != nil {
		n.state.hurry.Store(true)
	}
	var errs []error
	if n.server != nil {
		errs = append(errs, n.server.Close())
	}
	if n.gossip != nil {
		errs = append(errs, n.gossip.list.Shutdown())
	}
	if n.gossipTransport != nil {
		errs = append(errs, n.gossipTransport.Shutdown())
	} else if n.packets != nil {
		errs = append(errs, n.packets.Close())
	}
	if n.mux != nil {
		errs = append(errs, n.mux.close())
	}
	stopped := true
	if n.raft != nil {
		stopped = within(stopLongest, func() { errs = append(errs, n.raft.Shutdown().Error()) })
	}
	if n.client != nil {
		n.client.close()
	}
	if !stopped {
		// The log must stay open: raft would panic. The process ends anyway.
		return errors.New("raft did not stop: its disk hangs")
	}
	if !within(stopLongest, n.loops.Wait) {
		errs = append(errs, errors.New("a callback of this node did not return"))
	}
	// A future whose entry was committed while raft stopped is never answered.
	if !n.futures.wait(stopLongest / 10) {
		n.log.Debug("raft left a command unanswered")
	}
	if n.data != nil {
		errs = append(errs, n.data.log.Close())
	}
	return errors.Join(errs...)
}

// within calls f and waits for it, but not longer than d.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// Leave gives up this node's membership for good: another node leads, the
// leader removes this one, the node stops, and its data directory is emptied.
// On an error it is still a member and goes on. It waits for a leader no longer
// than Timing.Hold.
//
// Errors wrap ErrLastVoter, ErrClosed, the context's, or are a *NoQuorumError.
func (n *Node) Leave(ctx context.Context) error {
	if n.ctx.Err() != nil || !n.leaving.CompareAndSwap(false, true) {
		return ErrClosed
	}
	if err := n.resign(ctx); err != nil {
		n.leaving.Store(false)
		return err
	}
	n.log.Info("this node has left the cluster")
	n.closeOnce.Do(func() {
		n.farewell()
		n.identityMu.Lock()
		gone := n.data.node
		gone.Left = true
		err := n.data.writeJSON(fileNode, gone)
		n.identityMu.Unlock()
		if n.closeErr = errors.Join(err, n.teardown()); n.closeErr == nil {
			n.closeErr = n.data.wipe()
		}
	})
	return n.closeErr
}

// resign has the leader remove this node.
func (n *Node) resign(ctx context.Context) error {
	servers := n.servers()
	if len(servers) == 0 {
		return nil // it never was a member
	}
	if voterIn(servers, n.id) && countVoters(servers) == 1 {
		return ErrLastVoter
	}
	return n.remove(ctx, removeRequest{ID: n.id, Leaving: true})
}

// Remove ends the membership of a node that is dead and will not come back. It
// waits for a leader no longer than Timing.Hold.
//
// Errors wrap ErrUnknownNode, ErrAlive, ErrLastVoter, ErrClosed, the context's,
// or are a *NoQuorumError.
func (n *Node) Remove(ctx context.Context, nodeID string) error {
	return n.remove(ctx, removeRequest{ID: nodeID})
}

func (n *Node) remove(ctx context.Context, req removeRequest) error {
	giveUp := time.Now().Add(n.conf.Timing.Hold)
	for {
		moved := n.leaderMoved.wait()
		err := n.tryRemove(ctx, req)
		switch {
		case err == nil:
			return nil
		case n.ctx.Err() != nil:
			return ErrClosed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrLastVoter), errors.Is(err, ErrAlive), errors.Is(err, ErrUnknownNode):
			return err
		case time.Now().After(giveUp) && n.HasLeader():
			return fmt.Errorf("the leader did not remove the node: %w", err)
		case time.Now().After(giveUp):
			return n.noQuorum(ctx)
		}
		timer := time.NewTimer(retryLongest)
		select {
		case <-moved:
		case <-timer.C:
		case <-ctx.Done():
		case <-n.ctx.Done():
		}
		timer.Stop()
	}
}

func (n *Node) tryRemove(ctx context.Context, req removeRequest) error {
	leader := n.leaderID()
	switch {
	case n.IsLeader() && req.ID == n.id && req.Leaving:
		n.handOver(ctx)
		return ErrNotLeader // the next try goes to the new one
	case n.IsLeader():
		return n.removeMember(ctx, req)
	case leader == "" || leader == n.id:
		return ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(ctx, n.conf.Timing.Call)
	defer cancel()
	_, err := n.client.toLeader(ctx, n.dir.address(leader), pathRemove, req)
	return err
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/sluicegate/sluice/fsm"
)

const (
	// maxWrites bounds the writes that wait on a node, maxApplies those that a
	// leader has under way.
	maxWrites  = 1024
	maxApplies = 4096
	// maxParts bounds the entries of one write: some 40 MiB of entities.
	maxParts = 128
	// partsLongest is how long a write of parts may take, if its context lasts as long.
	partsLongest = 2 * time.Minute
	// A write that found no leader looks again after a time between these, or
	// when there is one.
	retryShortest = 20 * time.Millisecond
	retryLongest  = 250 * time.Millisecond
)

func newClusterID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make a cluster id: %w", err)
	}
	return id.String(), nil
}

// Apply carries out a command on the whole cluster, from any node: the leader
// commits it, one hop away at most. It does not wait for this node's data plane
// (WaitServed does).
//
// A write is idempotent under its request id, which is made here if the command
// has none: it is sent again when an answer is lost. Without a leader it is
// held for Timing.Hold; then the error is a *NoQuorumError. A refusal by the
// state machine is no error but in the result.
//
// A write of more than MaxCommand goes through the log in parts, and is done at once
// or not at all, too.
//
// Other errors wrap ErrBusy, ErrCommandTooLarge, ErrClosed, ErrNoCommonKey, ErrHalted,
// ErrOutcomeUnknown or the context's.
func (n *Node) Apply(ctx context.Context, c *fsm.Command) (*fsm.Result, error) {
	if c.Type == fsm.CommandWrite && c.RequestID == "" {
		named := *c
		named.RequestID = uuid.NewString()
		c = &named
	}
	data, err := encode(c)
	if c.Type == fsm.CommandWrite && errors.Is(err, ErrCommandTooLarge) {
		return n.applyParts(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // nobody waits for it: it is not begun
	}
	// Sealed here, so that no wire and no log on the way sees it.
	if data, err = n.seal(c.Type, data); err != nil {
		return nil, err
	}
	select {
	case n.writes <- struct{}{}:
		defer func() { <-n.writes }()
	default:
		return nil, ErrBusy
	}
	return n.applyOne(ctx, c, data)
}

// applyParts carries out a write that is too large for one entry: its parts are
// staged, and the last entry does all of it.
func (n *Node) applyParts(ctx context.Context, c *fsm.Command) (*fsm.Result, error) {
	parts, err := c.Split(uuid.NewString(), MaxCommand)
	if err != nil {
		return nil, err
	}
	if len(parts) > maxParts {
		return nil, fmt.Errorf("%w: it needs %d entries, %d are allowed", ErrCommandTooLarge, len(parts), maxParts)
	}
	for _, part := range parts[:len(parts)-1] {
		result, err := n.Apply(ctx, part)
		if err != nil || result.Err != nil {
			return result, err
		}
	}
	return n.Apply(ctx, parts[len(parts)-1])
}

func (n *Node) applyOne(ctx context.Context, c *fsm.Command, data []byte) (*fsm.Result, error) {
	// Limiter entries have no request id: a second one would count twice.
	w := &write{node: n, data: data, repeatable: c.Type != fsm.CommandLimits, call: n.conf.Timing.Call, giveUp: time.Now().Add(n.conf.Timing.Hold)}
	if c.Write != nil && c.Write.Parts != nil {
		// A small entry with much to do. A leader that hangs is found out by others.
		w.call, w.giveUp = partsLongest, time.Now().Add(partsLongest)
	}
	return w.run(ctx)
}

func encode(c *fsm.Command) ([]byte, error) {
	data, err := c.Encode()
	if err != nil {
		return nil, err
	}
	if len(data) > MaxCommand {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrCommandTooLarge, len(data), MaxCommand)
	}
	return data, nil
}

// write is one command on its way to a leader.
type write struct {
	node       *Node
	data       []byte
	repeatable bool
	call       time.Duration // how long a leader may take
	giveUp     time.Time
	sent       bool // a leader may have it
	lost       bool // a connection failed: the next one is dialled anew
}

func (w *write) run(ctx context.Context) (*fsm.Result, error) {
	for {
		moved := w.node.leaderMoved.wait()
		result, err := w.try(ctx)
		switch {
		case err == nil:
			return result, nil
		case ctx.Err() != nil:
			return nil, w.unknown(context.Cause(ctx))
		case w.node.ctx.Err() != nil:
			return nil, w.unknown(ErrClosed)
		case errors.Is(err, ErrCommandTooLarge), errors.Is(err, ErrNoCommonKey), errors.Is(err, ErrKeyMissing):
			return nil, err
		case w.sent && !w.repeatable:
			return nil, w.unknown(err)
		case time.Now().After(w.giveUp):
			return nil, w.noLeader(ctx, err)
		}
		w.pause(ctx, moved)
	}
}

// try gives the command to the leader, here or elsewhere, once.
func (w *write) try(ctx context.Context) (*fsm.Result, error) {
	n := w.node
	if n.IsLeader() {
		result, _, err := n.applyLocal(ctx, w.data)
		w.sent = w.sent || errors.Is(err, ErrOutcomeUnknown)
		return result, err
	}
	leader := n.leaderID()
	if leader == "" || leader == n.id {
		return nil, ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(ctx, w.call)
	defer cancel()
	if w.repeatable {
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			n.cancelWhenReplaced(ctx, cancel, leader)
		}()
		defer func() {
			cancel()
			<-watched
		}()
	}
	answer, sent, err := n.client.apply(ctx, leader, n.dir.address(leader), w.data, w.lost)
	if err != nil {
		w.sent, w.lost = w.sent || sent, true
		return nil, err
	}
	n.commits.hear(commitment{leader: leader, term: answer.Term, index: answer.At})
	return answer.Result, nil
}

// cancelWhenReplaced ends a call to a leader once there is another one: the old
// one hangs or is cut off, and would be waited for in vain.
func (n *Node) cancelWhenReplaced(ctx context.Context, cancel context.CancelFunc, leader string) {
	for {
		moved := n.leaderMoved.wait()
		if now := n.leaderID(); now != "" && now != leader {
			cancel()
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

func (w *write) pause(ctx context.Context, moved <-chan struct{}) {
	t := time.NewTimer(retryShortest + rand.N(retryLongest-retryShortest))
	defer t.Stop()
	select {
	case <-moved:
	case <-t.C:
	case <-ctx.Done():
	case <-w.node.ctx.Done():
	}
}

// unknown marks an error of a write that may have been carried out.
func (w *write) unknown(err error) error {
	if !w.sent || errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// noLeader is the end of a write that was held in vain.
func (w *write) noLeader(ctx context.Context, last error) error {
	if w.node.HasLeader() {
		return w.unknown(fmt.Errorf("%w that answers: %w", ErrNoLeader, last))
	}
	err := w.node.noQuorum(ctx)
	var none *NoQuorumError
	if !errors.As(err, &none) {
		return w.unknown(err)
	}
	none.Sent = w.sent
	return none
}

// ApplyLocal carries out a command if this node leads; ErrNotLeader otherwise.
// ErrOutcomeUnknown is wrapped when leadership was lost on the way.
func (n *Node) ApplyLocal(ctx context.Context, c *fsm.Command) (*fsm.Result, error) {
	data, err := encode(c)
	if err != nil {
		return nil, err
	}
	if data, err = n.seal(c.Type, data); err != nil {
		return nil, err
	}
	result, _, err := n.applyLocal(ctx, data)
	return result, err
}

func (n *Node) applyLocal(ctx context.Context, data []byte) (result *fsm.Result, index uint64, err error) {
	if !n.IsLeader() || n.conf.Machine.ClusterID() == "" {
		return nil, 0, ErrNotLeader // or not yet: a cluster's first command is its id
	}
	return n.commit(ctx, data)
}

// commit gives a command to raft and waits until it is applied here. index is that
// of its entry: of a write that was asked for again, the result has the first one's.
func (n *Node) commit(ctx context.Context, data []byte) (result *fsm.Result, index uint64, err error) {
	done, err := n.applies.begin()
	if err != nil {
		return nil, 0, err
	}
	defer done()
	var future raft.ApplyFuture
	err = n.await(ctx, func() raft.Future {
		future = n.raft.Apply(data, n.conf.Timing.Call)
		return future
	})
	switch {
	case err == nil:
		if result, ok := future.Response().(*fsm.Result); ok {
			return result, future.Index(), nil
		}
		// It is committed, and others apply it: only this node stands still.
		return nil, 0, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrHalted)
	case errors.Is(err, raft.ErrRaftShutdown):
		return nil, 0, ErrClosed
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return nil, 0, fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return nil, 0, fmt.Errorf("%w: %w: %w", ErrNotLeader, ErrOutcomeUnknown, err)
	}
	return nil, 0, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// applies knows which applies are under way, and counts them.
type applies struct {
	mu      sync.Mutex
	next    uint64
	started map[uint64]time.Time
	count   uint64
	total   time.Duration
}

func newApplies() *applies { return &applies{started: map[uint64]time.Time{}} }

func (a *applies) begin() (done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.started) >= maxApplies {
		return nil, ErrBusy
	}
	a.next++
	id, start := a.next, time.Now()
	a.started[id] = start
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.started, id)
		a.count++
		a.total += time.Since(start)
	}, nil
}

// oldest is how long the oldest apply has taken so far.
func (a *applies) oldest() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var age time.Duration
	for _, start := range a.started {
		age = max(age, time.Since(start))
	}
	return age
}

func (a *applies) sums() (count uint64, total time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count, a.total
}

package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
)

// callLimits is the cluster call that carries a node's batch to the leader.
const callLimits = "limits"

// leaderLog is the limiter's log: batches go to the leader, wherever that is.
type leaderLog struct{ node *cluster.Node }

func (l leaderLog) Propose(ctx context.Context, b limiter.Batch) (limiter.BatchResult, error) {
	var result limiter.BatchResult
	body, err := b.MarshalBinary()
	if err != nil {
		return result, err
	}
	answer, err := l.node.CallLeader(ctx, callLimits, body)
	if err != nil {
		return result, err
	}
	return result, result.UnmarshalBinary(answer)
}

// submitLimits answers callLimits on the leader.
func submitLimits(batcher *limiter.Batcher) cluster.Handler {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var b limiter.Batch
		if err := b.UnmarshalBinary(body); err != nil {
			return nil, err
		}
		result, err := batcher.Submit(ctx, b)
		if err != nil {
			return nil, err
		}
		return result.MarshalBinary()
	}
}

// commitLimits brings an entry of the batcher into the raft log.
func commitLimits(node *cluster.Node) func(context.Context, limiter.Entry) (*limiter.Outcome, error) {
	return func(ctx context.Context, e limiter.Entry) (*limiter.Outcome, error) {
		result, err := node.ApplyLocal(ctx, fsm.NewLimits(&e))
		if err != nil {
			return nil, err
		}
		if result.Err != nil {
			return nil, fmt.Errorf("limits entry: %w", result.Err)
		}
		return result.Limits, nil
	}
}

// knownPool asks this node's copy of the ledger.
func knownPool(machine *fsm.Machine) func(limit, key string, p limiter.Period, start int64) (int64, bool) {
	return func(limit, key string, p limiter.Period, start int64) (pool int64, ok bool) {
		machine.Limits(func(l *limiter.Ledger) { pool, ok = l.Pool(limit, key, p, start) })
		return pool, ok
	}
}

// quotaHolder passes outcomes of the log to the limiter once there is one. The
// machine restores and applies before that; such outcomes belong to earlier
// runs of this node or to others, and the limiter has no leases yet.
type quotaHolder struct {
	limiter atomic.Pointer[limiter.Limiter]
}

func (h *quotaHolder) set(l *limiter.Limiter) { h.limiter.Store(l) }

func (h *quotaHolder) observe(o *limiter.Outcome) {
	if l := h.limiter.Load(); l != nil {
		l.Observe(o)
	}
}

// servedIndex is the index that this node's data plane serves. The cluster
// starts before the proxy, so whoever waits waits for that as well.
type servedIndex struct {
	ready chan struct{}
	plane cluster.Served
}

func newServedIndex() *servedIndex { return &servedIndex{ready: make(chan struct{})} }

// set is called once.
func (s *servedIndex) set(plane cluster.Served) {
	s.plane = plane
	close(s.ready)
}

// Wait returns once the data plane serves the index.
func (s *servedIndex) Wait(ctx context.Context, index uint64) error {
	select {
	case <-s.ready:
		return s.plane.Wait(ctx, index)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Index is 0 while there is no data plane.
func (s *servedIndex) Index() uint64 {
	select {
	case <-s.ready:
		return s.plane.Index()
	default:
		return 0
	}
}

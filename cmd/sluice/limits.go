package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// The cluster calls of the limiter: to the leader, and from node to node.
const (
	callLimits = "limits"
	callTokens = "tokens"
)

// limiterPeers is the cluster as the limiter wants it.
type limiterPeers struct{ node *cluster.Node }

func (p limiterPeers) CallLeader(ctx context.Context, body []byte) ([]byte, error) {
	return p.node.CallLeader(ctx, callLimits, body)
}

func (p limiterPeers) CallNode(ctx context.Context, node string, body []byte) ([]byte, error) {
	return p.node.CallNode(ctx, node, callTokens, body)
}
func (p limiterPeers) IsLeader() bool  { return p.node.IsLeader() }
func (p limiterPeers) HasLeader() bool { return p.node.HasLeader() }

// limiterLog is the raft log as the limiter wants it.
type limiterLog struct {
	node    *cluster.Node
	machine *fsm.Machine
}

func (l limiterLog) Commit(ctx context.Context, e *ledger.Entry) (*ledger.Outcome, error) {
	c, err := fsm.NewLimits(e)
	if err != nil {
		return nil, err
	}
	result, err := l.node.ApplyLocal(ctx, c)
	if err != nil {
		return nil, err
	}
	if result.Err != nil {
		return nil, fmt.Errorf("limits entry: %w", result.Err)
	}
	return result.Limits, nil
}

func (l limiterLog) Ledger() *ledger.Ledger { return l.machine.Limits() }

func (l limiterLog) Known() (int64, *ledger.Rosters) {
	limits := l.machine.Limits()
	return limits.Stamp(), limits.Rosters()
}

// limitsConfigured says whether any plugin limits requests.
func limitsConfigured(machine *fsm.Machine) func() bool {
	var version atomic.Uint64
	var configured atomic.Bool
	return func() bool {
		view := machine.View()
		if v := view.Version("plugins") + 1; version.Swap(v) != v {
			found := false
			for e := range view.All("plugins") {
				def, known := plugin.Lookup(e.Value.(*fsm.Plugin).Name)
				found = found || known && def.Budget != nil
			}
			configured.Store(found)
		}
		return configured.Load()
	}
}

func (g *gateway) openLimiter(context.Context) error {
	log := g.log.Named("limiter")
	audit, err := g.openAudit(log)
	if err != nil {
		return err
	}
	g.limiter = limiter.New(limiter.Config{
		Node: g.node.ID(), Peers: limiterPeers{g.node}, Log: limiterLog{g.node, g.machine},
		Secret: func() (string, bool) { id := g.machine.ClusterID(); return id, id != "" },
		Active: limitsConfigured(g.machine),
		Cells:  filepath.Join(g.cfg.DataDir(), "limits.cells"),
		Now:    wallClock(g.cfg.DataDir()),
		Audit:  audit,
		Warn:   func(text string, err error) { log.Warn(text, zap.Error(err)) },
	})
	g.onClose(func(context.Context) error { g.limiter.Close(); return nil })
	g.node.Handle(callLimits, g.limiter.ServeLeader)
	g.node.Handle(callTokens, g.limiter.ServeNode)
	g.quota.set(g.limiter)
	return g.registry.Register(newLimitMetrics(g.limiter))
}

// quotaHolder passes outcomes of the log to the limiter once there is one.
// Earlier ones are in the ledger, which the limiter asks when it starts.
type quotaHolder struct {
	limiter atomic.Pointer[limiter.Limiter]
}

func (h *quotaHolder) set(l *limiter.Limiter) { h.limiter.Store(l) }

func (h *quotaHolder) observe(o *ledger.Outcome) {
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

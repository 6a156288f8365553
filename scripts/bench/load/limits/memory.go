package limits

import (
	"context"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/inprocess"
)

// Memory is Sluice's limiter on several nodes through its Go API: all in this
// process, around one ledger that is no log on a disk. Safe for concurrent use.
type Memory struct {
	cluster *inprocess.Cluster
	nodes   int
}

// NewMemory starts the limiters of so many nodes.
func NewMemory(nodes int) *Memory {
	return &Memory{inprocess.New(nodes, nil), nodes}
}

// Close ends the limiters.
func (m *Memory) Close() error {
	m.cluster.Close()
	return nil
}

// Decider decides on one of the nodes; worker is taken modulo their number.
func (m *Memory) Decider(worker int, lim *limiter.Limit) Decider {
	return memoryDecider{m.cluster.Limiter(worker % m.nodes), lim}
}

type memoryDecider struct {
	limiter *limiter.Limiter
	limit   *limiter.Limit
}

// Decide implements Decider.
func (d memoryDecider) Decide(ctx context.Context, key string) (bool, error) {
	decision := d.limiter.Take(ctx, d.limit, key)
	return decision.Admitted, decision.Err
}

// Close implements Decider. The limiter is Memory's.
func (d memoryDecider) Close() {}

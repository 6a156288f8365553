// Package inprocess runs the limiters of several nodes in one process, around
// one ledger that is no log on a disk: for tests and benchmarks.
package inprocess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/ledger"
)

// ErrUnreachable is what calls to and from a node that is cut off get.
var ErrUnreachable = errors.New("inprocess: not reachable")

// Cluster is some nodes. Methods are safe for concurrent use.
type Cluster struct {
	ledger *ledger.Ledger
	apply  sync.Mutex // keeps entries in order

	mu    sync.Mutex
	nodes []*Node
	lead  int // -1 for none
}

// Node is one node of a cluster.
type Node struct {
	cluster *Cluster
	id      string
	number  int
	limiter *limiter.Limiter // nil while it is down
	cut     bool
	missed  []*ledger.Outcome // while it was cut off
	calls   sync.WaitGroup    // of others, and of the log, into its limiter
}

// New starts so many nodes, of which the first leads. change, if not nil, may
// set what else there is in a node's configuration.
func New(nodes int, change func(node int, c *limiter.Config)) *Cluster {
	c := &Cluster{ledger: ledger.New()}
	for i := range nodes {
		c.nodes = append(c.nodes, &Node{cluster: c, id: fmt.Sprintf("n%d", i+1), number: i})
	}
	for i := range nodes {
		c.Start(i, change)
	}
	return c
}

// Start starts a node that is down.
func (c *Cluster) Start(node int, change func(node int, c *limiter.Config)) {
	n := c.nodes[node]
	cfg := limiter.Config{Node: n.id, Peers: n, Log: n, Secret: func() (string, bool) { return "inprocess", true }}
	if change != nil {
		change(node, &cfg)
	}
	l := limiter.New(cfg)
	c.mu.Lock()
	n.limiter, n.missed = l, nil
	c.mu.Unlock()
}

// Stop ends a node. Nobody may be in its limiter's Take.
func (c *Cluster) Stop(node int) {
	c.mu.Lock()
	l := c.nodes[node].limiter
	c.nodes[node].limiter = nil
	c.mu.Unlock()
	if l != nil {
		l.Close()
		c.nodes[node].calls.Wait()
		_ = l.Release() // unmapping what was mapped does not fail
	}
}

// Close ends all nodes.
func (c *Cluster) Close() {
	c.Lead(-1)
	for i := range c.nodes {
		c.Stop(i)
	}
}

// Limiter is a node's limiter.
func (c *Cluster) Limiter(node int) *limiter.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[node].limiter
}

// Ledger is what all nodes know.
func (c *Cluster) Ledger() *ledger.Ledger { return c.ledger }

// Lead has a node lead, or none for -1.
func (c *Cluster) Lead(node int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead = node
}

// Cut takes a node off the others, or puts it back.
func (c *Cluster) Cut(node int, off bool) {
	c.mu.Lock()
	n := c.nodes[node]
	n.cut = off
	missed, l := n.missed, n.limiter
	if !off {
		n.missed = nil
	}
	c.mu.Unlock()
	if !off && l != nil {
		for _, o := range missed {
			l.Observe(o)
		}
	}
}

// reach returns the limiter of a node that another can reach, and what is to be called
// when the call is over.
func (c *Cluster) reach(from *Node, to int) (l *limiter.Limiter, over func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to < 0 || from.cut || c.nodes[to].cut && from.number != to || c.nodes[to].limiter == nil {
		return nil, nil, ErrUnreachable
	}
	n := c.nodes[to]
	n.calls.Add(1)
	return n.limiter, n.calls.Done, nil
}

// CallLeader implements limiter.Peers.
func (n *Node) CallLeader(ctx context.Context, body []byte) ([]byte, error) {
	n.cluster.mu.Lock()
	lead := n.cluster.lead
	n.cluster.mu.Unlock()
	l, over, err := n.cluster.reach(n, lead)
	if err != nil {
		return nil, err
	}
	defer over()
	return l.ServeLeader(ctx, body)
}

// CallNode implements limiter.Peers.
func (n *Node) CallNode(ctx context.Context, node string, body []byte) ([]byte, error) {
	to := slices.IndexFunc(n.cluster.nodes, func(o *Node) bool { return o.id == node })
	l, over, err := n.cluster.reach(n, to)
	if err != nil {
		return nil, err
	}
	defer over()
	return l.ServeNode(ctx, body)
}

// IsLeader implements limiter.Peers.
func (n *Node) IsLeader() bool {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return n.cluster.lead == n.number && !n.cut
}

// HasLeader implements limiter.Peers.
func (n *Node) HasLeader() bool {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return n.cluster.lead >= 0 && (!n.cut || n.cluster.lead == n.number)
}

// Commit implements limiter.Log.
func (n *Node) Commit(_ context.Context, e *ledger.Entry) (*ledger.Outcome, error) {
	c := n.cluster
	if !n.IsLeader() {
		return nil, ErrUnreachable
	}
	c.apply.Lock()
	defer c.apply.Unlock()
	o := c.ledger.Apply(e)
	c.mu.Lock()
	tell := map[*Node]*limiter.Limiter{}
	for _, m := range c.nodes {
		switch {
		case m.limiter == nil:
		case m.cut:
			m.missed = append(m.missed, o)
		default:
			m.calls.Add(1)
			tell[m] = m.limiter
		}
	}
	c.mu.Unlock()
	for m, l := range tell {
		l.Observe(o)
		m.calls.Done()
	}
	return o, nil
}

// Ledger implements limiter.Log.
func (n *Node) Ledger() *ledger.Ledger { return n.cluster.ledger }

// Known implements limiter.Log.
func (n *Node) Known() (int64, *ledger.Rosters) {
	return n.cluster.ledger.Stamp(), n.cluster.ledger.Rosters()
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/internal/obs"
)

const (
	callLevel = "log-level"
	// levelWait bounds how long a change waits for other nodes.
	levelWait = 2 * time.Second
)

// levelChange is what a node tells the others.
type levelChange struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration"` // in nanoseconds, 0 for good
}

// clusterLevels is this node's log level, and the way to that of others.
type clusterLevels struct {
	*obs.Levels
	node *cluster.Node
}

var _ api.LogLevels = clusterLevels{}

// newClusterLevels answers the other nodes from now on.
func newClusterLevels(levels *obs.Levels, node *cluster.Node) clusterLevels {
	node.Handle(callLevel, func(_ context.Context, body []byte) ([]byte, error) {
		var c levelChange
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, fmt.Errorf("change of the log level: %w", err)
		}
		_, err := levels.SetLevel(c.Name, c.Duration)
		return []byte("{}"), err
	})
	return clusterLevels{levels, node}
}

// SetEverywhere changes this node's level, then asks all others at once.
func (l clusterLevels) SetEverywhere(ctx context.Context, name string, d time.Duration) ([]string, error) {
	if _, err := l.SetLevel(name, d); err != nil {
		return nil, err
	}
	body, err := json.Marshal(levelChange{name, d})
	if err != nil {
		return nil, fmt.Errorf("change of the log level: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, levelWait)
	defer cancel()
	nodes := l.node.Status().Nodes
	failed := make([]bool, len(nodes))
	var asked sync.WaitGroup
	for i, n := range nodes {
		if n.ID == l.node.ID() {
			continue
		}
		asked.Go(func() {
			_, err := l.node.CallNode(ctx, n.ID, callLevel, body)
			failed[i] = err != nil
		})
	}
	asked.Wait()
	var unreached []string
	for i, n := range nodes {
		if failed[i] {
			unreached = append(unreached, n.Name)
		}
	}
	return unreached, nil
}

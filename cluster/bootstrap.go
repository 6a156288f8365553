package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// bootstrapAlone makes a node with an empty data directory and nobody to join a
// cluster of its own.
func (n *Node) bootstrapAlone(context.Context) error {
	if len(n.conf.Join) > 0 {
		return nil
	}
	has, err := n.data.hasState()
	if err != nil || has {
		return err
	}
	return n.bootstrap([]string{n.id})
}

// bootstrapTogether forms a cluster of the nodes that expect one, if there is
// none. Each node looks for itself: all alive nodes must be asked and agree on
// who is alive, how many are expected, and that there is no cluster. Then the
// voters are the expected number of lowest ids, the same on every node.
//
// Gossip's view alone would do for exactly that many nodes. Where more start at
// once, two views of it could overlap in less than a majority, and form two.
func (n *Node) bootstrapTogether(ctx context.Context) error {
	expect := n.conf.Expect
	if expect == 0 || len(n.servers()) > 0 {
		return nil
	}
	alive := n.dir.alive()
	if len(alive) < expect {
		return fmt.Errorf("%d of %d expected nodes are here", len(alive), expect)
	}
	ids := make([]string, len(alive))
	for i, m := range alive {
		ids[i] = m.ID
	}
	for _, m := range alive {
		if m.meta.Configured {
			return errors.New("there is a cluster to join")
		}
	}
	for _, m := range alive {
		if m.ID == n.id {
			continue
		}
		info, err := n.client.info(ctx, m.Address)
		if err != nil {
			return err
		}
		if err := agrees(info, m.ID, expect, ids); err != nil {
			return err
		}
		if err := sameKeys(info.Name, splitKeys(info.Keys), n.conf.Keys.IDs()); err != nil {
			return err
		}
	}
	return n.bootstrap(ids[:expect])
}

func agrees(info nodeInfo, id string, expect int, ids []string) error {
	theirs := slices.Clone(info.Members)
	sort.Strings(theirs)
	switch {
	case info.ID != id:
		return fmt.Errorf("node %s answers at the address of node %s", info.ID, id)
	case info.Configured || info.ClusterID != "":
		return errors.New("there is a cluster to join")
	case info.Expect != expect:
		return fmt.Errorf("node %s expects %d nodes, this one %d", info.Name, info.Expect, expect)
	case !slices.Equal(theirs, ids):
		return fmt.Errorf("node %s sees other nodes than this one", info.Name)
	}
	return nil
}

// sameKeys makes sure that a cluster which is to be sealed is sealed from its first
// entry: each node opens what the other seals.
func sameKeys(name string, theirs, ours []string) error {
	for _, lack := range []struct {
		of       string
		has, key []string
	}{{"node " + name, theirs, ours}, {"this node", ours, theirs}} {
		if len(lack.key) > 0 && !slices.Contains(lack.has, lack.key[0]) {
			return fmt.Errorf("%w: %s does not have encryption key %s, with which another would seal", ErrKeyMissing, lack.of, lack.key[0])
		}
	}
	return nil
}

// bootstrap gives raft its first configuration. The address of a server is its
// id: the directory knows where it is.
func (n *Node) bootstrap(ids []string) error {
	var conf raft.Configuration
	for _, id := range ids {
		conf.Servers = append(conf.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	err := n.raft.BootstrapCluster(conf).Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		return nil // another node's first entry came before
	}
	if err != nil {
		return fmt.Errorf("form a cluster: %w", err)
	}
	n.log.Info("a cluster is formed", zap.Strings("voters", ids))
	wake(n.tell)
	return nil
}

package cluster

import (
	"context"
	"testing"
)

func TestOneNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := config(t, dir)
	n := open(t, conf)
	waitLeader(t, n)
	index := put(t, n, "alice")
	if err := n.WaitServed(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if late, err := n.WaitAll(t.Context(), index); err != nil || len(late) > 0 {
		t.Fatalf("late: %v, %v", late, err)
	}
	status := n.Status()
	if status.ClusterID == "" || status.Leader != n.ID() || !status.Quorum || len(status.Nodes) != 1 || status.Nodes[0].State != StateAlive {
		t.Errorf("status: %+v", status)
	}
	shutdown(t, n)
	if _, err := n.Apply(context.Background(), create("late")); err == nil {
		t.Error("a node that was shut down applied a command")
	}

	again := open(t, config(t, dir))
	if again.ID() != n.ID() {
		t.Errorf("id changed from %s to %s", n.ID(), again.ID())
	}
	if !has(again, "alice") {
		t.Error("the change is gone after a restart")
	}
	waitLeader(t, again)
	put(t, again, "bob")
	if got := again.Status().ClusterID; got != status.ClusterID {
		t.Errorf("cluster id changed from %s to %s", status.ClusterID, got)
	}
}

func TestThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 3)
	for i, n := range nodes {
		index := put(t, n, string(rune('a'+i)))
		if late, err := n.WaitAll(t.Context(), index); err != nil || len(late) > 0 {
			t.Fatalf("late: %v, %v", late, err)
		}
		for _, other := range nodes {
			if !has(other, string(rune('a'+i))) {
				t.Errorf("%s does not serve the change", other.Name())
			}
		}
	}
	status := nodes[2].Status()
	if len(status.Nodes) != 3 || !status.Quorum {
		t.Fatalf("status: %+v", status)
	}
	for _, node := range status.Nodes {
		if node.State != StateAlive || !node.Voter || node.Index == 0 || node.Address == "" || node.Leader != (node.ID == status.Leader) {
			t.Errorf("node: %+v", node)
		}
	}
}

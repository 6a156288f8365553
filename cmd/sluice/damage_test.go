package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCorruptSnapshot: a node whose state is damaged says so in one sentence
// and touches nothing; with the file put right it has everything.
func TestCorruptSnapshot(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	n.create("/consumers", "username", "alice")
	n.stop()

	states, err := filepath.Glob(filepath.Join(n.dir, "cluster", "snapshots", "*", "state.bin"))
	if err != nil || len(states) == 0 {
		t.Fatalf("no snapshot after a clean stop: %v", err)
	}
	before := map[string][]byte{}
	for _, path := range states {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before[path] = data
		broken := append([]byte(nil), data...)
		broken[len(broken)/2] ^= 1
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	code := n.wait()
	if told := n.stderr.String(); code != 1 || strings.Count(told, "\n") != 1 || !strings.Contains(told, "snapshot") {
		t.Errorf("exit code %d:\n%s", code, told)
	}
	for path, data := range before {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatalf("the damaged file is gone: %v", err)
		}
	}
	n.start()
	c.waitReady()
	if a := n.admin("GET", "/consumers/alice", nil); a.status != 200 {
		t.Errorf("after the repair: %d %s", a.status, a.body)
	}
}

// TestForeignCluster: a node that has a cluster of its own and is told to join
// another is refused in one sentence with both ids, and both go on as they were.
func TestForeignCluster(t *testing.T) {
	ours, theirs := newCluster(t, 1), newCluster(t, 1)
	a, b := ours.nodes[0], theirs.nodes[0]
	a.create("/consumers", "username", "alice")
	ids := make([]string, 2)
	for i, n := range []*testNode{a, b} {
		status, err := n.status()
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = status.ClusterID
	}
	b.stop()
	b.args = []string{"--join", "127.0.0.1:" + strconv.Itoa(a.clusterPort)}
	b.start()
	code := b.wait()
	if told := b.stderr.String(); code != 1 || strings.Count(told, "\n") != 1 || !strings.Contains(told, ids[0]) || !strings.Contains(told, ids[1]) {
		t.Errorf("exit code %d, clusters %v:\n%s", code, ids, told)
	}
	b.args = nil
	b.start()
	theirs.waitReady()
	if got := b.admin("GET", "/consumers/alice", nil); got.status != 404 {
		t.Errorf("the other cluster's consumer: %d", got.status)
	}
	if got := a.admin("PUT", "/consumers/bob", url.Values{}); got.status != 200 {
		t.Errorf("a write to the first cluster: %d %s", got.status, got.body)
	}
}

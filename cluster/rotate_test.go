package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicegate/sluice/internal/seal"
)

// A running cluster is given keys node by node, while others write: everything is
// sealed once the last node has them, and a rotation removes what was in clear.
func TestKeysAreGivenToARunningCluster(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	nodes, paths := dirs(t)
	putSecret(t, nodes[0], "alice")
	w := startWriters(t, nodes)
	for i := range nodes {
		w.take(i)
		shutdown(t, nodes[i])
		conf := sealedConfig(t, paths[i], key)
		nodes[i] = open(t, conf)
		waitVoters(t, nodes...)
		w.give(i, nodes[i])
		if i < 2 {
			if got, err := nodes[i].sealingKey(); got != nil || err != nil {
				t.Fatalf("sealed with %v, %v before all have the key", got, err)
			}
		}
	}
	sealing(t, key, nodes...)
	if s := nodes[0].Stats(); !s.Sealed {
		t.Error("the metrics do not say that it is sealed")
	}
	if found := exposed(t, paths...); len(found) == 0 {
		t.Fatal("what was written in clear is not found")
	}
	rotated(t, nodes[1], key)
	w.stop()
	for _, n := range nodes {
		saved(t, n)
	}
	if found := exposed(t, paths...); len(found) > 0 {
		t.Errorf("after the rotation the secret is in %s", found)
	}
	w.check(nodes...)
}

// rotated rotates through a node, and checks what it says.
func rotated(t testing.TB, n *Node, key *seal.Key) {
	t.Helper()
	all, err := n.RotateEncryption(t.Context())
	if err != nil {
		t.Fatalf("rotate: %v\n%+v", err, all)
	}
	for _, e := range all {
		if !e.Only(key.ID().String()) {
			t.Errorf("%s: %+v", e.Name, e)
		}
	}
}

// The key changes while writes go on, and the old one is taken away after it.
func TestRotationUnderWrites(t *testing.T) {
	t.Parallel()
	old, next := newKey(t), newKey(t)
	nodes := openSealed(t, old)
	paths := dataDirs(nodes)
	putSecret(t, nodes[0], "alice")
	w := startWriters(t, nodes)
	for i, path := range paths {
		w.take(i)
		shutdown(t, nodes[i])
		nodes[i] = open(t, sealedConfig(t, path, next, old))
		waitVoters(t, nodes...)
		w.give(i, nodes[i])
		if i == 0 {
			sealing(t, old, nodes...)
			if s := nodes[0].Stats(); s.Sealed {
				t.Error("the metrics say that it is sealed with a key that others lack")
			}
			if _, err := nodes[0].RotateEncryption(t.Context()); !errors.Is(err, ErrRotation) {
				t.Errorf("a rotation that two nodes are not ready for: %v", err)
			} else {
				contains(t, err, nodes[1].Name(), nodes[2].Name(), next.ID().String())
			}
		}
	}
	sealing(t, next, nodes...)
	rotated(t, nodes[2], next)
	rotated(t, nodes[0], next) // again, for nothing
	for i, path := range paths {
		w.take(i)
		shutdown(t, nodes[i])
		nodes[i] = open(t, sealedConfig(t, path, next)) // not the old one any more
		waitVoters(t, nodes...)
		w.give(i, nodes[i])
	}
	w.stop()
	w.check(nodes...)
	if found := exposed(t, paths...); len(found) > 0 {
		t.Errorf("the secret is in %s", found)
	}
	marker := old.Seal(kindEntry, nil)[:seal.HeaderSize-24]
	for _, path := range paths {
		files, err := filepath.Glob(filepath.Join(path, "cluster", dirLog, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("files of the log: %v, %v", files, err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err != nil || bytes.Contains(data, marker) {
				t.Errorf("%s still holds something of the old key: %v", file, err)
			}
		}
	}
}

// writers write secrets through nodes until they are stopped, and remember what
// was acknowledged.
type writers struct {
	t     *testing.T
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
	nodes []atomic.Pointer[Node]
	mu    sync.Mutex
	acked []string
}

func startWriters(t *testing.T, nodes []*Node) *writers {
	w := &writers{t: t, nodes: make([]atomic.Pointer[Node], len(nodes))}
	w.ctx, w.end = context.WithCancel(t.Context())
	for i, n := range nodes {
		w.give(i, n)
		w.wg.Go(func() {
			for count := 0; w.ctx.Err() == nil; count++ {
				pause(w.ctx, quick().Commit)
				n := w.nodes[i].Load()
				if n == nil {
					continue
				}
				name := fmt.Sprintf("w%d-%d", i, count)
				result, err := n.Apply(w.ctx, secretWrite(name))
				if err == nil && result.Err == nil {
					w.mu.Lock()
					w.acked = append(w.acked, name)
					w.mu.Unlock()
				}
			}
		})
	}
	t.Cleanup(w.stop)
	return w
}

// take takes a node that is to be stopped from its writer.
func (w *writers) take(i int) { w.nodes[i].Store(nil) }

func (w *writers) give(i int, n *Node) { w.nodes[i].Store(n) }

func (w *writers) stop() {
	w.end()
	w.wg.Wait()
}

// check makes sure that nothing acknowledged was lost on any node.
func (w *writers) check(nodes ...*Node) {
	w.t.Helper()
	if len(w.acked) < 10 {
		w.t.Fatalf("only %d writes were acknowledged", len(w.acked))
	}
	for _, n := range nodes {
		for _, name := range w.acked {
			holds(w.t, n, name)
		}
	}
}

// A rotation that was cut off at any point is finished by the next one.
func TestRotationAfterACrash(t *testing.T) {
	t.Parallel()
	old, next := newKey(t), newKey(t)
	nodes := openSealed(t, old)
	paths := dataDirs(nodes)
	putSecret(t, nodes[0], "alice")
	for i, path := range paths {
		shutdown(t, nodes[i])
		nodes[i] = open(t, sealedConfig(t, path, next, old))
		waitVoters(t, nodes...)
	}
	sealing(t, next, nodes...)
	// The first node is done, the second has its snapshot and a log that was being
	// written anew, the third has begun nothing.
	if _, err := nodes[0].rotateHere(t.Context(), next.ID().String()); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	crash(t, nodes[1])
	left := filepath.Join(paths[1], "cluster", dirLog, "0000000000000009.tmp")
	if err := os.WriteFile(left, []byte(secretWord), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].RotateEncryption(t.Context()); !errors.Is(err, ErrRotation) {
		t.Errorf("with a node away: %v", err)
	} else {
		contains(t, err, "does not answer")
	}
	nodes[1] = open(t, sealedConfig(t, paths[1], next, old))
	waitVoters(t, nodes...)
	sealing(t, next, nodes...)
	rotated(t, nodes[0], next)
	if found := exposed(t, paths...); len(found) > 0 {
		t.Errorf("the secret is in %s", found)
	}
	for i, path := range paths {
		shutdown(t, nodes[i])
		nodes[i] = open(t, sealedConfig(t, path, next))
		waitVoters(t, nodes...)
		holds(t, nodes[i], "alice")
	}
}

// A node that has applied nothing since its start has nothing new to write, and
// writes it all the same.
func TestRewriteAfterAQuietRestart(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	nodes := openSealed(t, key)
	putSecret(t, nodes[0], "alice")
	leader := waitLeader(t, nodes...)
	for i, n := range nodes {
		if n == leader {
			continue
		}
		holds(t, n, "alice")
		if err := n.rewrite(t.Context()); err != nil {
			t.Fatal(err)
		}
		crash(t, n) // no election follows, and no last snapshot
		again := open(t, sealedConfig(t, n.conf.DataDir, key))
		nodes[i] = again
		waitVoters(t, nodes...)
		before, err := again.data.snapshots.List()
		if err != nil || len(before) == 0 {
			t.Fatalf("%d snapshots, %v", len(before), err)
		}
		if err := again.rewrite(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after, err := again.data.snapshots.List(); err != nil || len(after) == 0 || after[0].ID == before[0].ID {
			t.Errorf("no new snapshot: %v, %v", after, err)
		}
		return
	}
}

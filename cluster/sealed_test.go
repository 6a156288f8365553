package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// secretWord is in everything that must not be on a disk.
const secretWord = "the-key-of-alice-that-nobody-may-read"

func newKey(t testing.TB) *seal.Key {
	t.Helper()
	k, ok := seal.ParseKey(seal.NewKeyText())
	if !ok {
		t.Fatal("a new key does not parse")
	}
	return k
}

func keysOf(t testing.TB, list ...*seal.Key) *seal.Keys {
	t.Helper()
	if len(list) == 0 {
		return nil
	}
	ks, err := seal.NewKeys(list...)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func sealedConfig(t testing.TB, dir string, keys ...*seal.Key) Config {
	t.Helper()
	conf := config(t, dir)
	conf.Keys = keysOf(t, keys...)
	return conf
}

// openSealed starts a cluster of three that all have the keys.
func openSealed(t testing.TB, keys ...*seal.Key) []*Node {
	t.Helper()
	nodes := []*Node{open(t, sealedConfig(t, t.TempDir(), keys...))}
	waitLeader(t, nodes...)
	for range 2 {
		conf := sealedConfig(t, t.TempDir(), keys...)
		conf.Join = []string{nodes[0].Address()}
		nodes = append(nodes, open(t, conf))
	}
	waitVoters(t, nodes...)
	return nodes
}

func waitVoters(t testing.TB, nodes ...*Node) {
	t.Helper()
	eventually(t, func() error {
		for _, n := range nodes {
			if n.Voters() != len(nodes) || !n.HasLeader() {
				return fmt.Errorf("%s sees %d voters, leader %q", n.Name(), n.Voters(), n.leaderID())
			}
		}
		return nil
	})
}

// sealing waits until all nodes seal with a key, nil for in clear.
func sealing(t testing.TB, key *seal.Key, nodes ...*Node) {
	t.Helper()
	eventually(t, func() error {
		for _, n := range nodes {
			if got, err := n.sealingKey(); err != nil || got != key && (got == nil || key == nil || got.ID() != key.ID()) {
				return fmt.Errorf("%s seals with %v, %v; not with %v", n.Name(), got, err, key)
			}
		}
		return nil
	})
}

// secretWrite creates a credential with the secret, and its consumer.
func secretWrite(name string) *fsm.Command {
	consumer := uuid.NewString()
	owner, _ := json.Marshal(map[string]any{"id": consumer, "username": name})
	id := uuid.NewString()
	key, _ := json.Marshal(map[string]any{"id": id, "key": name + secretWord, "consumer": map[string]any{"id": consumer}})
	return fsm.NewWrite(uuid.NewString(), 0,
		fsm.Op{Verb: fsm.Create, Kind: "consumers", ID: consumer, Raw: owner},
		fsm.Op{Verb: fsm.Create, Kind: "keyauth_credentials", ID: id, Raw: key})
}

func putSecret(t testing.TB, n *Node, name string) uint64 {
	t.Helper()
	result, err := n.Apply(t.Context(), secretWrite(name))
	if err != nil || result.Err != nil {
		t.Fatalf("write %s through %s: %v, %+v", name, n.Name(), err, result)
	}
	return result.Index
}

// putLarge writes more than an entry holds: it is staged.
func putLarge(t testing.TB, n *Node, name string) {
	t.Helper()
	id := uuid.NewString()
	raw, err := json.Marshal(map[string]any{"id": id, "username": name, "custom_id": name + strings.Repeat(secretWord+"-", 30_000)})
	if err != nil {
		t.Fatal(err)
	}
	result, err := n.Apply(t.Context(), fsm.NewWrite("", 0, fsm.Op{Verb: fsm.Create, Kind: "consumers", ID: id, Raw: raw}))
	if err != nil || result.Err != nil {
		t.Fatalf("write of %d bytes: %v, %+v", len(raw), err, result)
	}
}

// exposed gives the files below a directory in which the secret can be read. Parts
// of staged writes are in base64, in which it looks one of three ways.
func exposed(t testing.TB, dirs ...string) []string {
	t.Helper()
	words := [][]byte{[]byte(secretWord)}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secretWord))
		words = append(words, []byte(text[4:len(text)-4]))
	}
	var found []string
	for _, dir := range dirs {
		files := 0
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a snapshot that made room while this looked
			}
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			files++
			for _, word := range words {
				if bytes.Contains(data, word) {
					found = append(found, path)
					break
				}
			}
			return err
		})
		if err != nil || files < 3 {
			t.Fatalf("%d files in %s, %v", files, dir, err)
		}
	}
	return found
}

func dataDirs(nodes []*Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.conf.DataDir)
	}
	return out
}

// With keys no file holds a secret, whatever wrote it; without, the same look finds
// it, in the log and in snapshots.
func TestNoFileHoldsASecret(t *testing.T) {
	t.Parallel()
	for _, sealed := range []bool{true, false} {
		t.Run(fmt.Sprint("sealed=", sealed), func(t *testing.T) {
			t.Parallel()
			var keys []*seal.Key
			if sealed {
				keys = []*seal.Key{newKey(t)}
			}
			nodes := openSealed(t, keys...)
			for i, n := range nodes {
				putSecret(t, n, fmt.Sprint("alice", i))
				putLarge(t, n, fmt.Sprint("large", i))
			}
			for _, n := range nodes {
				holds(t, n, "large2")
				saved(t, n)
			}
			look := func(when string) {
				t.Helper()
				found := exposed(t, dataDirs(nodes)...)
				if sealed && len(found) > 0 {
					t.Errorf("%s: the secret is in %s", when, found)
				}
				log, snapshots := strings.Contains(fmt.Sprint(found), fileLog), strings.Contains(fmt.Sprint(found), fileState)
				if !sealed && (!log || !snapshots) {
					t.Errorf("%s: the secret is not found in clear, only in %s", when, found)
				}
			}
			look("running")
			for _, n := range nodes {
				shutdown(t, n)
			}
			look("stopped")
			again := open(t, sealedConfig(t, nodes[0].conf.DataDir, keys...))
			if !has(again, "alice0") || !has(again, "large2") {
				t.Error("a restart lost something")
			}
		})
	}
}

func TestStartWithoutTheKeyIsRefused(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	dir := t.TempDir()
	n := open(t, sealedConfig(t, dir, key))
	waitLeader(t, n)
	putSecret(t, n, "alice")
	saved(t, n)
	shutdown(t, n)
	before := contents(t, dir)
	for name, keys := range map[string][]*seal.Key{"another key": {other}, "no key": nil} {
		_, err := Open(t.Context(), sealedConfig(t, dir, keys...))
		if !errors.Is(err, ErrKeyMissing) {
			t.Fatalf("%s: %v", name, err)
		}
		contains(t, err, key.ID().String(), "encryption_keys")
		if len(keys) > 0 {
			contains(t, err, other.ID().String())
		}
	}
	// The log alone says so too: no snapshot is read before it.
	if err := os.Rename(filepath.Join(dir, "cluster", dirSnapshots), filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), sealedConfig(t, dir, other)); !errors.Is(err, ErrKeyMissing) {
		t.Fatalf("by its log: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "aside"), filepath.Join(dir, "cluster", dirSnapshots)); err != nil {
		t.Fatal(err)
	}
	if after := contents(t, dir); after != before {
		t.Errorf("a refused start wrote something:\n%s\n%s", before, after)
	}
	again := open(t, sealedConfig(t, dir, other, key))
	if !has(again, "alice") {
		t.Error("with the key, the state is not there")
	}
}

// contents sums up all files of a directory.
func contents(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s %x\n", path, sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

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
		if data, err := os.ReadFile(filepath.Join(path, "cluster", fileLog)); err != nil || bytes.Contains(data, marker) {
			t.Errorf("the log's file still holds something of the old key: %v", err)
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
				n := w.nodes[i].Load()
				if n == nil {
					pause(w.ctx, quick().Commit)
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

// A follower that missed more than the log holds is sent a sealed snapshot.
func TestSealedSnapshotIsInstalled(t *testing.T) {
	t.Parallel()
	old, next := newKey(t), newKey(t)
	nodes := openSealed(t, old)
	putSecret(t, nodes[0], "before")
	away := nodes[2].conf.DataDir
	holds(t, nodes[2], "before")
	saved(t, nodes[2])
	shutdown(t, nodes[2])
	putSecret(t, nodes[0], "while-away")
	for _, n := range nodes[:2] {
		holds(t, n, "while-away")
		if err := n.rewrite(t.Context()); err != nil { // nothing is left of the log
			t.Fatal(err)
		}
	}
	again := open(t, sealedConfig(t, away, old, next))
	holds(t, again, "while-away")
	found, err := again.data.inventory()
	if err != nil || len(found.snapshots) == 0 || found.snapshots[0] != old.ID().String() {
		t.Errorf("stored: %+v, %v", found, err)
	}
	if found := exposed(t, dataDirs(nodes)...); len(found) > 0 {
		t.Errorf("the secret is in %s", found)
	}
}

func TestJoinWithoutTheKeyIsRefused(t *testing.T) {
	t.Parallel()
	old, key := newKey(t), newKey(t)
	n := open(t, sealedConfig(t, t.TempDir(), key, old))
	waitLeader(t, n)
	putSecret(t, n, "alice")
	for name, keys := range map[string][]*seal.Key{"no key": nil, "another key": {newKey(t)}, "only the older one": {old}} {
		conf := sealedConfig(t, t.TempDir(), keys...)
		conf.Join = []string{n.Address()}
		stranger := open(t, conf)
		_, err := stranger.client.join(t.Context(), n.Address(), joinRequest{ID: stranger.ID(), Address: stranger.Address(), Keys: joinKeys(conf.Keys.IDs())})
		if !errors.Is(err, ErrKeyMissing) {
			t.Fatalf("%s: %v", name, err)
		}
		contains(t, err, key.ID().String(), "encryption_keys")
		shutdown(t, stranger)
	}
	if got := len(n.servers()); got != 1 {
		t.Errorf("%d members", got)
	}
	conf := sealedConfig(t, t.TempDir(), key)
	conf.Join = []string{n.Address()}
	holds(t, open(t, conf), "alice")
}

// What cannot be opened does not become an entry.
func TestTheLeaderTakesNothingThatItCannotOpen(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	n := open(t, sealedConfig(t, t.TempDir(), key))
	waitLeader(t, n)
	data, err := secretWrite("alice").Encode()
	if err != nil {
		t.Fatal(err)
	}
	before := n.raft.LastIndex()
	if _, err := n.acceptEntry(other.Seal(kindEntry, data)); !errors.Is(err, ErrKeyMissing) {
		t.Errorf("another key: %v", err)
	}
	damaged := key.Seal(kindEntry, data)
	damaged[len(damaged)-1] ^= 1
	if _, err := n.acceptEntry(damaged); err == nil || n.raft.LastIndex() != before {
		t.Errorf("damaged: %v", err)
	}
	// From a node that does not know yet.
	if entry, err := n.acceptEntry(data); err != nil || !seal.IsSealed(entry) {
		t.Errorf("in clear: %v", err)
	}
	if entry, err := n.acceptEntry([]byte(`{"v":1,"t":4}`)); err != nil || seal.IsSealed(entry) {
		t.Errorf("a barrier: %v", err)
	}
}

// An entry that does not open stops the node before it could differ from others,
// and again at the next start, until the key is there.
func TestAnEntryThatDoesNotOpenStopsTheNode(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	dir := t.TempDir()
	n := open(t, sealedConfig(t, dir, key))
	waitLeader(t, n)
	putSecret(t, n, "before")
	saved(t, n)
	data, err := secretWrite("sealed-by-another").Encode()
	if err != nil {
		t.Fatal(err)
	}
	index := n.conf.Machine.Index()
	if _, err := n.commit(t.Context(), other.Seal(kindEntry, data)); !errors.Is(err, ErrHalted) || !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("the writer is told %v", err)
	}
	<-n.Failed()
	if err := n.Failure(); !errors.Is(err, ErrHalted) {
		t.Errorf("failure: %v", err)
	} else {
		contains(t, err, other.ID().String())
	}
	if _, err := n.commit(t.Context(), key.Seal(kindEntry, data)); !errors.Is(err, ErrHalted) {
		t.Errorf("it goes on after what it could not apply: %v", err)
	}
	if err := n.takeSnapshot(t.Context()); err == nil {
		t.Error("it claims in a snapshot to have applied it")
	}
	if got := n.conf.Machine.Index(); got != index {
		t.Errorf("index %d, want %d", got, index)
	}
	shutdown(t, n)
	if _, err := Open(t.Context(), sealedConfig(t, dir, key)); !errors.Is(err, ErrKeyMissing) {
		t.Fatalf("the next start: %v", err)
	}
	again := open(t, sealedConfig(t, dir, key, other))
	holds(t, again, "sealed-by-another")
}

func TestDamageOfWhatIsSealedIsFound(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	dir := t.TempDir()
	n := open(t, sealedConfig(t, dir, key))
	waitLeader(t, n)
	putSecret(t, n, "alice")
	saved(t, n)
	var entry raft.Log
	err := eachCommand(n.data.log, func(index uint64, data []byte) error {
		if seal.IsSealed(data) {
			return n.data.log.GetLog(index, &entry)
		}
		return nil
	})
	if err != nil || entry.Index == 0 {
		t.Fatalf("no sealed entry: %v", err)
	}
	shutdown(t, n)
	path := filepath.Join(dir, "cluster", fileLog)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, entry.Data)
	if at < 0 {
		t.Fatal("the entry is not in the file")
	}
	for _, offset := range []int{seal.HeaderSize - 1, seal.HeaderSize + 5, len(entry.Data) - 1} {
		broken := bytes.ReplaceAll(whole, entry.Data, flipped(entry.Data, offset))
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), sealedConfig(t, dir, key)); !errors.Is(err, ErrCorruptData) {
			t.Errorf("byte %d of an entry: %v", offset, err)
		} else {
			contains(t, err, fmt.Sprintf("entry %d", entry.Index))
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if !has(open(t, sealedConfig(t, dir, key)), "alice") {
		t.Error("put right, the state is not there")
	}
}

func flipped(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 1
	return out
}

// A cluster that is formed by nodes of different keys would begin in clear text.
func TestNodesOfDifferentKeysFormNoCluster(t *testing.T) {
	t.Parallel()
	a, b := newKey(t).ID().String(), newKey(t).ID().String()
	tests := []struct {
		ours, theirs []string
		ok           bool
	}{
		{nil, nil, true}, {[]string{a}, []string{a}, true}, {[]string{a, b}, []string{b, a}, true},
		{[]string{a}, nil, false}, {nil, []string{a}, false}, {[]string{a}, []string{b}, false},
		{[]string{a}, []string{b, a}, false}, {[]string{b, a}, []string{a}, false},
	}
	for _, c := range tests {
		if err := sameKeys("other", c.theirs, c.ours); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrKeyMissing) {
			t.Errorf("%v and %v: %v", c.ours, c.theirs, err)
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
	// copied, the third has begun nothing.
	if _, err := nodes[0].rotateHere(t.Context(), next.ID().String()); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	crash(t, nodes[1])
	left := filepath.Join(paths[1], "cluster", fileLog+suffixCompact)
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
		if err != nil || len(before) != 1 {
			t.Fatalf("%d snapshots, %v", len(before), err)
		}
		if err := again.rewrite(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after, err := again.data.snapshots.List(); err != nil || len(after) != 1 || after[0].ID == before[0].ID {
			t.Errorf("no new snapshot: %v, %v", after, err)
		}
		return
	}
}

// A cluster that is sealed never goes back to clear text: without a key that all
// have, changes are refused, and say whose fault it is.
func TestNoCommonKey(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	nodes := openSealed(t, key)
	putSecret(t, nodes[0], "alice")
	n, other := nodes[0], nodes[1]
	holds(t, n, "alice")
	m, _ := n.dir.get(other.ID())
	n.dir.seen(other.ID(), meta{Name: "stranger", Address: m.Address, Configured: true, Keys: newKey(t).ID().String()})
	_, err := n.Apply(t.Context(), secretWrite("bob"))
	if !errors.Is(err, ErrNoCommonKey) {
		t.Fatalf("a change: %v", err)
	}
	contains(t, err, "stranger", key.ID().String())
	if got := n.snapshotKey(); got == nil || got.ID() != key.ID() {
		t.Errorf("snapshots are sealed with %v", got)
	}
	if _, err := n.Apply(t.Context(), fsm.NewBarrier()); err != nil {
		t.Errorf("what holds no secret is refused too: %v", err)
	}
}

// A process that is killed while it makes its log leaves a file without anything in
// it.
func TestALogThatWasNotMadeYet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "cluster", fileLog), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	n := open(t, sealedConfig(t, dir, newKey(t)))
	waitLeader(t, n)
	putSecret(t, n, "alice")
}

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/sluicegate/sluice/cluster/wal"
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

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
			}
			putLarge(t, nodes[2], "large")
			for _, n := range nodes {
				holds(t, n, "large")
				saved(t, n)
			}
			look := func(when string) {
				t.Helper()
				found := exposed(t, dataDirs(nodes)...)
				if sealed && len(found) > 0 {
					t.Errorf("%s: the secret is in %s", when, found)
				}
				log, snapshots := strings.Contains(fmt.Sprint(found), ".wal"), strings.Contains(fmt.Sprint(found), fileState)
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
			if !has(again, "alice0") || !has(again, "large") {
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
	if _, _, err := n.commit(t.Context(), other.Seal(kindEntry, data)); !errors.Is(err, ErrHalted) || !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("the writer is told %v", err)
	}
	<-n.Failed()
	if err := n.Failure(); !errors.Is(err, ErrHalted) {
		t.Errorf("failure: %v", err)
	} else {
		contains(t, err, other.ID().String())
	}
	if _, _, err := n.commit(t.Context(), key.Seal(kindEntry, data)); !errors.Is(err, ErrHalted) {
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
	for _, offset := range []int{seal.HeaderSize - 1, seal.HeaderSize + 5, len(entry.Data) - 1} {
		changeEntry(t, dir, entry.Index, flipped(entry.Data, offset))
		if _, err := Open(t.Context(), sealedConfig(t, dir, key)); !errors.Is(err, ErrCorruptData) {
			t.Errorf("byte %d of an entry: %v", offset, err)
		} else {
			contains(t, err, fmt.Sprintf("entry %d", entry.Index))
		}
	}
	changeEntry(t, dir, entry.Index, entry.Data)
	if !has(open(t, sealedConfig(t, dir, key)), "alice") {
		t.Error("put right, the state is not there")
	}
}

// changeEntry writes a log anew, with other data in one entry.
func changeEntry(t *testing.T, dir string, index uint64, data []byte) {
	t.Helper()
	path := filepath.Join(dir, "cluster", dirLog)
	from, err := wal.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := from.FirstIndex() // these two cannot fail
	last, _ := from.LastIndex()
	var all []*raft.Log
	for i := first; i <= last; i++ {
		e := new(raft.Log)
		if err := from.GetLog(i, e); err != nil {
			t.Fatal(err)
		}
		if i == index {
			e.Data = data
		}
		all = append(all, e)
	}
	name := from.Name()
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	to, err := wal.Create(path, name, wal.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(to.StoreLogs(all), to.Close()); err != nil {
		t.Fatal(err)
	}
}

// raft's checksum does not keep somebody from changing a snapshot; the seal does.
func TestASealedSnapshotThatWasChangedIsRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	dir := t.TempDir()
	n := open(t, sealedConfig(t, dir, key))
	waitLeader(t, n)
	putLarge(t, n, "alice") // some chunks
	saved(t, n)
	shutdown(t, n)
	newest := newestSnapshotDir(filepath.Join(dir, "cluster", dirSnapshots))
	path := filepath.Join(newest, fileState)
	whole, err := os.ReadFile(path)
	if err != nil || !seal.IsSealed(whole) || len(whole) < MaxCommand {
		t.Fatalf("a snapshot of %d bytes, %v", len(whole), err)
	}
	changed := map[string][]byte{
		"a bit of the salt":    flipped(whole, seal.HeaderSize-1),
		"a bit in the middle":  flipped(whole, len(whole)/2),
		"a bit at the end":     flipped(whole, len(whole)-1),
		"the last byte is cut": whole[:len(whole)-1],
		"whole chunks are cut": whole[:seal.HeaderSize+2*(64<<10+16)],
	}
	for name, data := range changed {
		writeSnapshot(t, newest, data)
		if _, err := Open(t.Context(), sealedConfig(t, dir, key)); !errors.Is(err, ErrCorruptData) {
			t.Errorf("%s: %v", name, err)
		} else {
			contains(t, err, "the sealed data is damaged")
		}
	}
	writeSnapshot(t, newest, whole)
	if !has(open(t, sealedConfig(t, dir, key)), "alice") {
		t.Error("put right, the state is not there")
	}
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
	db, err := bbolt.Open(filepath.Join(dir, "cluster", fileVotes), 0o600, nil)
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

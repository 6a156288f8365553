package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/sluicegate/sluice/cluster/wal"
)

func TestOpenRefusesWhatMakesNoSense(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   error
		says   string
	}{
		{"all interfaces", func(c *Config) { c.Listen = "0.0.0.0:0" }, ErrInsecure, "whoever reaches 0.0.0.0:0 could change the configuration"},
		{"every address", func(c *Config) { c.Listen = ":8005" }, ErrInsecure, "loopback"},
		{"a public address", func(c *Config) { c.Listen = "192.0.2.1:8005" }, ErrInsecure, "loopback"},
		{"no port", func(c *Config) { c.Listen = "127.0.0.1" }, ErrInvalidConfig, "127.0.0.1"},
		{"no machine", func(c *Config) { c.Machine = nil }, ErrInvalidConfig, "state machine"},
		{"no directory", func(c *Config) { c.DataDir = "" }, ErrInvalidConfig, "data directory"},
		{"a name with a space", func(c *Config) { c.NodeName = "node 1" }, ErrInvalidConfig, `"node 1"`},
		{"expect without join", func(c *Config) { c.Expect = 3 }, ErrInvalidConfig, "expect 3 needs nodes to join"},
		{"expect more than vote", func(c *Config) { c.Expect, c.Join = 7, []string{"a"} }, ErrInvalidConfig, "expect 7"},
		{"join of nothing", func(c *Config) { c.Join = []string{":8005"} }, ErrInvalidConfig, "no host"},
		{"advertise without port", func(c *Config) { c.Advertise = "node1" }, ErrInvalidConfig, "node1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := config(t, t.TempDir())
			c.change(&conf)
			n, err := Open(t.Context(), conf)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it was accepted"), n.Shutdown(context.Background())))
			}
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			contains(t, err, c.says)
		})
	}
}

func TestOpenWithoutItsPort(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	conf := config(t, dir)
	conf.Listen = ln.Addr().String()
	if _, err = Open(t.Context(), conf); !errors.Is(err, ErrPortInUse) {
		t.Fatalf("error %v, want %v", err, ErrPortInUse)
	}
	contains(t, err, ln.Addr().String())
	// Nothing is held or lost: the same directory works elsewhere.
	n := open(t, config(t, dir))
	waitLeader(t, n)
}

func TestOpenADataDirectoryInUse(t *testing.T) {
	t.Parallel()
	n := open(t, config(t, t.TempDir()))
	waitLeader(t, n)
	_, err := Open(t.Context(), config(t, n.conf.DataDir))
	if !errors.Is(err, ErrDataDirLocked) {
		t.Fatalf("error %v, want %v", err, ErrDataDirLocked)
	}
	contains(t, err, n.conf.DataDir)
	put(t, n, "undisturbed")
}

func TestOpenAnUnusableDataDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), config(t, file))
	if !errors.Is(err, ErrDataDir) {
		t.Fatalf("error %v, want %v", err, ErrDataDir)
	}
	contains(t, err, file)
}

// written gives a data directory with a snapshot and a log, and its node's id.
func written(t *testing.T) (dir, id string) {
	t.Helper()
	n := open(t, config(t, t.TempDir()))
	waitLeader(t, n)
	put(t, n, "first")
	saved(t, n)
	put(t, n, "second")
	saved(t, n)
	crash(t, n)
	return n.conf.DataDir, n.id
}

func TestOpenDamagedData(t *testing.T) {
	t.Parallel()
	newest := func(t *testing.T, dir string) string {
		t.Helper()
		store, err := raft.NewFileSnapshotStore(filepath.Join(dir, "cluster"), 2, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		all, err := store.List()
		if err != nil || len(all) == 0 {
			t.Fatalf("snapshots: %v, %v", all, err)
		}
		return filepath.Join(dir, "cluster", "snapshots", all[0].ID)
	}
	good, _ := written(t)
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string) string // gives what the error must name
	}{
		{"a flipped bit in the snapshot", func(t *testing.T, dir string) string {
			path := filepath.Join(newest(t, dir), "state.bin")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			replace(t, path, data)
			return filepath.Dir(path)
		}},
		{"a snapshot that the state refuses", func(t *testing.T, dir string) string {
			store, err := raft.NewFileSnapshotStore(filepath.Join(dir, "cluster"), 3, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			_, transport := raft.NewInmemTransport("")
			sink, err := store.Create(1, 1<<20, 1<<20, raft.Configuration{}, 1, transport)
			if err != nil {
				t.Fatal(err)
			}
			_, err = sink.Write([]byte("not a snapshot"))
			if err = errors.Join(err, sink.Close()); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"the snapshot's description", func(t *testing.T, dir string) string {
			path := filepath.Join(newest(t, dir), "meta.json")
			replace(t, path, []byte("{"))
			return filepath.Dir(path)
		}},
		{"the identity", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", fileNode)
			replace(t, path, []byte("{}"))
			return path
		}},
		{"the identity is gone", func(t *testing.T, dir string) string {
			if err := os.Remove(filepath.Join(dir, "cluster", fileNode)); err != nil {
				t.Fatal(err)
			}
			return fileNode
		}},
		{"raft.db", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", fileVotes)
			replace(t, path, make([]byte, 64<<10))
			return path
		}},
		{"raft.db is cut", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", fileVotes)
			if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		// A node that has lost its log has forgotten what it acknowledged. Two of
		// three like that would elect each other and be a cluster without a past.
		{"raft.db is gone", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", fileVotes)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"raft.db and the snapshots are gone", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", fileVotes)
			if err := errors.Join(os.Remove(path), os.RemoveAll(filepath.Join(dir, "cluster", dirSnapshots))); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"the log is gone", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", dirLog)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"the log is empty", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "cluster", dirLog)
			l, err := wal.Create(path, uuid.New(), wal.Options{NoSync: true})
			if err = errors.Join(err, l.Close()); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"an entry of the log", func(t *testing.T, dir string) string {
			files, err := filepath.Glob(filepath.Join(dir, "cluster", dirLog, "*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%v, %v", files, err)
			}
			data, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			data[100] ^= 1
			replace(t, files[0], data)
			return files[0]
		}},
		{"the log is another node's", func(t *testing.T, dir string) string {
			other, _ := written(t)
			path := filepath.Join(dir, "cluster", dirLog)
			if err := errors.Join(os.RemoveAll(path), os.CopyFS(path, os.DirFS(filepath.Join(other, "cluster", dirLog)))); err != nil {
				t.Fatal(err)
			}
			return path
		}},
		{"all of the log is another node's", func(t *testing.T, dir string) string {
			other, _ := written(t)
			for _, name := range []string{dirLog, fileVotes} {
				if err := os.RemoveAll(filepath.Join(dir, "cluster", name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.CopyFS(filepath.Join(dir, "cluster", dirLog), os.DirFS(filepath.Join(other, "cluster", dirLog))); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "cluster", fileVotes)
			data, err := os.ReadFile(filepath.Join(other, "cluster", fileVotes))
			if err != nil {
				t.Fatal(err)
			}
			replace(t, path, data)
			return path
		}},
		{"raft.db is another node's", func(t *testing.T, dir string) string {
			other, _ := written(t)
			data, err := os.ReadFile(filepath.Join(other, "cluster", fileVotes))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "cluster", fileVotes)
			replace(t, path, data)
			return path
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			name := c.damage(t, dir)
			n, err := Open(t.Context(), config(t, dir))
			if err == nil {
				t.Fatal(errors.Join(errors.New("it was accepted"), n.Shutdown(context.Background())))
			}
			if !errors.Is(err, ErrCorruptData) {
				t.Errorf("error %v, want %v", err, ErrCorruptData)
			}
			contains(t, err, name)
		})
	}
}

// Whatever is wrong with a page of raft.db, looking for it does not panic.
func TestVerifyBoltNeverPanics(t *testing.T) {
	t.Parallel()
	dir, _ := written(t)
	good, err := os.ReadFile(filepath.Join(dir, "cluster", fileVotes))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), fileVotes)
	replace(t, path, good)
	if err := verifyBolt(path); err != nil {
		t.Fatalf("a sound log: %v", err)
	}
	page := os.Getpagesize()
	found := 0
	for at := 2 * page; at < len(good); at += page / 4 {
		bad := bytes.Clone(good)
		for i := at; i < min(at+64, len(bad)); i++ {
			bad[i] = 0xff
		}
		replace(t, path, bad)
		if verifyBolt(path) != nil {
			found++
		}
	}
	if found == 0 {
		t.Error("no damage at all was found")
	}
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The error says what to do about a damaged snapshot: this is it.
func TestOpenAfterADamagedSnapshotIsMovedAway(t *testing.T) {
	t.Parallel()
	dir, id := written(t)
	found, err := filepath.Glob(filepath.Join(dir, "cluster", "snapshots", "*"))
	if err != nil || len(found) < 2 {
		t.Fatalf("snapshots: %v, %v", found, err)
	}
	newest := found[0]
	for _, path := range found {
		if newerSnapshot(filepath.Base(path), filepath.Base(newest)) {
			newest = path
		}
	}
	if err := os.Rename(newest, filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	n := open(t, config(t, dir))
	if n.ID() != id {
		t.Errorf("id %s, want %s", n.ID(), id)
	}
	waitLeader(t, n)
	holds(t, n, "second") // the log still had it
}

func TestForeignClusterIsRefused(t *testing.T) {
	t.Parallel()
	a, b := open(t, config(t, t.TempDir())), open(t, config(t, t.TempDir()))
	waitLeader(t, a)
	waitLeader(t, b)
	put(t, a, "of a")
	put(t, b, "of b")
	ours, theirs := a.Status().ClusterID, b.Status().ClusterID
	shutdown(t, b)

	// It is restarted with a join line of the other cluster.
	conf := config(t, b.conf.DataDir)
	conf.Join = []string{a.Address()}
	_, err := Open(t.Context(), conf)
	var foreign *ForeignClusterError
	if !errors.As(err, &foreign) {
		t.Fatalf("error %v, want a foreign cluster", err)
	}
	contains(t, err, ours, theirs, a.Address())

	// It does not get in by gossip or by a call either.
	b = open(t, config(t, b.conf.DataDir))
	waitLeader(t, b)
	if err := b.gossip.join([]string{a.Address()}); err == nil {
		t.Error("gossip let the node in")
	}
	_, err = b.client.join(t.Context(), a.Address(), joinRequest{ID: b.ID(), Name: b.Name(), Address: b.Address(), ClusterID: theirs})
	if !errors.As(err, &foreign) {
		t.Errorf("join: %v, want a foreign cluster", err)
	}
	if has(a, "of b") || has(b, "of a") || a.Voters() != 1 || b.Voters() != 1 {
		t.Error("the clusters mixed")
	}
	if !has(b, "of b") {
		t.Error("the refused node lost its data")
	}
}

// An address of the join line may belong to another cluster by now.
func TestOneStrangerAmongFriendsIsPassedOver(t *testing.T) {
	t.Parallel()
	nodes, paths := dirs(t)
	stranger := open(t, config(t, t.TempDir()))
	waitLeader(t, stranger)
	put(t, stranger, "not ours")
	shutdown(t, nodes[2])
	conf := config(t, paths[2])
	conf.Join = []string{stranger.Address(), nodes[0].Address()}
	again := open(t, conf)
	put(t, again, "ours")
	if has(again, "not ours") || has(stranger, "ours") {
		t.Error("the clusters mixed")
	}
}

func TestSeeds(t *testing.T) {
	for _, c := range []struct {
		entry string
		want  seed
		fails bool
	}{
		{"node1", seed{"node1", "8005"}, false},
		{"node1:18005", seed{"node1", "18005"}, false},
		{" node1:18005 ", seed{"node1", "18005"}, false},
		{"dns:sluice.default.svc", seed{"sluice.default.svc", "8005"}, false},
		{"dns:sluice:1", seed{"sluice", "1"}, false},
		{"10.0.0.1", seed{"10.0.0.1", "8005"}, false},
		{"[::1]:9", seed{"::1", "9"}, false},
		{"::1", seed{"::1", "8005"}, false},
		{"[::1]", seed{"::1", "8005"}, false},
		{"", seed{}, true},
		{"dns:", seed{}, true},
		{"a:b:c", seed{}, true},
		{"node1:", seed{}, true},
		{"http://node1/", seed{}, true},
		{"a,b", seed{}, true},
	} {
		got, err := parseSeed(c.entry)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%q: %+v, %v", c.entry, got, err)
		}
		if err != nil && !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%q: %v does not wrap %v", c.entry, err, ErrInvalidConfig)
		}
	}
}

func TestAdvertise(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8005}
	every := &net.TCPAddr{IP: net.IPv4zero, Port: 8005}
	for _, c := range []struct {
		configured string
		bound      net.Addr
		want       string
	}{
		{"", bound, "127.0.0.1:8005"},
		{"10.1.2.3:9", bound, "10.1.2.3:9"},
		{"localhost:9", every, "localhost:9"},
		{"10.1.2.3:0", every, "10.1.2.3:8005"},
	} {
		got, err := advertise(t.Context(), c.configured, c.bound)
		if err != nil || got.text != c.want {
			t.Errorf("%q, %s: %+v, %v", c.configured, c.bound, got, err)
		}
	}
	got, err := advertise(t.Context(), "", every)
	if err != nil || got.ip.IsUnspecified() || got.port != 8005 {
		t.Errorf("0.0.0.0: %+v, %v", got, err)
	}
}

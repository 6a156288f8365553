package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

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

func putSecret(t testing.TB, n *Node, name string) { putAll(t, n, secretWrite(name)) }

// putAll writes a command, however often a busy machine elects leaders meanwhile.
func putAll(t testing.TB, n *Node, c *fsm.Command) {
	t.Helper()
	eventually(t, func() error {
		result, err := n.Apply(t.Context(), c) // it has a request id: it is done once
		if err == nil && result.Err != nil {
			t.Fatalf("write through %s: %v", n.Name(), result.Err)
		}
		return err
	})
}

// putLarge writes more than an entry holds: it is staged.
func putLarge(t testing.TB, n *Node, name string) {
	t.Helper()
	id := uuid.NewString()
	raw, err := json.Marshal(map[string]any{"id": id, "username": name, "of_a_later_version": strings.Repeat(secretWord+"-", MaxCommand/len(secretWord))})
	if err != nil {
		t.Fatal(err)
	}
	putAll(t, n, fsm.NewWrite(uuid.NewString(), 0, fsm.Op{Verb: fsm.Create, Kind: "consumers", ID: id, Raw: raw}))
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

func flipped(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 1
	return out
}

// writeSnapshot changes a snapshot's content, and its checksum with it.
func writeSnapshot(t testing.TB, dir string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, "meta.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var description map[string]any
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	description["CRC"] = binary.BigEndian.AppendUint64(nil, crc64.Checksum(content, crc64.MakeTable(crc64.ECMA)))
	description["Size"] = len(content)
	if text, err = json.Marshal(description); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, text, 0o600), os.WriteFile(filepath.Join(dir, fileState), content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

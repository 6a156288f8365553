package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/sluicegate/sluice/cluster/wal"
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// What is sealed: entries of the log, each as a whole, and snapshots.
const (
	kindEntry    seal.Kind = 1
	kindSnapshot seal.Kind = 2
)

// fileState is raft's name for the content of a snapshot.
const fileState = "state.bin"

// stored says how what holds entities is stored here: by which keys it is sealed,
// "" for in clear.
type stored struct {
	// entries counts the log's entries that hold entities.
	entries map[string]int
	// snapshots are in the order of their age, the newest first.
	snapshots []string
}

// keys gives every key that is needed to read it.
func (s *stored) keys() map[string]bool {
	out := map[string]bool{}
	for key := range s.entries {
		out[key] = true
	}
	if len(s.snapshots) > 0 {
		out[s.snapshots[0]] = true
	}
	delete(out, "")
	return out
}

// logReader is what is read of a log.
type logReader interface {
	FirstIndex() (uint64, error)
	LastIndex() (uint64, error)
	GetLog(index uint64, entry *raft.Log) error
}

// eachCommand calls f for every command of a log. Entries that are not there, or do
// not read, are for checkLog to find.
func eachCommand(log logReader, f func(index uint64, data []byte) error) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	for index := max(first, 1); index <= last; index++ {
		var entry raft.Log
		if log.GetLog(index, &entry) != nil || entry.Type != raft.LogCommand {
			continue
		}
		if err := f(index, entry.Data); err != nil {
			return err
		}
	}
	return nil
}

// inventory looks at all that is stored.
func (d *dataDir) inventory() (*stored, error) {
	out := &stored{entries: map[string]int{}}
	err := eachCommand(d.log, func(_ uint64, data []byte) error {
		if id, ok := seal.KeyOf(data); ok {
			out.entries[id.String()]++
		} else if plainEntities(data) {
			out.entries[""]++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the log: %w", ErrDataDir, err)
	}
	found, err := d.snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	for _, s := range found {
		id, err := snapshotKey(filepath.Join(d.path, dirSnapshots, s.ID))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just made room for a newer one
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
		}
		out.snapshots = append(out.snapshots, id)
	}
	return out, nil
}

// plainEntities says whether an entry in clear holds entities.
func plainEntities(data []byte) bool {
	var c struct {
		Type fsm.CommandType `json:"t"`
	}
	return json.Unmarshal(data, &c) != nil || secret(c.Type)
}

// secret says whether commands of a type are sealed. Those that are not hold no
// entities: the cluster's id, nothing at all, and rate limits, whose keys are
// hashes. They are most of the log. A type that is not known yet is sealed.
func secret(t fsm.CommandType) bool {
	return t != fsm.CommandInit && t != fsm.CommandBarrier && t != fsm.CommandLimits
}

// snapshotKey gives the key of the snapshot in a directory, "" for one in clear.
func snapshotKey(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, fileState))
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, seal.HeaderSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	if id, ok := seal.KeyOf(head[:n]); ok {
		return id.String(), nil
	}
	return "", nil
}

// checkSealed makes sure that this node can open all that it will ever have to,
// or hand to another node: every entry, and the newest snapshot. It writes
// nothing, and is called before anything does.
func (d *dataDir) checkSealed(keys *seal.Keys) error {
	if newest := newestSnapshotDir(filepath.Join(d.path, dirSnapshots)); newest != "" {
		id, err := snapshotKey(newest)
		if err == nil && id != "" && !hasKey(keys, id) {
			return missingKey("the snapshot "+newest, id, keys)
		}
		d.sealed = err == nil && id != ""
		// One that does not read is for check to find.
	}
	old, err := d.holdsOldEntries()
	if err != nil {
		return err
	}
	if old {
		path := filepath.Join(d.path, fileVotes)
		return withoutPanic(func() error {
			log, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: lockWait}})
			if err != nil {
				return err
			}
			return errors.Join(d.checkEntries(path, log, keys), log.Close())
		})
	}
	path := filepath.Join(d.path, dirLog)
	log, err := wal.Read(path)
	if errors.Is(err, wal.ErrNone) {
		return nil // still to be made, or for openLogStore to miss
	}
	if err != nil {
		return err
	}
	return errors.Join(d.checkEntries(path, log, keys), log.Close())
}

// checkEntries makes sure that the entries of a log can be opened.
func (d *dataDir) checkEntries(path string, log logReader, keys *seal.Keys) error {
	return eachCommand(log, func(index uint64, data []byte) error {
		if !seal.IsSealed(data) {
			return nil
		}
		d.sealed = true
		return openable(path, index, data, keys)
	})
}

// holdsOldEntries says whether the entries are in raft.db yet.
func (d *dataDir) holdsOldEntries() (old bool, err error) {
	path := filepath.Join(d.path, fileVotes)
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return false, nil // still to be made, or verifyBolt has told
	}
	err = readBolt(path, func(tx *bbolt.Tx) error {
		keys := tx.Bucket([]byte(bucketVotes)) // a crash at its making leaves none
		old = keys != nil && keys.Get([]byte(keyLogName)) != nil
		return nil
	})
	return old, err
}

// bucketVotes is where raft-boltdb keeps what is not an entry.
const bucketVotes = "conf"

func openable(path string, index uint64, data []byte, keys *seal.Keys) error {
	missing := (*seal.MissingKeyError)(nil)
	switch _, err := keys.Open(kindEntry, data); {
	case errors.As(err, &missing):
		return missingKey("the log "+path, missing.ID.String(), keys)
	case errors.Is(err, seal.ErrNewer):
		return fmt.Errorf("%w: entry %d of the log %s: %w", ErrDataDir, index, path, err)
	case err != nil:
		return fmt.Errorf("%w: entry %d of the log %s (%w): start with an empty data directory to join the cluster anew", ErrCorruptData, index, path, err)
	}
	return nil
}

func hasKey(keys *seal.Keys, id string) bool {
	for _, have := range keys.IDs() {
		if have == id {
			return true
		}
	}
	return false
}

// missingKey is what an operator reads who has forgotten a key, or has taken it
// away too early.
func missingKey(what, id string, keys *seal.Keys) error {
	have := "no encryption_keys are set"
	if ids := keys.IDs(); len(ids) > 0 {
		have = "encryption_keys has " + strings.Join(ids, ", ")
	}
	return fmt.Errorf("%w: %s is sealed with key %s and %s: put that key back (behind the first one, if it is to be replaced), and take it away after sluice cluster rotate-encryption",
		ErrKeyMissing, what, id, have)
}

// newestSnapshotDir looks for the newest snapshot without raft's store, which
// writes. It gives "" if there is none.
func newestSnapshotDir(path string) string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return ""
	}
	newest := ""
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") && (newest == "" || newerSnapshot(e.Name(), newest) ||
			!newerSnapshot(newest, e.Name()) && e.Name() > newest) {
			newest = e.Name()
		}
	}
	if newest == "" {
		return ""
	}
	return filepath.Join(path, newest)
}

// removeOlderSnapshots leaves the newest only.
func (d *dataDir) removeOlderSnapshots() error {
	for {
		found, err := d.snapshots.List() // as many as are kept, so perhaps not all
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
		if len(found) <= 1 {
			return nil
		}
		for _, s := range found[1:] {
			if err := os.RemoveAll(filepath.Join(d.path, dirSnapshots, s.ID)); err != nil {
				return fmt.Errorf("%w: %w", ErrDataDir, err)
			}
		}
		if err := syncDir(filepath.Join(d.path, dirSnapshots)); err != nil {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
	}
}

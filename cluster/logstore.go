package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/sluicegate/sluice/cluster/wal"
)

// The keys of raft.db beside raft's own.
const (
	// keyWALName is the name of the log in dirLog. It says at once that the
	// entries are there.
	keyWALName = "SluiceWAL"
	// keyLogName is the log's name where the entries are in raft.db itself, as
	// builds before package wal had it.
	keyLogName = "SluiceLog"
)

// suffixNew is of a raft.db that is to take the place of the one that is there.
const suffixNew = ".new"

// logStore is raft's log, and its term and vote, which are in raft.db. Whoever has
// it open has raft.db locked against other processes. Safe for concurrent use.
type logStore struct {
	*wal.Log
	votes *raftboltdb.BoltStore
}

var (
	_ raft.LogStore    = (*logStore)(nil)
	_ raft.StableStore = (*logStore)(nil)
)

// openLogStore opens the log of a directory, or makes an empty one.
func openLogStore(dir string, noSync bool) (_ *logStore, err error) {
	path := filepath.Join(dir, fileVotes)
	votes, err := openVotes(path, noSync)
	if err != nil {
		return nil, err
	}
	s := &logStore{votes: votes}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.votes.Close())
		}
	}()
	old, err := nameIn(s.votes, keyLogName)
	if err == nil && old != uuid.Nil {
		if err = s.moveEntries(dir, old, noSync); err == nil {
			err = s.votes.Close()
		}
		if err != nil {
			return nil, err
		}
		if s.votes, err = openVotes(path, noSync); err != nil {
			return nil, err
		}
	}
	if err == nil {
		err = s.openLog(dir, noSync)
	}
	return s, err
}

// openVotes opens raft.db.
func openVotes(path string, noSync bool) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{Path: path, NoSync: noSync, BoltOptions: &bbolt.Options{
		Timeout: lockWait,
		// A list of free pages on the disk is one more thing to be damaged: it is
		// read where no panic can be caught.
		NoFreelistSync: true,
	}})
}

// nameIn gives the name of a log under a key of raft.db, Nil if there is none.
func nameIn(votes *raftboltdb.BoltStore, key string) (uuid.UUID, error) {
	data, err := votes.Get([]byte(key))
	switch {
	case errors.Is(err, raftboltdb.ErrKeyNotFound):
		return uuid.Nil, nil
	case err != nil:
		return uuid.Nil, err
	}
	name, err := uuid.ParseBytes(data)
	if err != nil {
		return uuid.Nil, fmt.Errorf("%w: the log's name: %w", errLogDamaged, err)
	}
	return name, nil
}

// openLog opens the entries. A log is named in raft.db once it is there, so one that
// is not named was never used; unless raft.db is not the one that was here before.
func (s *logStore) openLog(dir string, noSync bool) error {
	opts, path := wal.Options{NoSync: noSync}, filepath.Join(dir, dirLog)
	name, err := nameIn(s.votes, keyWALName)
	if err != nil {
		return err
	}
	if name == uuid.Nil {
		if used, err := holdsEntries(path); err != nil || used {
			return errors.Join(err, fmt.Errorf("%w: %s is not the one of the log %s: put it back, or start with an empty data directory to join the cluster anew",
				ErrCorruptData, filepath.Join(dir, fileVotes), path))
		}
		if s.Log, err = wal.Create(path, uuid.New(), opts); err != nil {
			return err
		}
		return s.Set([]byte(keyWALName), []byte(s.Name().String()))
	}
	if s.Log, err = wal.Open(path, opts); err != nil {
		return err
	}
	if s.Name() != name {
		return errors.Join(fmt.Errorf("%w: %s and the log %s are not of the same node: put back what was here, or start with an empty data directory to join the cluster anew",
			ErrCorruptData, filepath.Join(dir, fileVotes), path), s.Log.Close())
	}
	return nil
}

// holdsEntries says whether a log has been written to.
func holdsEntries(path string) (bool, error) {
	log, err := wal.Read(path)
	if errors.Is(err, wal.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	last, err := log.LastIndex()
	return last > 0, errors.Join(err, log.Close())
}

// moveEntries takes the entries out of a raft.db that has them, with which also what
// was deleted from it goes. A crash leaves either the old one or the new one.
func (s *logStore) moveEntries(dir string, name uuid.UUID, noSync bool) error {
	log, err := wal.Create(filepath.Join(dir, dirLog), name, wal.Options{NoSync: noSync})
	if err != nil {
		return err
	}
	if err := errors.Join(copyEntries(log, s.votes), log.Close()); err != nil {
		return err
	}
	path := filepath.Join(dir, fileVotes)
	if err := os.RemoveAll(path + suffixNew); err != nil {
		return err
	}
	to, err := openVotes(path+suffixNew, noSync)
	if err != nil {
		return err
	}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} { // raft's
		value, err := s.votes.Get([]byte(key))
		if errors.Is(err, raftboltdb.ErrKeyNotFound) {
			continue
		}
		if err == nil {
			err = to.Set([]byte(key), value)
		}
		if err != nil {
			return errors.Join(err, to.Close())
		}
	}
	err = errors.Join(to.Set([]byte(keyWALName), []byte(name.String())), to.Close())
	if err == nil {
		err = os.Rename(path+suffixNew, path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// copyBytes is how much is copied at once.
const copyBytes = 1 << 20

// copyEntries copies the entries at the end of a log that follow each other: there
// may be a hole where a snapshot came from a leader.
func copyEntries(to raft.LogStore, from logReader) error {
	first, err := from.FirstIndex()
	if err != nil {
		return err
	}
	last, err := from.LastIndex()
	if err != nil {
		return err
	}
	index := last
	for e := new(raft.Log); index > max(first, 1) && from.GetLog(index-1, e) == nil; index-- {
	}
	var batch []*raft.Log
	for size := 0; index > 0 && index <= last; index++ {
		e := new(raft.Log)
		if err := from.GetLog(index, e); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		batch, size = append(batch, e), size+bytesOf(e)
		if size >= copyBytes {
			if err := to.StoreLogs(batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
	}
	return to.StoreLogs(batch)
}

// Close lets go of the files.
func (s *logStore) Close() error { return errors.Join(s.Log.Close(), s.votes.Close()) }

// Set implements raft.StableStore.
func (s *logStore) Set(key, value []byte) error { return s.votes.Set(key, value) }

// Get implements raft.StableStore. Its errors are bolt's own: raft compares one.
func (s *logStore) Get(key []byte) ([]byte, error) { return s.votes.Get(key) }

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, value uint64) error { return s.votes.SetUint64(key, value) }

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) { return s.votes.GetUint64(key) }

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

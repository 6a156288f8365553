package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// suffixCompact is of the file that a compaction writes before it takes the
// log's place.
const suffixCompact = ".compact"

// reopenLongest bounds how long a compacted log is tried to be opened again.
const reopenLongest = 5 * time.Second

// logStore is raft's log and its term and vote, in one file. What is deleted from
// the file stays in its free pages until they are used again; compact makes a new
// file without it. Safe for concurrent use.
type logStore struct {
	path   string
	noSync bool

	mu   sync.RWMutex
	bolt *raftboltdb.BoltStore
	lost error // why there is no bolt any more
}

var (
	_ raft.LogStore    = (*logStore)(nil)
	_ raft.StableStore = (*logStore)(nil)
)

// openLogStore opens a log, or makes an empty one, and locks it against other
// processes.
func openLogStore(path string, noSync bool) (*logStore, error) {
	s := &logStore{path: path, noSync: noSync}
	var err error
	s.bolt, err = s.open()
	return s, err
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{
		Timeout: lockWait,
		// Otherwise every commit writes the list of free pages, which is long
		// after a burst.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
	}
}

func (s *logStore) open() (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{Path: s.path, NoSync: s.noSync, BoltOptions: boltOptions()})
}

// compact puts a new file with what the log holds now in the place of the old
// one. Raft waits meanwhile, so the log must be short. After an error from which
// the log did not come back every use of it fails; lostError gives that.
func (s *logStore) compact() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return s.lost
	}
	// bbolt reads a file only after whoever writes it has let go of it.
	err := s.bolt.Close()
	if err == nil {
		err = compactFile(s.path, s.noSync)
	}
	var again error
	for end := time.Now().Add(reopenLongest); ; {
		// Another process may try its luck in between; it gives up where it
		// finds the cluster port in use.
		if s.bolt, again = s.open(); !errors.Is(again, bolterrors.ErrTimeout) || time.Now().After(end) {
			break
		}
	}
	if again != nil {
		s.bolt, s.lost = nil, fmt.Errorf("%w: the log %s cannot be opened again: %w", ErrDataDir, s.path, again)
		return errors.Join(err, s.lost)
	}
	if err != nil {
		return fmt.Errorf("%w: the log %s cannot be written anew: %w", ErrDataDir, s.path, err)
	}
	return nil
}

// compactFile replaces a file by a copy without free pages, whole or not at all.
func compactFile(path string, noSync bool) (err error) {
	tmp := path + suffixCompact
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	from, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	opts := boltOptions()
	opts.NoSync = noSync
	to, err := bbolt.Open(tmp, 0o600, opts)
	if err != nil {
		return err
	}
	err = bbolt.Compact(to, from, 0)
	if err == nil && !noSync {
		err = to.Sync()
	}
	err = errors.Join(err, to.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lostError says why the log cannot be used any more, if so.
func (s *logStore) lostError() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lost
}

// Close lets go of the file.
func (s *logStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bolt == nil {
		return nil
	}
	return s.bolt.Close()
}

// use calls f with the file of now.
func (s *logStore) use(f func(*raftboltdb.BoltStore) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.bolt == nil {
		return s.lost
	}
	return f(s.bolt)
}

// The rest is raft.LogStore and raft.StableStore. Errors are bolt's own: raft
// compares some.

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (index uint64, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) (err error) { index, err = b.FirstIndex(); return err })
	return index, err
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (index uint64, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) (err error) { index, err = b.LastIndex(); return err })
	return index, err
}

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, entry *raft.Log) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.GetLog(index, entry) })
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(entry *raft.Log) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.StoreLog(entry) })
}

// StoreLogs implements raft.LogStore.
func (s *logStore) StoreLogs(entries []*raft.Log) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore.
func (s *logStore) DeleteRange(first, last uint64) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.DeleteRange(first, last) })
}

// Set implements raft.StableStore.
func (s *logStore) Set(key, value []byte) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.Set(key, value) })
}

// Get implements raft.StableStore.
func (s *logStore) Get(key []byte) (value []byte, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) (err error) { value, err = b.Get(key); return err })
	return value, err
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, value uint64) error {
	return s.use(func(b *raftboltdb.BoltStore) error { return b.SetUint64(key, value) })
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (value uint64, err error) {
	err = s.use(func(b *raftboltdb.BoltStore) (err error) { value, err = b.GetUint64(key); return err })
	return value, err
}

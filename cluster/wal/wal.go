// Package wal is raft's log in files of its own, for one write and one fdatasync a
// batch. It implements raft.LogStore; raft's term and vote are elsewhere.
//
// An entry that StoreLogs has returned for survives the loss of power. A batch that
// was under way then is there up to some entry. Every entry has a checksum, and the
// files are numbered: what does not read, or is missing between two others, is an
// error of Open and not a shorter log. DESIGN.md of package cluster says why it is
// not raft-boltdb.
package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

var (
	// ErrDamaged: files do not read that did before.
	ErrDamaged = errors.New("the log is damaged")
	// ErrNone: the directory holds no log.
	ErrNone = errors.New("there is no log")
	// errOrder: what is asked for would leave a hole.
	errOrder = errors.New("entries have to follow each other")
)

// Options say how a log is kept.
type Options struct {
	// SegmentSize is the size of a file in bytes, default 4 MiB. A batch that is
	// larger has a file of its own.
	SegmentSize int64
	// NoSync leaves it to the system when what is written comes to the disk.
	NoSync bool
}

// Log is an open log. Safe for concurrent use; what stores and deletes is done one
// after the other. No two processes may have the same log open for writing: its
// owner sees to that.
type Log struct {
	dir  string
	name uuid.UUID
	opts Options

	write  sync.Mutex // held by whoever changes files
	batch  uint64     // of the last StoreLogs
	failed error      // a write has failed: nobody knows what of it is on the disk
	buf    []byte
	spare  chan *os.File // the next file, nil if it could not be made
	making bool          // it is being made, or is in spare
	makers sync.WaitGroup

	mu       sync.RWMutex
	segments []*segment // the oldest first; the last one is written to
	first    uint64     // of the entries that are there, if there are any
	last     uint64     // 0: there is none
}

var (
	_ raft.LogStore          = (*Log)(nil)
	_ raft.MonotonicLogStore = (*Log)(nil)
)

// Create makes an empty log of a name, in a directory that is made if it is not
// there. A log that is there is removed.
func Create(dir string, name uuid.UUID, opts Options) (*Log, error) {
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	l := newLog(dir, name, opts)
	s, err := l.newSegment(1, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	l.segments = []*segment{s}
	if err := l.syncDir(filepath.Dir(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("create log: %w", err), l.Close())
	}
	return l, nil
}

func newLog(dir string, name uuid.UUID, opts Options) *Log {
	if opts.SegmentSize <= 0 {
		opts.SegmentSize = defaultSegment
	}
	return &Log{dir: dir, name: name, opts: opts, spare: make(chan *os.File, 1)}
}

// Read opens a log that is only to be read: nothing on the disk changes.
func Read(dir string) (*Log, error) {
	l, _, err := read(dir, os.O_RDONLY, Options{})
	return l, err
}

// Open opens a log for writing, and removes what a crash has left of a batch that
// was under way. ErrNone: there is none. ErrDamaged: see there.
func Open(dir string, opts Options) (*Log, error) {
	l, dirty, err := read(dir, os.O_RDWR, opts)
	if err != nil {
		return nil, err
	}
	if dirty {
		err = l.segments[len(l.segments)-1].clean(opts.NoSync)
	}
	if err == nil {
		err = l.removeRemains()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), l.Close())
	}
	return l, nil
}

// read finds the entries of a log. dirty: there is more in the last file.
func read(dir string, mode int, opts Options) (_ *Log, dirty bool, err error) {
	found, err := numbers(dir)
	if err != nil {
		return nil, false, err
	}
	if len(found) == 0 {
		return nil, false, fmt.Errorf("%w in %s", ErrNone, dir)
	}
	l := newLog(dir, uuid.Nil, opts)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for i, number := range found {
		s, err := load(segmentPath(dir, number), mode, i == len(found)-1)
		if err != nil {
			return l, false, fmt.Errorf("read log: %w", err)
		}
		l.segments, l.batch, dirty = append(l.segments, s.segment), s.batch, s.dirty
		if err := l.follows(i, found, s.name); err != nil {
			return l, false, fmt.Errorf("read log: %w", err)
		}
	}
	l.settle()
	return l, dirty, nil
}

// follows makes sure that the last segment read is the one after those before it,
// and applies what it says of them.
func (l *Log) follows(i int, found []uint64, name uuid.UUID) error {
	s := l.segments[len(l.segments)-1]
	switch {
	case s.number != found[i]:
		return fmt.Errorf("%w: %s is file %d by its head", ErrDamaged, s.path, s.number)
	case i == 0:
		l.name = name
	case name != l.name:
		return fmt.Errorf("%w: %s is of another log", ErrDamaged, s.path)
	}
	older := l.segments[:len(l.segments)-1]
	switch {
	case s.from == 0:
		for _, o := range older {
			o.cut(0)
		}
		return nil
	case i > 0 && found[i-1] != s.number-1:
		return fmt.Errorf("%w: file %d is missing before %s", ErrDamaged, s.number-1, s.path)
	}
	for _, o := range older {
		o.cut(s.from)
	}
	if last := lastOf(older); last != 0 && last != s.from-1 {
		return fmt.Errorf("%w: %s begins with entry %d, after %d", ErrDamaged, s.path, s.from, last)
	}
	return nil
}

func lastOf(segments []*segment) uint64 {
	for _, s := range slices.Backward(segments) {
		if len(s.spans) > 0 {
			return s.last()
		}
	}
	return 0
}

// settle works out the first and last index.
func (l *Log) settle() {
	l.first, l.last = 0, lastOf(l.segments)
	for _, s := range l.segments {
		if len(s.spans) > 0 {
			l.first = s.first
			return
		}
	}
}

// numbers gives the segments of a directory, in order.
func numbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	var out []uint64
	for _, e := range entries { // by name, which is by number
		if number, ok := segmentNumber(e.Name()); ok {
			out = append(out, number)
		}
	}
	return out, nil
}

// removeRemains removes files that were not finished, and segments that hold
// nothing any more.
func (l *Log) removeRemains() error {
	left, err := filepath.Glob(filepath.Join(l.dir, "*"+suffixTmp))
	if err != nil {
		return err
	}
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return errors.Join(err, l.removeEmpty())
}

// Name is what Create was given.
func (l *Log) Name() uuid.UUID { return l.name }

// Close lets go of the files. Nothing may be under way.
func (l *Log) Close() error {
	l.makers.Wait()
	var err error
	select {
	case f := <-l.spare:
		if f != nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
	}
	l.segments, l.first, l.last = nil, 0, 0
	if err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

// FirstIndex implements raft.LogStore; 0: the log is empty.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, nil
}

// LastIndex implements raft.LogStore; 0: the log is empty.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last, nil
}

// IsMonotonic implements raft.MonotonicLogStore: there are no holes.
func (l *Log) IsMonotonic() bool { return true }

// GetLog implements raft.LogStore.
func (l *Log) GetLog(index uint64, entry *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.last == 0 || index < l.first || index > l.last {
		return raft.ErrLogNotFound
	}
	for _, s := range slices.Backward(l.segments) {
		if len(s.spans) == 0 || index < s.first {
			continue
		}
		at := s.spans[index-s.first]
		b := make([]byte, at.size)
		n, err := s.file.ReadAt(b, int64(at.at))
		e, _, _, ok := parseRecord(b[:n])
		if !ok || e.Index != index {
			return fmt.Errorf("%w: entry %d does not read from %s (%w)", ErrDamaged, index, s.path, err)
		}
		*entry = e
		return nil
	}
	return raft.ErrLogNotFound
}

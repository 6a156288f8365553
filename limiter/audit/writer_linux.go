package audit

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A process's files have room for these many records, each twice as many as
	// the one before: 400 KB to 6 MB.
	firstRoom, mostRoom = 1 << 12, 1 << 16
	// retryAfter is how long a directory that could not be written is left alone.
	retryAfter = time.Second
	// closePatience bounds the wait for appends that are under way.
	closePatience = time.Second
)

var errClosed = errors.New("audit: closed")

// Writer records what a process admits. Append is safe for concurrent use.
type Writer struct {
	dir     string
	process uint64
	who     Who
	table   *crc32.Table
	clock   clock

	current atomic.Pointer[segment]
	kick    chan struct{} // a spare segment is wanted
	quit    chan struct{}
	keeper  sync.WaitGroup

	mu     sync.Mutex
	spare  *segment
	number uint32
	room   int
	lost   uint64
	failed time.Time // when a segment could last not be made
	closed bool
}

// Who is the node whose admissions are recorded. Longer names are cut.
type Who struct {
	ID, Name string
	// Warn is told what an operator should know; seldom, and never under a lock
	// of the Writer's.
	Warn func(error)
}

// Open begins to record into new files of the directory, which is made if need
// be. It runs a goroutine until Close.
func Open(dir string, who Who) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	w := &Writer{
		dir: dir, who: who, table: crc32.MakeTable(crc32.Castagnoli), clock: newClock(),
		kick: make(chan struct{}, 1), quit: make(chan struct{}), room: firstRoom,
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	w.process = binary.LittleEndian.Uint64(b[:])
	first, err := w.create()
	if err != nil {
		return nil, err
	}
	w.current.Store(first)
	w.keeper.Go(w.keep)
	return w, nil
}

// Append records an admission. When it returns, the record survives the process,
// though not the machine. It sets r.Mono. If the disk is full the admission is
// counted as lost, in the file's header.
func (w *Writer) Append(r *Record) {
	for {
		s := w.current.Load()
		i := s.next.Add(1) - 1
		if i < s.room {
			r.Mono = w.clock.now()
			s.put(int(i), r, w.table)
			if i == s.room/2 {
				w.wantSpare()
			}
			return
		}
		if w.turn(s) != nil {
			return // counted
		}
	}
}

func (w *Writer) wantSpare() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// turn goes on to the next segment after s is full, or counts a loss.
func (w *Writer) turn(s *segment) error {
	w.mu.Lock()
	err := w.turnLocked(s)
	first := false
	if err != nil {
		w.lost++
		first = w.lost == 1
		w.current.Load().setLost(w.lost)
	}
	w.mu.Unlock()
	if first && w.who.Warn != nil {
		w.who.Warn(fmt.Errorf("admissions are not recorded: %w", err))
	}
	return err
}

func (w *Writer) turnLocked(s *segment) error {
	switch {
	case w.current.Load() != s:
		return nil // somebody was faster
	case w.closed:
		return errClosed
	case w.spare == nil && time.Since(w.failed) < retryAfter:
		return errors.New("the directory could not be written a moment ago")
	}
	next := w.spare
	w.spare = nil
	if next == nil {
		var err error
		if next, err = w.createLocked(); err != nil {
			w.failed = time.Now()
			return err
		}
	}
	w.current.Store(next)
	s.retire()
	return nil
}

// keep makes a segment before it is needed, so that no request has to wait for
// the disk.
func (w *Writer) keep() {
	for {
		select {
		case <-w.quit:
			return
		case <-w.kick:
		}
		w.mu.Lock()
		var err error
		if w.spare == nil && !w.closed {
			w.spare, err = w.createLocked()
		}
		w.mu.Unlock()
		if err != nil && w.who.Warn != nil {
			w.who.Warn(fmt.Errorf("admissions will not be recorded soon: %w", err))
		}
	}
}

func (w *Writer) create() (*segment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.createLocked()
}

// createLocked makes a file. Its space is allocated: writing to a mapped page that
// has none would kill the process when the disk is full.
func (w *Writer) createLocked() (*segment, error) {
	now := time.Now()
	h := Header{
		Node: w.who.ID, Name: w.who.Name, Process: w.process, Number: w.number + 1,
		Begun: now.UnixMicro(), BegunMono: w.clock.now(),
	}
	name := fmt.Sprintf("%s-%016x-%06d%s", now.UTC().Format("20060102T150405"), w.process, h.Number, Extension)
	s, err := newSegment(filepath.Join(w.dir, name), &h, w.room)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	w.number++
	w.room = min(2*w.room, mostRoom)
	return s, nil
}

// Close ends the recording and gives back the space that was not used. Nothing
// that is appended later is recorded.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	spare := w.spare
	w.spare = nil
	w.mu.Unlock()
	close(w.quit)
	w.keeper.Wait()
	var err error
	if spare != nil {
		err = spare.remove()
	}
	return errors.Join(err, w.current.Load().finish())
}

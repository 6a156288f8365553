package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries follow each other and the last
// one that is there; an empty log takes any. When it returns they are on the disk.
//
// After an error of the disk nothing more is stored: what the kernel could not write
// it forgets, and a second fdatasync would say that all is well. That there is no
// room for another file shows before anything is written, and passes.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.write.Lock()
	defer l.write.Unlock()
	s, err := l.room(entries)
	if err != nil {
		return err
	}
	l.batch++
	spans, end, err := l.put(s, entries)
	if err != nil {
		l.failed = fmt.Errorf("write log: %w", err)
		return l.failed
	}
	l.mu.Lock()
	if len(s.spans) == 0 {
		s.first = entries[0].Index
	}
	s.spans, s.end = append(s.spans, spans...), end
	if l.last == 0 {
		l.first = entries[0].Index
	}
	l.last = entries[len(entries)-1].Index
	l.mu.Unlock()
	l.prepare(s)
	return nil
}

// room gives the segment that has room for all of the entries.
func (l *Log) room(entries []*raft.Log) (*segment, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if len(l.segments) == 0 {
		return nil, os.ErrClosed
	}
	size, index := 0, l.last+1
	if l.last == 0 {
		index = entries[0].Index
	}
	for _, e := range entries {
		if e.Index != index || index == 0 {
			return nil, fmt.Errorf("store log: %w: %d where %d is next", errOrder, e.Index, index)
		}
		size, index = size+recordSize(e), index+1
	}
	if int64(size)+segmentHead > largestSegment {
		return nil, fmt.Errorf("store log: %d bytes at once", size)
	}
	s := l.segments[len(l.segments)-1]
	// An empty log that has begun before goes on in a file that says so.
	if follows := l.last != 0 || s.from == 0 && len(s.spans) == 0; follows && s.end+int64(size) <= s.size {
		return s, nil
	}
	from := uint64(0)
	if l.last != 0 {
		from = entries[0].Index
	}
	return l.begin(from, int64(size))
}

// put writes entries behind those of a segment, and returns when they are on the
// disk.
func (l *Log) put(s *segment, entries []*raft.Log) (spans []span, end int64, err error) {
	spans, end = make([]span, len(entries)), s.end
	buf := l.buf[:0]
	for i, e := range entries {
		spans[i] = span{uint32(end + int64(len(buf))), uint32(recordSize(e))}
		buf = appendRecord(buf, e, l.batch)
		if len(buf) < flushAt && i < len(entries)-1 {
			continue
		}
		if _, err := s.file.WriteAt(buf, end); err != nil {
			return nil, 0, err
		}
		end += int64(len(buf))
		buf = buf[:0]
	}
	if l.buf = buf; cap(buf) > 2*flushAt {
		l.buf = nil
	}
	if l.opts.NoSync {
		return spans, end, nil
	}
	return spans, end, syncData(s.file)
}

// begin has a new segment written to, with room for so many bytes of records.
func (l *Log) begin(from uint64, room int64) (*segment, error) {
	s, err := l.newSegment(l.segments[len(l.segments)-1].number+1, from, room)
	if err != nil {
		return nil, fmt.Errorf("next file of the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, s)
	return s, nil
}

// newSegment makes a segment, on the disk with its name.
func (l *Log) newSegment(number, from uint64, room int64) (*segment, error) {
	f, err := l.nextFile(number, room)
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, from: from, first: from, path: segmentPath(l.dir, number), file: f, end: segmentHead}
	if err := l.publish(s); err != nil {
		// Whether it is there is not known: what is written to the one before from
		// here on would be void if it is.
		l.failed = fmt.Errorf("new file of the log: %w", err)
		return nil, errors.Join(l.failed, f.Close())
	}
	return s, nil
}

// publish gives a segment's file its head and its name.
func (l *Log) publish(s *segment) error {
	info, err := s.file.Stat()
	if err == nil {
		s.size = info.Size()
		h := head{name: l.name, number: s.number, from: s.from, batch: l.batch}
		_, err = s.file.WriteAt(h.encode(), 0)
	}
	if err == nil && !l.opts.NoSync {
		err = syncData(s.file)
	}
	if err == nil {
		err = os.Rename(s.file.Name(), s.path)
	}
	if err == nil {
		err = l.syncDir(l.dir)
	}
	return err
}

// nextFile gives a file of zeros: the one that was prepared, if it is large enough.
func (l *Log) nextFile(number uint64, room int64) (*os.File, error) {
	size := max(l.opts.SegmentSize, segmentHead+room)
	if size == l.opts.SegmentSize {
		select {
		case f := <-l.spare:
			if l.making = false; f != nil {
				return f, nil
			}
		default:
		}
	}
	return zeroFile(filepath.Join(l.dir, fmt.Sprintf("%016x%s", number, suffixTmp)), size, l.opts.NoSync)
}

// prepare makes the next file once a segment is half full.
func (l *Log) prepare(s *segment) {
	if l.making || s.end < s.size/2 {
		return
	}
	l.making = true
	l.makers.Go(func() {
		f, err := zeroFile(filepath.Join(l.dir, "next"+suffixTmp), l.opts.SegmentSize, l.opts.NoSync)
		if err != nil {
			f = nil // whoever needs it tries again, and tells
		}
		l.spare <- f
	})
}

// DeleteRange implements raft.LogStore, at either end of the log. Entries at its
// beginning may be there again after a crash; those at its end are not.
func (l *Log) DeleteRange(from, to uint64) error {
	l.write.Lock()
	defer l.write.Unlock()
	switch {
	case l.failed != nil:
		return l.failed
	case l.last == 0 || to < l.first || from > l.last || from > to:
		return nil
	case from <= l.first && to >= l.last:
		return l.restart(nil)
	case from <= l.first:
		l.mu.Lock()
		l.first = to + 1
		l.mu.Unlock()
		return l.removeEmpty()
	case to >= l.last:
		return l.cutEnd(from)
	}
	return fmt.Errorf("delete from log: %w: %d to %d of %d to %d", errOrder, from, to, l.first, l.last)
}

// cutEnd removes the entries from an index on: the next segment says so.
func (l *Log) cutEnd(from uint64) error {
	if _, err := l.begin(from, 0); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		s.cut(from)
	}
	l.last = from - 1
	return nil
}

// Rewrite puts a new file in the place of all others, which holds the entries that
// are there and nothing of those that were deleted.
func (l *Log) Rewrite() error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.failed != nil {
		return l.failed
	}
	var entries []*raft.Log
	for index := l.first; l.last != 0 && index <= l.last; index++ {
		e := new(raft.Log)
		if err := l.GetLog(index, e); err != nil {
			return err
		}
		entries = append(entries, e)
	}
	return l.restart(entries)
}

// restart begins with a new file that holds these entries only.
func (l *Log) restart(entries []*raft.Log) error {
	room := 0
	for _, e := range entries {
		room += recordSize(e)
	}
	number := l.segments[len(l.segments)-1].number + 1
	f, err := l.nextFile(number, int64(room))
	if err != nil {
		return fmt.Errorf("new file of the log: %w", err)
	}
	s := &segment{number: number, path: segmentPath(l.dir, number), file: f, end: segmentHead}
	if len(entries) > 0 {
		// Before the file has its name, and makes all others void.
		l.batch++
		s.first = entries[0].Index
		if s.spans, s.end, err = l.put(s, entries); err != nil {
			l.batch-- // as on the disk
			return errors.Join(fmt.Errorf("new file of the log: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}
	if err := l.publish(s); err != nil {
		l.failed = fmt.Errorf("new file of the log: %w", err) // whether it is there is not known
		return errors.Join(l.failed, f.Close())
	}
	l.mu.Lock()
	for _, old := range l.segments {
		old.cut(0)
	}
	l.segments = append(l.segments, s)
	l.settle()
	l.mu.Unlock()
	return l.removeEmpty()
}

// removeEmpty removes the oldest segments as far as nothing of them is in the log.
// An error leaves files that nobody needs.
func (l *Log) removeEmpty() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.segments) > 1 {
		s := l.segments[0]
		if len(s.spans) > 0 && s.last() >= l.first {
			break
		}
		if s.file != nil {
			_ = s.file.Close() // nothing in it is needed
			s.file = nil
		}
		// One after the other: a file that is missing between two is damage.
		if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove file of the log: %w", err)
		}
		l.segments = l.segments[1:]
	}
	return nil
}

func (l *Log) syncDir(dir string) error {
	if l.opts.NoSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

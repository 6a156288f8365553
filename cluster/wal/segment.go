package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

const (
	suffixSegment = ".wal"
	suffixTmp     = ".tmp"

	// segmentHead is the beginning of each file: magic, the log's name, the
	// segment's number, from where on it supersedes those before it, the batch
	// before it, crc32c of these.
	segmentHead  = 64
	segmentMagic = "SLUICEW1"

	// defaultSegment is the size of a file, unless one batch needs more.
	defaultSegment = 4 << 20
	largestSegment = math.MaxUint32
	// flushAt is how much is encoded before it is written.
	flushAt = 1 << 20
)

// segment is one file: consecutive entries, and zeros behind them. It is made in
// its full size, so that to write an entry changes no metadata of the file and
// fdatasync is one write of the disk.
type segment struct {
	number uint64
	// from is the first index that the segment may hold. What segments before it
	// hold from there on is void; 0: all of it, and any index may be the first.
	from  uint64
	path  string
	file  *os.File // nil: closed, and to be removed
	size  int64
	end   int64  // of what is written
	first uint64 // index of spans[0]
	spans []span
}

// span is where the record of an entry is.
type span struct{ at, size uint32 }

// last is the index of the last entry, first-1 if there is none.
func (s *segment) last() uint64 { return s.first + uint64(len(s.spans)) - 1 }

// cut forgets the entries from an index on.
func (s *segment) cut(index uint64) {
	if len(s.spans) > 0 && index <= s.last() {
		s.spans = s.spans[:max(index, s.first)-s.first]
	}
}

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, suffixSegment))
}

func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffixSegment)
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, ok && err == nil && len(digits) == 16
}

// head is the beginning of a file.
type head struct {
	name                uuid.UUID
	number, from, batch uint64
}

func (h *head) encode() []byte {
	b := append([]byte(segmentMagic), h.name[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.from)
	b = binary.LittleEndian.AppendUint64(b, h.batch)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, make([]byte, segmentHead-len(b))...)
}

func parseHead(b []byte) (h head, ok bool) {
	if len(b) < segmentHead || string(b[:8]) != segmentMagic || binary.LittleEndian.Uint32(b[48:]) != crc32.Checksum(b[:48], castagnoli) {
		return h, false
	}
	return head{name: uuid.UUID(b[8:24]), number: binary.LittleEndian.Uint64(b[24:]),
		from: binary.LittleEndian.Uint64(b[32:]), batch: binary.LittleEndian.Uint64(b[40:])}, true
}

// zeroFile makes a file of zeros, on the disk.
func zeroFile(path string, size int64, noSync bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	// Written, not just allocated: else each first write to a block would be a
	// change of metadata.
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
	}
	if err == nil && !noSync {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

// loaded is what a file holds.
type loaded struct {
	*segment
	name  uuid.UUID
	batch uint64 // of its last record, or of the one before it
	dirty bool   // where there have to be zeros are others
}

// load reads a file and finds its entries. last says that no segment follows, so that
// it may end in a batch of which not all has reached the disk.
func load(path string, mode int, last bool) (*loaded, error) {
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s, err := parse(b, last)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s %w", ErrDamaged, path, err), f.Close())
	}
	s.path, s.file = path, f
	return s, nil
}

// parse finds the entries of a file.
func parse(b []byte, last bool) (*loaded, error) {
	h, ok := parseHead(b)
	if !ok || len(b) > largestSegment {
		return nil, errors.New("has no head")
	}
	s := &loaded{name: h.name, batch: h.batch,
		segment: &segment{number: h.number, from: h.from, first: h.from, size: int64(len(b)), end: segmentHead}}
	for s.add(b[s.end:]) {
	}
	rest := b[s.end:]
	if s.dirty = !zero(rest); s.dirty && (!last || synced(rest, s.batch)) {
		return nil, fmt.Errorf("does not read at %d, behind entry %d", s.end, s.last())
	}
	return s, nil
}

// add takes the record at the beginning of b, if it is one that may come next.
func (s *loaded) add(b []byte) bool {
	e, batch, size, ok := parseRecord(b)
	next := s.first + uint64(len(s.spans))
	if next == 0 {
		next = e.Index
	}
	if !ok || e.Index != next || next == 0 {
		return false
	}
	if len(s.spans) == 0 {
		s.first = e.Index
	}
	s.spans, s.batch = append(s.spans, span{uint32(s.end), uint32(size)}), batch
	s.end = min(s.end+int64(size), s.size)
	return true
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// synced says whether what does not read was once on the disk: a record of a batch
// after the next is behind it, and a batch is begun when the one before is there.
func synced(b []byte, batch uint64) bool {
	for at := 0; at+recordHead <= len(b); at += align {
		if _, of, _, ok := parseRecord(b[at:]); ok && of > batch+1 {
			return true
		}
	}
	return false
}

// clean writes zeros over what is behind the entries.
func (s *segment) clean(noSync bool) error {
	zeros := make([]byte, 64<<10)
	for at := s.end; at < s.size; at += int64(len(zeros)) {
		if _, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), s.size-at)], at); err != nil {
			return err
		}
	}
	if noSync {
		return nil
	}
	return s.file.Sync()
}

package audit

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// tail is how many records at the end of what was written may be damaged
// without doubt about the others: those that were being written when the machine
// (not just the process) went down.
const tail = 64

// Summary is what Read found in a file.
type Summary struct {
	Header
	Records int
	// Torn counts damaged records among the last ones, which a crash of the
	// machine explains; Damaged all others, which nothing explains.
	Torn, Damaged int
}

// Read reads the file at path and calls each for every whole record, in the
// file's order. A file that is cut short is read as far as it goes; one without
// a header has no records.
func Read(path string, each func(*Record)) (s Summary, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("audit: %w", err)
	}
	defer func() {
		if e := f.Close(); e != nil && err == nil {
			err = fmt.Errorf("audit: %w", e)
		}
	}()
	if err := s.read(bufio.NewReaderSize(f, 1<<16), each); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *Summary) read(r io.Reader, each func(*Record)) error {
	var head [headerSize]byte
	if n, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) || allZero(head[:n]) {
		return nil // the process was killed before it had written anything
	} else if err != nil {
		return errors.Join(ErrFormat, err)
	}
	if err := s.UnmarshalBinary(head[:]); err != nil {
		return err
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	var slot [recordSize]byte
	var record Record
	var bad []int // places of damaged records
	last := 0
	for i := 0; ; i++ {
		_, err := io.ReadFull(r, slot[:])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		there, whole := record.decode(slot[:], table)
		switch {
		case !there:
			continue
		case !whole:
			bad = append(bad, i)
		default:
			s.Records++
			each(&record)
		}
		last = i
	}
	for _, i := range bad {
		if i > last-tail {
			s.Torn++
		} else {
			s.Damaged++
		}
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

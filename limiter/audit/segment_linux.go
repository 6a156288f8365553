package audit

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// segment is one file, mapped.
type segment struct {
	file *os.File
	mem  []byte
	room int64
	// next is the place of the next record, beyond room if it is full. done
	// counts those that are written, and one more for who holds the segment as
	// the current one: whoever makes it room+1 has it for himself.
	next, done atomic.Int64
}

func newSegment(path string, h *Header, room int) (_ *segment, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path))
		}
	}()
	size := headerSize + room*recordSize
	if err := allocate(f, int64(size)); err != nil {
		return nil, err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	head, _ := h.AppendBinary(nil)
	copy(mem, head)
	return &segment{file: f, mem: mem, room: int64(room)}, nil
}

// allocate gives the file so many bytes on the disk.
func allocate(f *os.File, size int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP):
			_, err = f.Write(make([]byte, size))
		}
		return os.NewSyscallError("fallocate", err)
	}
}

// put writes a record to its place, which nobody else has. The first word goes
// last: a process that is killed leaves a whole record or none.
func (s *segment) put(i int, r *Record, table *crc32.Table) {
	at := headerSize + i*recordSize
	slot := s.mem[at : at+recordSize : at+recordSize]
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], r.encode(slot, table))
	(*atomic.Uint64)(unsafe.Pointer(&slot[0])).Store(binary.NativeEndian.Uint64(word[:]))
	s.count()
}

// count is for a record that is written, and for who stops to hold the segment.
func (s *segment) count() {
	if s.done.Add(1) == s.room+1 {
		_ = s.release() // of a file that is complete: there is nothing to be lost
	}
}

// retire is for a full segment that is not the current one any more.
func (s *segment) retire() { s.count() }

// setLost writes into the header how many admissions were not recorded. The
// caller holds the segment as the current one.
func (s *segment) setLost(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	(*atomic.Uint64)(unsafe.Pointer(&s.mem[lostAt])).Store(binary.NativeEndian.Uint64(b[:]))
}

func (s *segment) release() error {
	return errors.Join(os.NewSyscallError("munmap", syscall.Munmap(s.mem)), s.file.Close())
}

// finish lets nobody in any more, waits for those who are, and cuts off what was
// not used. If one does not end, the segment stays as it is.
func (s *segment) finish() error {
	used := min(s.next.Swap(s.room), s.room)
	for end := time.Now().Add(closePatience); s.done.Load() < used; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return nil
		}
	}
	return errors.Join(s.file.Truncate(headerSize+used*recordSize), s.file.Close())
}

// remove is for a segment that was never used.
func (s *segment) remove() error {
	return errors.Join(os.Remove(s.file.Name()), s.release())
}

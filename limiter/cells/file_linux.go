package cells

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

const (
	bootIDFile = "/proc/sys/kernel/random/boot_id"

	// A file grows by an eighth, within these bounds, in extents.
	growLeast, growMost = 4, 64

	zeroRange = 0x10 // FALLOC_FL_ZERO_RANGE of linux/falloc.h
	keepSize  = 0x01 // FALLOC_FL_KEEP_SIZE
)

// file is a backing in a mapped file, which is locked.
type file struct {
	f    *os.File
	mem  memory
	have int // extents that the file is long enough for
	boot string
	stat *syscall.Stat_t
}

// Open opens the table in a file, made if need be, for this process alone.
//
// What an earlier process of this boot left there is there again (Recovered). If
// there is any doubt about it, the table is empty: another boot, another
// version, a copy of the file, or something that no process leaves behind. A
// cell that the earlier process was about to give to a key when it was killed,
// is nobody's.
//
// It returns ErrInUse if another process has the file, and what the system says
// if it cannot be opened, locked or mapped, or the disk is full.
//
// The file grows with what is used, and space is allocated before it is touched:
// a full disk makes Insert return nil. Whoever cuts the file short while it is in
// use kills the process (SIGBUS); and if an old copy is written over it between
// two processes, that is not noticed.
func Open(path string, o Options) (*Table, error) {
	if o.Boot == "" {
		id, _ := os.ReadFile(bootIDFile) // without one nothing is ever recovered
		o.Boot = strings.TrimSpace(string(id))
	}
	f, err := openFile(path, o)
	if err != nil {
		return nil, fmt.Errorf("open cell table: %w", err)
	}
	if f.valid() {
		t := newTable(o.Capacity, f)
		if t.recover(f.mem) {
			return t, nil
		}
	}
	if err := f.reset(nil); err != nil {
		return nil, errors.Join(fmt.Errorf("make cell table: %w", err), f.close())
	}
	return newTable(o.Capacity, f), nil
}

// openFile opens, locks and maps the file.
func openFile(path string, o Options) (_ *file, err error) {
	f := &file{boot: o.Boot}
	if f.f, err = lock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.f.Close())
		}
	}()
	info, err := f.f.Stat()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	f.stat = stat
	if info.Size() >= dataAt {
		f.have = int(min((info.Size()-dataAt)/int64(extentBytes), maxExtents))
	}
	// Addresses beyond the end of the file cost nothing, and the file grows into
	// them: no cell ever moves.
	size := dataAt + max(f.have, extentsFor(o.Capacity))*extentBytes
	f.mem, err = syscall.Mmap(int(f.f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return f, nil
}

// lock opens the file at path, with a lock that ends with the process.
func lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(ErrInUse, f.Close())
		}
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
		}
		// A lock on a file that is at the path no more keeps nobody out.
		there, err := os.Stat(path)
		mine, err2 := f.Stat()
		if err == nil && err2 == nil && os.SameFile(there, mine) {
			return f, nil
		}
		if err := errors.Join(err2, f.Close()); err != nil {
			return nil, err
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
}

// valid says whether the file's fixed parts are those of an earlier process of
// this boot. If so it cuts off what nobody owns at the end.
func (f *file) valid() bool {
	info, err := f.f.Stat()
	if err != nil || f.boot == "" || info.Size() < dataAt || info.Size() > dataAt+int64(maxExtents)*int64(extentBytes) {
		return false
	}
	if *f.mem.preface() != newPreface(f.boot, uint64(f.stat.Dev), f.stat.Ino) {
		return false
	}
	used := 0
	for i := range f.have {
		o := f.mem.owner(i).Load()
		if o != 0 && o&^(Shards-1) != ownerMark {
			return false
		}
		if o != 0 {
			used = i + 1
		}
	}
	beyond := f.mem[ownersAt+4*f.have : placesAt]
	if bytes.Count(beyond, []byte{0}) != len(beyond) {
		return false
	}
	if _, ok := f.mem.newest(); !ok || f.f.Truncate(int64(dataAt+used*extentBytes)) != nil {
		return false
	}
	f.have = used
	return true
}

// reset makes the file an empty table. Cut to nothing, it has no preface until
// all else is in place.
func (f *file) reset(trace trace) error {
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		if err := f.f.Truncate(0); err != nil {
			return err
		}
	}
	f.have = 0
	if err := f.allocate(0, dataAt); err != nil {
		return err
	}
	p := newPreface(f.boot, uint64(f.stat.Dev), f.stat.Ino)
	name := p.Name
	p.Name = 0
	*f.mem.preface() = p
	trace.store()
	f.mem.preface().Name = name
	trace.store()
	return nil
}

// allocate makes the file long enough, with space on the disk: what is mapped
// and has none would kill the process when it is written.
func (f *file) allocate(from, n int64) error {
	for {
		err := syscall.Fallocate(int(f.f.Fd()), 0, from, n)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP):
			_, err = f.f.WriteAt(make([]byte, n), from)
		}
		return os.NewSyscallError("fallocate", err)
	}
}

func (f *file) extents() int { return f.have }

func (f *file) at(number int) (*extent, error) {
	if number < f.have {
		return f.mem.extent(number), nil
	}
	room := (len(f.mem)-dataAt)/extentBytes - f.have
	if room <= 0 {
		return nil, syscall.ENOSPC
	}
	n := min(max(growLeast, min(f.have/8, growMost)), room)
	at := int64(dataAt + f.have*extentBytes)
	if err := f.allocate(at, int64(n*extentBytes)); err != nil {
		n = 1 // the disk may have room for that
		if err := f.allocate(at, int64(extentBytes)); err != nil {
			return nil, err
		}
	}
	f.have += n
	return f.mem.extent(number), nil
}

func (f *file) assign(number, shard int) { f.mem.owner(number).Store(ownerMark | uint32(shard)) }

// release gives the memory back but keeps the space on the disk: a reader late
// enough to write there must not find the disk full. Where that cannot be done
// the memory waits for its next use.
func (f *file) release(number int) (gone bool) {
	f.mem.owner(number).Store(0)
	at := int64(dataAt + number*extentBytes)
	_ = syscall.Fallocate(int(f.f.Fd()), zeroRange|keepSize, at, int64(extentBytes))
	return false
}

func (f *file) header() []byte { return f.mem.header() }

func (f *file) setHeader(b []byte, trace trace) { f.mem.setHeader(b, trace) }

func (f *file) close() error {
	return errors.Join(os.NewSyscallError("munmap", syscall.Munmap(f.mem)), f.f.Close())
}

package cells

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"unsafe"
)

// The file, in the machine's byte order, as it never leaves the machine:
//
//	0         the preface: what file this is, and of which boot
//	4,096     owners: 4 bytes for each extent that there could be
//	          two places of the user's header, see place
//	dataAt    the extents, 16 KiB each, as far as there are any
//
// It does not depend on the capacity, which may be another after a restart.
const (
	pageSize   = 4096
	formatName = 0x32534c4c45434c53 // "SLCELLS2"
	maxExtents = maxCells / extentCells

	ownersAt  = pageSize
	ownersLen = (maxExtents*4 + pageSize - 1) / pageSize * pageSize
	placesAt  = ownersAt + ownersLen
	placeLen  = pageSize + MaxHeader
	dataAt    = placesAt + 2*placeLen

	// ownerMark and a shard are the word of an extent's owner; 0 is nobody.
	ownerMark = 0xce115000
)

// preface is the beginning of the file. What does not match all of it is another
// file, and void.
type preface struct {
	Name    uint64 // written last
	Layout  uint64 // sizes, so that a build with others does not read it
	Order   uint64 // bytes in the machine's order
	Boot    [sha256.Size]byte
	Dev, No uint64 // of the file itself: a copy of it is void
	Sum     uint64 // CRC32C of all before
}

const (
	layout    = extentCells<<32 | uint64(unsafe.Sizeof(Cell{}))<<16 | Shards
	order     = 0x0102030405060708
	prefaceSz = int(unsafe.Sizeof(preface{}))
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newPreface(boot string, dev, no uint64) preface {
	p := preface{Name: formatName, Layout: layout, Order: order, Boot: sha256.Sum256([]byte(boot)), Dev: dev, No: no}
	p.Sum = p.sum()
	return p
}

func (p *preface) sum() uint64 {
	b := unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Offsetof(p.Sum))
	return uint64(crc32.Checksum(b, castagnoli))
}

// place is one of the two places of the user's header. A header is written to
// the place of the older one; Seq, which counts them, is 0 meanwhile and comes
// last.
type place struct {
	Seq  atomic.Uint64
	Len  uint64
	Sum  uint64 // CRC32C of Seq, Len and the data
	_    [pageSize - 24]byte
	Data [MaxHeader]byte
}

func (p *place) sum(seq uint64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], seq)
	binary.LittleEndian.PutUint64(b[8:], p.Len)
	return uint64(crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, p.Data[:p.Len]))
}

// memory is the mapped file.
type memory []byte

func (m memory) preface() *preface { return (*preface)(unsafe.Pointer(&m[0])) }

func (m memory) owner(extent int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&m[ownersAt+4*extent]))
}

func (m memory) place(i int) *place {
	return (*place)(unsafe.Pointer(&m[placesAt+i*placeLen]))
}

func (m memory) extent(i int) *extent {
	return (*extent)(unsafe.Pointer(&m[dataAt+i*extentBytes]))
}

// newest returns the sequence number of the newest header, 0 if there is none,
// or false if the places hold what no process, killed or not, leaves there.
func (m memory) newest() (seq uint64, ok bool) {
	var seqs [2]uint64
	for i := range seqs {
		p := m.place(i)
		seqs[i] = p.Seq.Load()
		if seqs[i] == 0 {
			continue
		}
		if seqs[i]%2 != uint64(i) || p.Len > MaxHeader || p.Sum != p.sum(seqs[i]) {
			return 0, false
		}
	}
	a, b := min(seqs[0], seqs[1]), max(seqs[0], seqs[1])
	return b, a == 0 || b-a == 1
}

func (m memory) header() []byte {
	seq, ok := m.newest()
	if seq == 0 || !ok {
		return nil
	}
	p := m.place(int(seq % 2))
	return p.Data[:p.Len]
}

func (m memory) setHeader(b []byte, trace trace) {
	seq, _ := m.newest()
	seq++
	p := m.place(int(seq % 2))
	p.Seq.Store(0)
	trace.store()
	p.Len = uint64(len(b))
	trace.store()
	half := copy(p.Data[:], b[:len(b)/2])
	trace.store()
	copy(p.Data[half:], b[half:])
	trace.store()
	p.Sum = p.sum(seq)
	trace.store()
	p.Seq.Store(seq)
	trace.store()
}

package cells

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/sluicegate/sluice/limiter/window"
)

// DefaultCapacity is how many keys a table has room for unless told otherwise.
const DefaultCapacity = 1 << 20

// ErrInUse is returned by Open when another process has the file.
var ErrInUse = errors.New("cell table in use by another process")

// ErrHeaderSize is returned by SetHeader.
var ErrHeaderSize = errors.New("header of a cell table longer than 64 KiB")

// MaxHeader is how long the user's header may be, in bytes.
const MaxHeader = 64 << 10

// Table is a set of cells in 64 shards. Find takes no lock; what changes a shard
// wants the user's lock for it, and different shards may change at once.
type Table struct {
	shards    [Shards]shard
	extents   []atomic.Pointer[extent] // by number; nil is not there
	pool      pool
	len       atomic.Int64
	recovered bool
	trace     trace
}

// extent is a piece of memory that belongs to one shard.
type extent [extentCells]Cell

const (
	extentCells = 256
	extentBytes = extentCells * int(unsafe.Sizeof(Cell{}))
)

// shard is guarded by the user's lock for it, but for index.
type shard struct {
	index atomic.Pointer[index]
	_     [56]byte // what changes below does not slow down who reads above

	owned  []uint32 // numbers of the shard's extents
	hand   int      // where room is looked for next, a position in owned's cells
	swept  int      // where Sweep goes on, a position in owned
	cells  int      // that have a key
	used   int      // slots of the index that are not empty
	barren bool     // the last whole round found no room
}

// Options of Open.
type Options struct {
	// Capacity is for how many keys there is room, whatever their shards; up to
	// 16,384 more may find some. Default DefaultCapacity, at most 2^24 - 16,640.
	Capacity int
	// Boot names this boot of the machine. Default: the kernel's boot id.
	Boot string
}

// InMemory returns an empty table that ends with the process. The capacity is
// as in Options.
func InMemory(capacity int) *Table {
	return newTable(capacity, newHeap())
}

func newTable(capacity int, b backing) *Table {
	n := extentsFor(capacity)
	t := &Table{extents: make([]atomic.Pointer[extent], max(n, b.extents()))}
	t.pool.init(b, n)
	for i := range t.shards {
		t.shards[i].index.Store(newIndex(0))
	}
	return t
}

// extentsFor returns how many extents have room for the keys, if every shard's
// last extent is almost empty.
func extentsFor(capacity int) int {
	if capacity <= 0 {
		capacity = DefaultCapacity
	}
	return min((capacity+extentCells-1)/extentCells+Shards, maxCells/extentCells)
}

// Find returns the cell of a key and period, or nil. It is safe at any time, but
// by the time it returns the cell may be another key's, or a key that had none
// may have one: only TakeFor may then be used without the lock, and what nil
// means is decided under it.
func (t *Table) Find(k Key, p window.Period) *Cell {
	c, _ := t.FindRef(k, p)
	return c
}

// Ref names a cell's place in the table; 0 is none.
type Ref uint32

// At returns the cell that is at a place now, or nil. It may be anybody's: see
// Find for what is safe then.
func (t *Table) At(r Ref) *Cell {
	if r == 0 {
		return nil
	}
	return t.cell(uint32(r) - 1)
}

// FindRef is Find, and says where the cell is.
func (t *Table) FindRef(k Key, p window.Period) (*Cell, Ref) {
	f := k.fold()
	h := hash(f, p)
	want := tag(h)
	x := t.shards[f%Shards].index.Load()
	mask := uint64(len(x.slots) - 1)
	for i := h >> x.shift; ; i++ {
		v := x.slots[i&mask].Load()
		if v&^numberMask == want {
			if c := t.cell(v&numberMask - 1); c != nil && c.Of(k, p) {
				return c, Ref(v & numberMask)
			}
		}
		if v == empty {
			return nil, 0
		}
	}
}

// cell returns nil for a number whose extent was given up meanwhile.
func (t *Table) cell(number uint32) *Cell {
	e := t.extents[number/extentCells].Load()
	if e == nil {
		return nil
	}
	return &e[number%extentCells]
}

// Insert returns the cell of a key and period if there is one. Else it makes one
// of a free cell or of one whose window is over, as over says, which looks at
// the cell's Start and Period; Start is 0 for a cell that never entered a
// window. It returns nil if there is no room, and for the zero Key; a cell that
// is over in a full shard is found within a round of some calls. Under the lock
// of the key's shard.
func (t *Table) Insert(k Key, p window.Period, over func(*Cell) bool) *Cell {
	if c := t.Find(k, p); c != nil {
		return c
	}
	if k == (Key{}) || !p.Valid() {
		return nil
	}
	s := &t.shards[Shard(k)]
	number, ok := t.room(s, Shard(k), over)
	if !ok {
		return nil
	}
	c := t.cell(number)
	t.unlink(s, number, c)
	c.own(k, p, t.trace)
	s.cells++
	t.len.Add(1)
	t.link(s, number, hash(k.fold(), p))
	return c
}

// link enters a cell that has its key already.
func (t *Table) link(s *shard, number uint32, h uint64) {
	x := s.index.Load()
	if 4*(s.used+1) > 3*len(x.slots) {
		t.reindex(s)
	} else if x.put(h, number) {
		s.used++
	}
}

// unlink takes a cell that is about to lose its key out of the index.
func (t *Table) unlink(s *shard, number uint32, c *Cell) {
	k := c.Key()
	if k == (Key{}) {
		return
	}
	s.index.Load().remove(hash(k.fold(), c.Period()), number)
	s.cells--
	t.len.Add(-1)
}

// reindex makes a shard's index anew, of the size that its cells need. Readers
// of the old one see what it was.
func (t *Table) reindex(s *shard) {
	x := newIndex(s.cells)
	s.used = s.cells
	for _, e := range s.owned {
		base := e * extentCells
		for i := range uint32(extentCells) {
			c := t.cell(base + i)
			if k := c.Key(); k != (Key{}) {
				x.put(hash(k.fold(), c.Period()), base+i)
			}
		}
	}
	s.index.Store(x)
}

// Each calls f for every cell of a shard until it returns false; over or not.
// Under the lock of the shard.
func (t *Table) Each(shard int, f func(Key, window.Period, *Cell) bool) {
	for _, e := range t.shards[shard].owned {
		x := t.extents[e].Load()
		for i := range x {
			c := &x[i]
			if k := c.Key(); k != (Key{}) && !f(k, c.Period(), c) {
				return
			}
		}
	}
}

// EachSome calls f for the cells of one piece of a shard, 256 at most, over or
// not, and returns the next piece to ask for: 0 ends the round. The first is -1.
// Under the lock of the shard, which may be given up in between: a cell that is
// there all the time is met at least once.
func (t *Table) EachSome(shard, piece int, f func(*Cell)) (next int) {
	// From the end: Sweep moves the last extent forward, where it is met again.
	owned := t.shards[shard].owned
	if piece < 0 || piece > len(owned) {
		piece = len(owned)
	}
	if piece == 0 {
		return 0
	}
	x := t.extents[owned[piece-1]].Load()
	for i := range x {
		if c := &x[i]; c.Key() != (Key{}) {
			f(c)
		}
	}
	return piece - 1
}

// Len returns the number of cells that have a key, over or not.
func (t *Table) Len() int { return int(t.len.Load()) }

// Bytes returns the memory in use: extents, indexes and what is always there.
func (t *Table) Bytes() int {
	n := int(unsafe.Sizeof(*t)) + len(t.extents)*8 + t.pool.inUse()*extentBytes
	for i := range t.shards {
		n += len(t.shards[i].index.Load().slots) * 4
	}
	return n
}

// Recovered says whether the table has the cells of an earlier process of the
// same boot, all of them.
func (t *Table) Recovered() bool { return t.recovered }

// Header returns a copy of what the last SetHeader was given, by this process or
// the one whose cells were recovered, or nil.
func (t *Table) Header() []byte { return t.pool.header() }

// SetHeader keeps up to 64 KiB of the user's own with the cells. A process
// killed meanwhile leaves this header or the one of before. Nothing orders it
// with changes of cells but the order in which the user makes them.
func (t *Table) SetHeader(b []byte) error {
	if len(b) > MaxHeader {
		return ErrHeaderSize
	}
	return t.pool.setHeader(b, t.trace)
}

// Close gives the file back to other processes. No cell may be used afterwards,
// by nobody who may still hold one: their memory is gone, and the process dies
// of it. A process that ends anyway need not call it.
func (t *Table) Close() error { return t.pool.close() }

package cells

import (
	"math/bits"
	"sync/atomic"

	"github.com/sluicegate/sluice/limiter/window"
)

// index finds a shard's cells: open addressing with linear probing, 4 bytes a
// slot, 16 slots a cache line. It is in the process's own memory, also if the
// cells are in a file: a restart makes it anew from them.
//
// Readers take no lock. One that meets a change may miss a key, or be given the
// cell of another; both send it to the lock, where it looks again.
type index struct {
	shift uint // of a hash: its high bits are the first slot
	slots []atomic.Uint32
}

// A slot has a tag of 8 bits, which is odd, and 24 bits of a cell's number + 1.
const (
	empty = 0
	gone  = 1<<24 - 1 // a cell was here; no tag, so it never matches

	numberMask = 1<<24 - 1
	// maxCells is how many numbers there are, but for gone's.
	maxCells = 1<<24 - 2

	minSlots = 16
)

// Shards is the number of parts of a table, each with a lock, the user's.
const Shards = 64

const (
	mix1 = 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	mix2 = 0xd6e8feb86659fd93
)

// Before returns the key that k is the nth of.
func (k Key) Before(n uint64) Key { return Key{Hi: k.Hi, Lo: k.Lo - n*mix2*Shards} }

// Nth returns another key of the same shard, for each n another one: no hash is
// likely to be the same.
func (k Key) Nth(n uint64) Key { return Key{Hi: k.Hi, Lo: k.Lo + n*mix2*Shards} }

// fold is what a key's shard and slots depend on.
func (k Key) fold() uint64 { return k.Hi*mix1 + k.Lo }

// Shard returns the shard of all cells of a key.
func Shard(k Key) int { return int(k.fold() % Shards) }

// hash has the first slot in its high bits, and the tag below 40 bits of them.
func hash(fold uint64, p window.Period) uint64 { return (fold + uint64(p)*mix1 + mix1) * mix2 }

func tag(h uint64) uint32 { return uint32(h>>32)<<24 | 1<<24 }

func newIndex(cells int) *index {
	n := minSlots
	for n < 2*cells {
		n *= 2
	}
	return &index{shift: uint(64 - bits.TrailingZeros(uint(n))), slots: make([]atomic.Uint32, n)}
}

// put enters a cell that is not there, and says whether that used an empty slot.
func (x *index) put(h uint64, number uint32) (used bool) {
	mask := uint64(len(x.slots) - 1)
	for i := h >> x.shift; ; i++ {
		s := &x.slots[i&mask]
		if v := s.Load(); v == empty || v == gone {
			s.Store(tag(h) | number + 1)
			return v == empty
		}
	}
}

// remove takes a cell out, if it is there.
func (x *index) remove(h uint64, number uint32) {
	mask := uint64(len(x.slots) - 1)
	for i := h >> x.shift; ; i++ {
		s := &x.slots[i&mask]
		switch s.Load() {
		case tag(h) | number + 1:
			s.Store(gone)
			return
		case empty:
			return
		}
	}
}

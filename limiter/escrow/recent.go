package escrow

import (
	"math/bits"
	"strings"
	"sync/atomic"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// Keys that have just been asked for are remembered with their hash and the place
// of their cell: that spares the hot ones the dearer half of a decision.

const (
	recentBits = 12 // of how many are remembered
	// longestRecent is the longest key that is remembered, in bytes.
	longestRecent = 64
	// newcomers is how many keys miss a place in vain until one takes it over. So
	// keys that come once neither drive out hot ones nor allocate much.
	newcomers = 64
)

// recent is a limit's key, its hash, and where its cell was.
type recent struct {
	lim  *Limit
	text string
	key  ledger.Key
	ref  atomic.Uint32
}

type recents [1 << recentBits]struct {
	is     atomic.Pointer[recent]
	missed atomic.Uint32
}

// recall returns what is remembered of a key, or nil.
func (c *Core) recall(lim *Limit, key string) *recent {
	if r := c.recents[recentPlace(lim, key)].is.Load(); r != nil && r.lim == lim && r.text == key {
		return r
	}
	return nil
}

// remember takes note of a key that recall did not know.
func (c *Core) remember(lim *Limit, key string, k ledger.Key, ref cells.Ref) {
	place := &c.recents[recentPlace(lim, key)]
	if len(key) > longestRecent {
		return
	}
	if n := place.missed.Load(); n > 0 {
		place.missed.Store(n - 1) // a count that is lost does no harm
		return
	}
	place.missed.Store(newcomers)
	r := &recent{lim: lim, text: strings.Clone(key), key: k}
	r.ref.Store(uint32(ref))
	place.is.Store(r)
}

// recentPlace is where a key is remembered. Who makes keys that meet there makes
// their decisions a little slower.
func recentPlace(lim *Limit, key string) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	h := lim.hash.Lo ^ uint64(len(key))
	if len(key) >= 8 {
		h ^= load(key) ^ bits.RotateLeft64(load(key[len(key)-8:]), 32)
	} else {
		for i := range len(key) {
			h = h<<8 ^ uint64(key[i])
		}
	}
	return h * odd >> (64 - recentBits)
}

// find returns a key's cell, which may be another's, or nil.
func (c *Core) find(r *recent, at cells.Key, p window.Period) (*cells.Cell, cells.Ref) {
	if r == nil {
		return c.table.FindRef(at, p)
	}
	ref := cells.Ref(r.ref.Load())
	if cl := c.table.At(ref); cl != nil {
		return cl, ref
	}
	cl, ref := c.table.FindRef(at, p)
	r.ref.Store(uint32(ref))
	return cl, ref
}

// moved says that a key's cell is not where it was.
func (r *recent) moved() {
	if r != nil {
		r.ref.Store(0)
	}
}

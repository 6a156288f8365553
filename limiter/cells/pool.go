package cells

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// backing is where extents are: the heap or a file.
type backing interface {
	// extents returns how many there are after a restart.
	extents() int
	// at returns an extent whose cells are free, and whose memory is there to
	// be written, or an error: no space.
	at(number int) (*extent, error)
	// assign notes whose the extent is from now on; release that it is
	// nobody's, which all its cells are, and says whether its address may no
	// longer be used.
	assign(number, shard int)
	release(number int) (gone bool)
	header() []byte
	setHeader([]byte, trace)
	close() error
}

// pool has the extents that no shard has. Its lock is taken with a shard's held,
// never the other way round.
type pool struct {
	mu     sync.Mutex
	back   backing
	free   []uint32 // were in use once, the lowest last
	next   int      // never in use so far from here on
	limit  int
	used   int
	rest   int // calls for which a full disk is not tried again
	closed bool
}

// pause is how many times an extent is refused without trying after the disk was
// full.
const pause = 1000

var errClosed = errors.New("cell table is closed")

func (p *pool) init(b backing, limit int) { p.back, p.limit = b, limit }

// take returns an extent for a shard, or nil if there is none.
func (p *pool) take(shard int, trace trace) (number uint32, x *extent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.used >= p.limit {
		return 0, nil
	}
	if p.rest > 0 {
		p.rest--
		return 0, nil
	}
	reused := len(p.free) > 0
	if reused {
		number = p.free[len(p.free)-1]
	} else {
		number = uint32(p.next)
	}
	x, err := p.back.at(int(number))
	trace.store()
	if err != nil {
		p.rest = pause
		return 0, nil
	}
	if reused {
		p.free = p.free[:len(p.free)-1]
	} else {
		p.next++
	}
	p.used++
	p.back.assign(int(number), shard)
	trace.store()
	return number, x
}

// give takes an extent back. Readers that still hold cells of it find them to be
// nobody's.
func (p *pool) give(number uint32, at *atomic.Pointer[extent], trace trace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.back.release(int(number)) {
		at.Store(nil)
	}
	trace.store()
	p.used--
	// The lowest are used first, so that a file ends early after a restart.
	i, _ := slices.BinarySearchFunc(p.free, number, func(a, b uint32) int { return int(b) - int(a) })
	p.free = slices.Insert(p.free, i, number)
}

func (p *pool) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

func (p *pool) header() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	return slices.Clone(p.back.header())
}

func (p *pool) setHeader(b []byte, trace trace) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	p.back.setHeader(b, trace)
	return nil
}

func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.back.close()
}

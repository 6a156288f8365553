package escrow

import (
	"math"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// The flags of a cell, above the bits that are the table's. They are about the
// window the cell is in.
const (
	// minted: this node's share has been credited.
	minted = 1 << (8 + iota)
	// closed: nothing of the window is left anywhere, until it ends or the limit
	// is raised.
	closed
	// dirty: other nodes are to hear what was spent.
	dirty
	// degraded: the share was taken without a quorum.
	degraded
)

// over says whether a cell may be given to another key: its window has ended
// here, so that nothing is taken of it any more.
func (s *shard) over(now Instant) func(*cells.Cell) bool {
	return func(cl *cells.Cell) bool {
		start := int64(cl.Start.Load())
		_, end := period(cl).At(start)
		return (start == 0 || now.Lo >= end*second) && s.hunts[cl] == nil
	}
}

func period(cl *cells.Cell) window.Period { return window.Period(cl.Flags.Load() & 0xff) }

func has(cl *cells.Cell, flag uint32) bool { return cl.Flags.Load()&flag != 0 }
func set(cl *cells.Cell, flag uint32)      { cl.Flags.Or(flag) }
func unset(cl *cells.Cell, flag uint32)    { cl.Flags.And(^flag) }

// cell returns the cell of a budget, in its window and with the limit's newest
// version, or nil if the table is full or the window is an earlier one than the
// cell's. The shard is locked.
func (s *shard) cell(now Instant, b ledger.Budget, l ledger.Limit) *cells.Cell {
	c := s.core
	k := cells.Key(b.Key)
	cl := c.table.Find(k, b.Period)
	if cl == nil {
		if cl = c.insert(k, b.Period, s.over(now)); cl == nil {
			return nil
		}
	}
	start := int64(cl.Start.Load())
	switch {
	case start > b.Start:
		return nil
	case start < b.Start:
		s.enter(cl, b, l)
	case uint32(l.Version) != cl.Version.Load():
		s.follow(cl, b, l)
	}
	if !has(cl, minted) {
		s.mint(cl, b, l)
	}
	return cl
}

// enter begins a window. Requests that wait go on waiting in it.
func (s *shard) enter(cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	// The order is for requests without the lock, which must not see the old
	// window's end in the new one, and for a process that dies in between: it must
	// not take its share of the old window again.
	unset(cl, closed|dirty|degraded)
	cl.Enter(uint32(b.Start), 0)
	unset(cl, minted)
	cl.Credited.Store(0)
	cl.Extra.Store(0)
	cl.Told.Store(0)
	cl.Low.Store(0)
	cl.Max.Store(l.Max)
	cl.Version.Store(uint32(l.Version))
	if h := s.hunts[cl]; h != nil {
		h.turn(b, l)
	}
}

// mint credits this node's share of the window, once and if its right to it is
// certain.
func (s *shard) mint(cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	v := s.core.view.Load()
	d, known, _ := s.core.division(b.Start, l)
	if !known {
		return
	}
	set(cl, minted)
	if !s.core.fresh(v.stamp, b.Start) {
		set(cl, degraded)
	}
	share := max(0, d.Share(s.heir(v, d, b), b, cl.Max.Load())-s.overspent(b))
	credit(cl, b.Start, share)
	if cl.Max.Load() > smallBudget {
		cl.Low.Store(clampLow(share / 2))
	}
}

// heir is the member whose share this process may take: its own, or without a
// quorum also that of an incarnation whose cells are lost, in windows that began
// after this process did and of which that one has spent nothing.
func (s *shard) heir(v *view, d ledger.Division, b ledger.Budget) ledger.Member {
	m, ok := v.heir(d)
	if ok || s.core.fresh(v.stamp, b.Start) || b.Start*second <= s.core.Clock.began.Load() {
		return m
	}
	for _, m := range d.Members {
		if m.Node == v.member.Node {
			return m
		}
	}
	return v.member
}

// follow adapts the cell to another version of its limit. Tokens may become a
// debt.
func (s *shard) follow(cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	if newer := int32(uint32(l.Version) - cl.Version.Load()); newer <= 0 {
		return
	}
	if old := cl.Max.Load(); has(cl, minted) && old != l.Max {
		v := s.core.view.Load()
		d := v.rosters.Of(b.Start)
		if has(cl, degraded) {
			d = v.rosters.Last()
		}
		m := s.heir(v, d, b)
		more := d.Share(m, b, l.Max) - d.Share(m, b, old)
		if more > 0 && has(cl, degraded) {
			more = 0 // the roster may be another by now
		}
		// A process that dies in between has less than it might, not more.
		if more < 0 {
			credit(cl, b.Start, more)
		}
		defer credit(cl, b.Start, max(0, more))
	}
	cl.Max.Store(l.Max)
	cl.Version.Store(uint32(l.Version))
	unset(cl, closed)
	if h := s.hunts[cl]; h != nil {
		h.raise(l)
	}
}

// credit gives the cell tokens, or takes some. What was credited is told first:
// a process that dies in between has lost tokens, and minted none.
func credit(cl *cells.Cell, start, n int64) {
	if n == 0 {
		return
	}
	if n > 0 {
		cl.Credited.Add(n)
		cl.Add(uint32(start), n)
		return
	}
	cl.Add(uint32(start), n)
	cl.Credited.Add(n)
}

// tokens is what the cell has, negative for a debt.
func tokens(cl *cells.Cell) int64 { return cl.Word().Tokens() }

// spent is what was admitted here in the window, but for what requests that wait
// have reserved.
func (s *shard) spent(cl *cells.Cell) int64 {
	n := cl.Credited.Load() - tokens(cl)
	if h := s.hunts[cl]; h != nil {
		n -= h.reserved
	}
	return n
}

// remaining is what is left of a window after a request that left so many
// tokens here.
func remaining(cl *cells.Cell, left int64) int64 {
	return max(0, left, cl.Max.Load()-(cl.Credited.Load()-left)-int64(cl.Extra.Load()))
}

func clampLow(n int64) uint32 { return uint32(max(0, min(n, math.MaxUint32))) }

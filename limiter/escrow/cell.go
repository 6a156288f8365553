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
	minted = 1 << (cells.FlagsAt + iota)
	// closed: nothing of the window is left anywhere, until it ends or the limit
	// is raised.
	closed
	// dirty: other nodes are to hear what was spent.
	dirty
	// degraded: the share was taken without a quorum.
	degraded
	// topped: an operator has added to the window.
	topped
)

// over says whether a cell may be given to another key: its window has ended
// here, so that nothing is taken of it any more.
func (s *shard) over(now Instant) func(*cells.Cell) bool {
	return func(cl *cells.Cell) bool {
		p := cl.Period()
		switch {
		case p.IsSliding():
			return sliceOver(now, cl)
		case p.IsBucket():
			return s.bucketOver(now, cl)
		case p.IsInFlight():
			return cl.Start.Load() == 0 || tokens(cl) == credited(cl, p) && (p.IsLocal() || tokens(cl) == 0) && s.hunts[place{ledger.Key(cl.Key()), p}] == nil
		}
		start := int64(cl.Start.Load())
		if start > 0 {
			if w, _ := p.Named(start); now.Lo < w.Until {
				return false
			}
		}
		return s.hunts[place{ledger.Key(cl.Key()), p}] == nil
	}
}

func has(cl *cells.Cell, flag uint32) bool { return cl.Flags.Load()&flag != 0 }
func set(cl *cells.Cell, flag uint32)      { cl.Flags.Or(flag) }
func unset(cl *cells.Cell, flag uint32)    { cl.Flags.And(^flag) }

// cell returns the cell of a budget, in its window and with the limit's newest
// version, or nil if the table is full or the window is an earlier one than the
// cell's. The shard is locked.
func (s *shard) cell(now Instant, b ledger.Budget, l ledger.Limit) *cells.Cell {
	c := s.core
	k := keyOf(b)
	cl := c.table.Find(k, b.Period)
	if cl == nil {
		if cl = c.insert(k, b.Period, s.over(now)); cl == nil {
			c.counters.noRoom.Add(1)
			return nil
		}
	}
	if b.Period.IsBucket() {
		return s.bucketCell(now, cl, b, l)
	}
	m, start := mark(b), cl.Start.Load()
	switch {
	case start > m:
		return nil
	case start < m:
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
	unset(cl, closed|dirty|degraded|topped)
	cl.Enter(mark(b), 0)
	unset(cl, minted)
	cl.Credited.Store(0)
	cl.Extra.Store(0)
	cl.Told.Store(0)
	cl.Low.Store(0)
	cl.Max.Store(0)
	setLimit(cl, b.Period, l.Max)
	cl.Version.Store(uint32(l.Version))
	if s.core.added(b) > 0 {
		set(cl, topped)
	}
	if h := s.hunts[placeOf(b)]; h != nil && h.budget.Start < b.Start {
		h.cell = cl
		h.turn(b, l)
	}
}

// mint credits this node's share of the window, once and if its right to it is
// certain.
func (s *shard) mint(cl *cells.Cell, b ledger.Budget, l ledger.Limit) {
	w, _ := b.Window()
	v := s.core.view.Load()
	d, known, _ := s.core.division(b.Period, w.From, l)
	if !known {
		return
	}
	set(cl, minted)
	if !b.Period.IsLocal() && !s.core.rules.fresh(v.stamp, w.From) {
		set(cl, degraded)
		s.core.counters.unfounded.Add(1)
	}
	most := limitOf(cl, b.Period)
	share := most
	switch {
	case b.Period.IsLocal():
	case b.Period.IsSliding():
		share = s.entitled(b, l, most)
	default:
		share = d.Share(s.heir(v, d, w.From), b, most)
	}
	if b.Period.IsSliding() {
		share = s.beginSlice(cl, b, l, share)
	} else {
		share -= s.overspent(b)
	}
	credit(cl, b, share, share)
	if most > smallBudget {
		cl.Low.Store(clampLow(share / 2))
	}
}

// heir is the member whose share this process may take: its own, or without a
// quorum also that of an incarnation whose cells are lost, in windows that began
// after this process did and of which that one has spent nothing.
func (s *shard) heir(v *view, d ledger.Division, from int64) ledger.Member {
	m, ok := v.heir(d)
	if ok || s.core.rules.fresh(v.stamp, from) || from <= s.core.Clock.began.Load() {
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
	if old := limitOf(cl, b.Period); has(cl, minted) && old != l.Max {
		more := s.shareOf(cl, b, l, l.Max) - s.shareOf(cl, b, l, old)
		if more > 0 && has(cl, degraded) {
			more = 0 // the roster may be another by now
		}
		// A process that dies in between has less than it might, not more.
		if more < 0 {
			credit(cl, b, more, more)
		}
		defer credit(cl, b, max(0, more), max(0, more))
	}
	setLimit(cl, b.Period, l.Max)
	cl.Version.Store(uint32(l.Version))
	unset(cl, closed)
	if h := s.hunts[placeOf(b)]; h != nil {
		h.raise(l)
	}
}

// shareOf is this node's share of the cell's window if its limit is most.
func (s *shard) shareOf(cl *cells.Cell, b ledger.Budget, l ledger.Limit, most int64) int64 {
	switch {
	case b.Period.IsLocal():
		return most
	case b.Period.IsSliding():
		return s.entitled(b, l, most)
	}
	w, _ := b.Window()
	v := s.core.view.Load()
	d := v.rosters.Of(w.From)
	if has(cl, degraded) {
		d = v.rosters.Last()
	}
	return d.Share(s.heir(v, d, w.From), b, most)
}

// credit gives the cell tokens, or takes some; own of them are of this node's
// share. What was credited is told first: a process that dies in between has
// lost tokens, and minted none.
func credit(cl *cells.Cell, b ledger.Budget, n, own int64) {
	if n == 0 {
		return
	}
	if n > 0 {
		addCredited(cl, b.Period, n, own)
		cl.Add(mark(b), n)
		return
	}
	cl.Add(mark(b), n)
	addCredited(cl, b.Period, n, own)
}

// tokens is what the cell has, negative for a debt.
func tokens(cl *cells.Cell) int64 { return cl.Word().Tokens() }

// spent is what was admitted here in the window, but for what requests that wait
// have reserved.
func (s *shard) spent(b ledger.Budget, cl *cells.Cell) int64 {
	if b.Period.IsBucket() {
		return s.demandOf(b)
	}
	n := credited(cl, b.Period) - tokens(cl)
	if h := s.hunts[placeOf(b)]; h != nil && h.cell == cl {
		n -= h.reserved
	}
	return n
}

// remaining is what is left of a window or a bucket after a request that left so
// many tokens here.
func (s *shard) remaining(now Instant, cl *cells.Cell, p window.Period, left int64) int64 {
	if p.IsBucket() {
		return bucketLeft(now, cl, p, left)
	}
	return remaining(cl, p, max(0, left), s.bonus(cl))
}

// remaining is what is left of a window, which operators have added so much to.
func remaining(cl *cells.Cell, p window.Period, left, added int64) int64 {
	if p.IsInFlight() {
		return max(0, left) + int64(cl.Extra.Load()) // and what the log had last
	}
	return max(0, left, limitOf(cl, p)+added-before(cl, p)-(credited(cl, p)-left)-int64(cl.Extra.Load()))
}

func clampLow(n int64) uint32 { return uint32(max(0, min(n, math.MaxUint32))) }

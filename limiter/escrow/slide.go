package escrow

import (
	"math"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// Sliding windows. Time is cut into slices, each slice of a key is a cell of its
// own, and a node may spend in a slice what it is entitled to and has not used in
// the Slices before: a token comes back where it was spent. Tokens are lent for
// the rest of a slice only; they are used where they came from, so whoever has
// borrowed them loses what it does not spend. So what all nodes use, in a slice
// and the Slices before, is never more than the limit, and nobody has to tell
// anybody anything. DESIGN.md has the proof.

// maxSliding is the largest budget of a sliding window: a slice's cell has two
// numbers in the place of one.
const maxSliding = math.MaxInt32

// keyOf is what the cell of a budget is kept under: slices have cells of their
// own, in the shard of their key.
func keyOf(b ledger.Budget) cells.Key {
	k := cells.Key(b.Key)
	if b.Period.IsSliding() {
		return k.Nth(uint64(b.Start) + 1)
	}
	return k
}

// marks is how many slices there are before their marks come again: in two years
// the shortest ones.
const marks = math.MaxUint32

// mark is what a cell's Start is in a budget's window, never 0.
func mark(b ledger.Budget) uint32 {
	if b.Period.IsSliding() {
		return uint32(b.Start%marks) + 1
	}
	return uint32(b.Start)
}

// sliceOver says whether a slice's cell may be forgotten. One of the future is
// not over: another node's clock was ahead.
func sliceOver(now Instant, cl *cells.Cell) bool {
	p, m := cl.Period(), int64(cl.Start.Load())
	if m == 0 {
		return true
	}
	age := (p.At(now.Lo).Start%marks + marks - (m - 1)) % marks
	return age > p.Slices()+1 && age < marks-1<<16
}

// The two numbers in Credited of a slice's cell are what it was credited, and
// which part of that was this node's own; in Max the limit, and what all nodes
// have spent in the Slices before, as far as was known when it began.

func pair(low, high int64) int64 { return high<<32 | int64(uint32(low)) }
func low(v int64) int64          { return int64(int32(v)) }
func high(v int64) int64         { return v >> 32 }

// credited is how many tokens the cell was given, less those it gave away.
func credited(cl *cells.Cell, p window.Period) int64 {
	if v := cl.Credited.Load(); !p.IsSliding() {
		return v
	} else {
		return low(v)
	}
}

// addCredited adds to that, own of it to this node's own.
func addCredited(cl *cells.Cell, p window.Period, n, own int64) {
	if !p.IsSliding() {
		cl.Credited.Add(n)
		return
	}
	v := cl.Credited.Load()
	cl.Credited.Store(pair(low(v)+n, high(v)+own))
}

// limitOf is the budget of the cell's window.
func limitOf(cl *cells.Cell, p window.Period) int64 {
	v := cl.Max.Load()
	switch {
	case p.IsSliding():
		return low(v)
	case p.IsBucket():
		return high(v)
	}
	return v
}

// before is what all nodes have spent in the Slices before a slice.
func before(cl *cells.Cell, p window.Period) int64 {
	if !p.IsSliding() {
		return 0
	}
	return high(cl.Max.Load())
}

// setLimit sets the budget of the cell's window.
func setLimit(cl *cells.Cell, p window.Period, n int64) {
	if p.IsSliding() {
		n = pair(n, high(cl.Max.Load()))
	}
	cl.Max.Store(n)
}

// slice returns the cell of the nth slice before b, and its budget; nil if
// nothing was spent in it.
func (s *shard) slice(b ledger.Budget, n int64) (*cells.Cell, ledger.Budget) {
	b.Start -= n
	if cl := s.core.table.Find(keyOf(b), b.Period); cl != nil && cl.Start.Load() == mark(b) {
		return cl, b
	}
	return nil, b
}

// beginSlice ends the slices before b: nothing is spent in them any more. It
// returns what is left to this node of what it is entitled to, a debt if that has
// become less than it has used.
func (s *shard) beginSlice(cl *cells.Cell, b ledger.Budget, l ledger.Limit, entitled int64) int64 {
	used, spent := int64(0), int64(0)
	for n := s.core.rules.slices(b.Period); n > 0; n-- {
		old, of := s.slice(b, n)
		if old == nil {
			continue
		}
		left := takeAll(old, of)
		if left > 0 && ledger.NeedsLog(b.Period) {
			s.core.box.giveBack(ledger.Ask{Budget: of, Limit: l, Return: left})
		}
		used += s.core.rules.used(high(old.Credited.Load()), tokens(old))
		spent += max(0, s.spent(of, old)) + int64(old.Extra.Load())
	}
	cl.Max.Store(pair(limitOf(cl, b.Period), min(spent, maxSliding)))
	return entitled - used
}

// takeAll takes away what is left in a cell, and returns how much that is. It was
// never used.
func takeAll(cl *cells.Cell, b ledger.Budget) int64 {
	for {
		n := tokens(cl)
		if n <= 0 {
			return 0
		}
		left, ok := cl.Add(mark(b), -n)
		switch {
		case !ok:
			return 0
		case left < 0: // a request was faster, and will be seen now
			cl.Add(mark(b), n)
		default:
			addCredited(cl, b.Period, -n, -n)
			return n
		}
	}
}

// heardSlice is the cell of a slice that another node has spent of, nil if
// that was too long ago or there is no room. Its own share is for later: who
// tells the news does not know all of the limit.
func (s *shard) heardSlice(now Instant, b ledger.Budget, n *News) *cells.Cell {
	current := b.Period.At(now.Lo).Start
	if current-b.Start > b.Period.Slices() {
		return nil
	}
	cl, _ := s.slice(b, 0)
	if cl == nil {
		if cl = s.core.insert(keyOf(b), b.Period, s.over(now)); cl == nil {
			return nil
		}
		s.enter(cl, b, n.Limit)
	}
	if b.Start < current {
		set(cl, minted) // it is over
		b.Start = current
		if next, _ := s.slice(b, 0); next != nil && has(next, minted) {
			v := next.Max.Load()
			next.Max.Store(pair(low(v), min(high(v)+n.More, maxSliding)))
		}
	}
	return cl
}

// entitled is what this node may use in a slice and the Slices before: the least
// of its shares in all of them, since what others have used of a larger one is
// not known here. Slices that were over before the limit was there do not count,
// and neither do those of which nobody has a share.
func (s *shard) entitled(b ledger.Budget, l ledger.Limit, most int64) int64 {
	if ledger.NeedsLog(b.Period) {
		return 0
	}
	v := s.core.view.Load()
	least, since := int64(-1), s.core.rules.since(v, l.Since)
	for n := b.Period.Slices(); n >= 0; n-- {
		w, ok := b.Period.Named(b.Start - n)
		if !ok || w.From < since {
			continue
		}
		d := v.rosters.Of(w.From)
		if !s.core.rules.fresh(v.stamp, w.From) {
			d = v.rosters.Last()
		}
		if len(d.Members) == 0 {
			continue
		}
		share := d.Share(s.heir(v, d, w.From), b, most)
		if least < 0 {
			least = share
		}
		least = s.core.rules.least(least, share)
	}
	return max(0, least)
}

// resetAfter is when all of a window's tokens are back after a request that was
// admitted.
func resetAfter(now Instant, p window.Period, w window.Window) int64 {
	switch {
	case p.IsSliding():
		return p.Seconds()
	case p.IsInFlight():
		return 1
	}
	return reset(now, w)
}

// resetAdmitted is resetAfter with the shard locked.
func (s *shard) resetAdmitted(now Instant, b ledger.Budget, w window.Window) int64 {
	if b.Period.IsBucket() {
		return s.bucketReset(now, b, true)
	}
	return resetAfter(now, b.Period, w)
}

// resetRefused is when a request that is refused may be admitted.
func (s *shard) resetRefused(now Instant, b ledger.Budget, w window.Window) int64 {
	p := b.Period
	switch {
	case p.IsBucket():
		return s.bucketReset(now, b, false)
	case !p.IsSliding():
		return resetAfter(now, p, w)
	}
	for n := p.Slices(); n >= 0; n-- {
		if cl, of := s.slice(b, n); cl != nil && s.spent(of, cl)+int64(cl.Extra.Load()) > 0 {
			return wholeSeconds(w.Until + (p.Slices()-n)*(w.Until-w.From) - now.Lo)
		}
	}
	return p.Seconds()
}

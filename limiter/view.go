package limiter

import (
	"slices"
	"time"
)

// CellView is one window as the ledger knows it, for people to look at.
//
//	Pool + Spent + Lost + the sum of Holders' Held = Max
type CellView struct {
	Limit  string
	Key    string // of an overflow cell: the number of its bucket
	Period Period
	// Start and End bound the window, unix seconds; End is outside it.
	Start, End int64
	Max        int64
	// Pool is below 0 when a lowered limit was already exceeded.
	Pool int64
	// Spent is what all nodes have reported, Lost what went with a process.
	Spent, Lost int64
	// Overflow says that several keys share this cell because the ledger was
	// full.
	Overflow bool
	Holders  []HolderView
}

// HolderView is what one node has of a window.
type HolderView struct {
	Node string
	// Held was granted and is neither given back nor reported spent.
	Held int64
	// Spent is what the node's present incarnation has reported.
	Spent int64
}

// Stamp returns the cluster's time as of the last entry.
func (l *Ledger) Stamp() time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return time.UnixMicro(l.stamp)
}

// Len returns how many windows the ledger accounts for.
func (l *Ledger) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.cells)
}

// Pool returns what nobody holds of a window, never below 0, and whether the
// ledger knows the window; start is in unix seconds. It is meant for
// Config.Known.
func (l *Ledger) Pool(limit, key string, p Period, start int64) (int64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	b := l.lookup(cellKey{limit: limit, key: key, period: p, start: start})
	if b == nil {
		return 0, false
	}
	return max(0, b.pool), true
}

// Cells returns at most n windows (those of one limit, or of all if limit is
// empty) that were open at the last entry, sorted by limit, key and period.
func (l *Ledger) Cells(limit string, n int) []CellView {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var found []*budget
	for _, b := range l.expiry {
		if len(found) >= n {
			break
		}
		if (limit == "" || b.key.limit == limit) && b.end*second > l.stamp {
			found = append(found, b)
		}
	}
	slices.SortFunc(found, func(a, b *budget) int { return a.key.compare(b.key) })
	views := make([]CellView, len(found))
	for i, b := range found {
		views[i] = b.view()
	}
	return views
}

func (b *budget) view() CellView {
	v := CellView{
		Limit: b.key.limit, Key: b.key.key, Period: b.key.period, Start: b.key.start, End: b.end,
		Max: b.max, Pool: b.pool, Spent: b.spent, Lost: b.lost, Overflow: b.key.shared,
	}
	for i := range b.holders {
		h := &b.holders[i]
		v.Spent += h.spent
		if h.epoch != h.m.epoch {
			v.Lost += h.held()
			continue
		}
		v.Holders = append(v.Holders, HolderView{Node: h.m.name, Held: h.held(), Spent: h.spent})
	}
	return v
}

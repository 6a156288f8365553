package ledger

import (
	"cmp"
	"slices"

	"github.com/sluicegate/sluice/limiter/window"
)

const (
	// maxBudgets is how many keys' budgets there is room for. Further keys
	// share overflow budgets, of which a window has a fixed number, so that
	// these need no bound: windows that are not decided yet are refused.
	maxBudgets = 1 << 20
	buckets    = 1024
)

// account is what the ledger knows of one budget. What is not in the pool,
// max - pool, and what top-ups have added, has been given to nodes, beforehand or when they asked.
type account struct {
	version uint64
	terms   int64 // max, and in the lowest bit whether the limit is tolerant
	pool    int64
}

func (a *account) setLimit(l Limit) {
	a.version, a.terms = l.Version, l.Max<<1
	if l.Tolerant {
		a.terms |= 1
	}
}

func (a *account) limit() Limit {
	return Limit{Version: a.version, Max: a.max(), Tolerant: a.terms&1 == 1}
}

func (a *account) max() int64 { return a.terms >> 1 }

// open is a window that is not over for more than Delay, with its budgets.
// There are no pointers in the tables, for the garbage collector's sake.
type open struct {
	period   window.Period
	window   window.Window
	division Division // final, as asks before that are refused
	own      map[Key]account
	// shared are the overflow budgets, by bucket; nil until there is one.
	shared map[uint64]account
	// bonuses are of own budgets that were topped up; nil until there is one.
	bonuses map[Key]bonus
}

func newOpen(p window.Period, at window.Window, d Division) *open {
	return &open{period: p, window: at, division: d, own: make(map[Key]account)}
}

func (w *open) compare(p window.Period, start int64) int {
	return cmp.Or(cmp.Compare(w.period, p), cmp.Compare(w.window.Start, start))
}

// over says that nobody may ask for the window any more, nor need to know what
// was granted of it.
func (w *open) over(stamp int64) bool {
	until := w.window.Until
	if w.period.IsSliding() {
		until += (w.period.Slices() + 1) * (w.window.Until - w.window.From)
	}
	return stamp > until+Delay
}

// born is what the pool of a new budget has.
func (w *open) born(limit int64) int64 { return w.division.Pool(w.period, limit) }

// find returns the account of a key, and whether it shares it. A key without
// its own that could have used a shared one goes on with that until the window
// ends, also if there is room again: a budget of its own would mint twice.
func (w *open) find(k Key) (a account, shared, ok bool) {
	if a, ok = w.own[k]; ok {
		return a, false, true
	}
	a, ok = w.shared[k.Lo%buckets]
	return a, ok, ok
}

// search returns the place of a window among the open ones, and whether it is
// there.
func (l *Ledger) search(p window.Period, start int64) (int, bool) {
	return slices.BinarySearchFunc(l.windows, start, func(w *open, start int64) int { return w.compare(p, start) })
}

// window returns the window of a well-formed budget, or why it is refused.
func (l *Ledger) window(b *Budget) (*open, Refusal) {
	i, ok := l.search(b.Period, b.Start)
	if ok {
		return l.windows[i], NotRefused
	}
	at, ok := b.Window()
	switch {
	case !ok:
		return nil, Malformed
	case !Fresh(l.stamp, at.From):
		return nil, Early
	}
	w := newOpen(b.Period, at, l.rosters.Of(at.From))
	switch {
	case w.over(l.stamp):
		return nil, Expired
	case len(l.windows) >= maxWindows:
		return nil, Full
	}
	l.windows = slices.Insert(l.windows, i, w)
	return w, NotRefused
}

// wellFormed is false for what could not be meant.
func (k *Ask) wellFormed() bool {
	return !k.Budget.Period.IsLocal() && !k.Budget.Period.IsBucket() && k.Limit.Version > 0 && amount(k.Limit.Max) && amount(k.Want) && amount(k.Waiting) &&
		amount(k.Return) && amount(k.Held) && k.Waiting <= k.Want
}

func amount(n int64) bool { return n >= 0 && n <= MaxTokens }

// ask carries out one ask of a member's.
func (l *Ledger) ask(m Member, k *Ask) Grant {
	switch {
	case !k.wellFormed():
		return Grant{Refused: Malformed}
	case k.Budget.Period.IsInFlight():
		return l.hold(m, k)
	}
	w, why := l.window(&k.Budget)
	if why != NotRefused {
		return Grant{Refused: why}
	}
	a, shared, known := w.find(k.Budget.Key)
	if !known {
		if !w.period.IsSliding() {
			a.pool = w.born(k.Limit.Max)
		}
		a.setLimit(k.Limit)
		shared = l.own >= l.maxOwn
	}
	members := int64(len(l.rosters.Last().Members))
	var g Grant
	if w.period.IsSliding() {
		g = w.slide(&a, l.inTime(w, k), l.grantedBefore(w, k.Budget.Key), members)
	} else {
		g = w.move(&a, k, shared, members)
	}
	if !known && k.Want == 0 && k.Return == 0 {
		return g // nobody has used it
	}
	switch {
	case shared && w.shared == nil:
		w.shared = map[uint64]account{k.Budget.Key.Lo % buckets: a}
	case shared:
		w.shared[k.Budget.Key.Lo%buckets] = a
	default:
		w.own[k.Budget.Key] = a
		if !known {
			l.own++
		}
	}
	return g
}

// move takes the ask's tokens into the pool and out of it. What is asked for in
// advance gets smaller as the pool empties, so that there is some for all of
// the members.
//
// The keys of a shared account may have different limits. So each ask is
// decided under its own: no key gets more than its own pool would have had,
// as all grants to all keys count against it.
func (w *open) move(a *account, k *Ask, shared bool, members int64) Grant {
	if shared || k.Limit.Version > a.version {
		a.pool += w.born(k.Limit.Max) - w.born(a.max())
		a.setLimit(k.Limit)
	}
	if !shared || w.pooled() {
		a.pool += min(k.Return, max(0, a.max()+w.bonuses[k.Budget.Key].added-a.pool))
	}
	g := Grant{Granted: k.part(a.pool, members)}
	a.pool -= g.Granted
	g.Pool = a.pool
	return g
}

// part is what an ask is granted of a pool.
func (k *Ask) part(pool, members int64) int64 {
	return min(k.Want, max(0, pool), max(k.Waiting, 1, pool/(members+1)))
}

// slide carries out an ask for a slice of a sliding window. The account's pool is
// less what was granted of the slice: what there is to grant is what others have
// left, in this slice and the Slices before.
func (w *open) slide(a *account, k *Ask, before, members int64) Grant {
	if k.Limit.Version > a.version {
		a.setLimit(k.Limit)
	}
	left := w.born(a.max()) - before
	a.pool += min(k.Return, -a.pool)
	g := Grant{Granted: k.part(left+a.pool, members)}
	a.pool -= g.Granted
	g.Pool = left + a.pool
	return g
}

// inTime is the ask, for nothing if it comes after one for a later slice that was
// granted something: that was what this slice had left.
func (l *Ledger) inTime(w *open, k *Ask) *Ask {
	i, _ := l.search(w.period, w.window.Start+1)
	for ; i < len(l.windows) && l.windows[i].period == w.period; i++ {
		if l.windows[i].granted(k.Budget.Key) > 0 {
			late := *k
			late.Want, late.Waiting = 0, 0
			return &late
		}
	}
	return k
}

// granted is what was granted of a slice to a key, and to others that have shared an
// account with it.
func (w *open) granted(k Key) int64 { return -w.own[k].pool - w.shared[k.Lo%buckets].pool }

// grantedBefore is what was granted to a key in the Slices before a slice, and to
// others that have shared an account with it.
func (l *Ledger) grantedBefore(w *open, k Key) int64 {
	granted := int64(0)
	i, _ := l.search(w.period, w.window.Start-w.period.Slices())
	for ; i < len(l.windows) && l.windows[i].compare(w.period, w.window.Start) < 0; i++ {
		granted += l.windows[i].granted(k)
	}
	return granted
}

// pooled says that nothing of the window was divided beforehand. Otherwise what
// is returned to a shared account is lost: it may have been one key's share,
// and would be granted to another one on top of its own.
func (w *open) pooled() bool { return w.division.Births(w.period, MaxTokens) == 0 }

// row is one account with its key; a shared one's is {0, bucket}.
type row struct {
	key Key
	account
}

func (r row) compare(o row) int { return r.key.compare(o.key) }

func (k Key) compare(o Key) int { return cmp.Or(cmp.Compare(k.Hi, o.Hi), cmp.Compare(k.Lo, o.Lo)) }

// rows copies the accounts, in no order.
func (w *open) rows() (own, shared []row) {
	own, shared = make([]row, 0, len(w.own)), make([]row, 0, len(w.shared))
	for k, a := range w.own {
		own = append(own, row{k, a})
	}
	for bucket, a := range w.shared {
		shared = append(shared, row{Key{Lo: bucket}, a})
	}
	return own, shared
}

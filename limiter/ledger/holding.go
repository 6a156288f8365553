package ledger

import (
	"cmp"
	"slices"
	"strings"
)

// Requests in flight have no window: a member holds tokens until it says that it
// does not, or is not a member any more. What it holds it says each time it asks.

// maxHoldings bounds the keys of which something is held.
const maxHoldings = 1 << 17

// holding is who holds tokens of a key.
type holding struct {
	version uint64
	max     int64
	holders []holder // by member
}

// holder is what a member holds. Of a member that is none any more, it counts
// until a time: so long it may not know, and use it.
type holder struct {
	member Member
	n      int64
	until  int64 // 0 for a member
}

// over says that it does not count any more.
func (h *holder) over(stamp int64) bool { return h.until != 0 && h.until <= stamp }

func (h *holder) compare(m Member) int {
	return cmp.Or(strings.Compare(h.member.Node, m.Node), cmp.Compare(h.member.Incarnation, m.Incarnation))
}

// hold carries out an ask for an InFlight budget.
func (l *Ledger) hold(m Member, k *Ask) Grant {
	if _, ok := k.Budget.Window(); !ok {
		return Grant{Refused: Malformed}
	}
	h := l.holdings[k.Budget.Key]
	if h == nil {
		switch {
		case k.Want == 0 && k.Held == 0:
			return Grant{Pool: k.Limit.Max}
		case len(l.holdings) >= l.maxHoldings:
			return Grant{Refused: Full}
		}
		h = &holding{}
		l.holdings[k.Budget.Key] = h
	}
	if h.forget(l.stamp); len(h.holders) == 0 {
		h.version = 0
	}
	if k.Limit.Version > h.version {
		h.version, h.max = k.Limit.Version, k.Limit.Max
	}
	i, ok := slices.BinarySearchFunc(h.holders, m, func(h holder, m Member) int { return h.compare(m) })
	if !ok {
		h.holders = slices.Insert(h.holders, i, holder{member: Member{strings.Clone(m.Node), m.Incarnation}})
	}
	mine := &h.holders[i]
	mine.n = k.Held
	free := h.max
	for i := range h.holders {
		free -= h.holders[i].n
	}
	g := Grant{Granted: k.part(free, int64(len(l.rosters.Last().Members)))}
	mine.n += g.Granted
	g.Pool = free - g.Granted
	if mine.n == 0 {
		h.holders = slices.Delete(h.holders, i, i+1)
	}
	if len(h.holders) == 0 {
		delete(l.holdings, k.Budget.Key)
	}
	return g
}

// forget drops what members held that have long been none.
func (h *holding) forget(stamp int64) {
	h.holders = slices.DeleteFunc(h.holders, func(h holder) bool { return h.over(stamp) })
}

// lose has what a node's present incarnation holds count for Delay only.
func (l *Ledger) lose(n *node) {
	if !n.joined {
		return
	}
	for _, h := range l.holdings {
		for i := range h.holders {
			if m := h.holders[i].member; m.Node == n.name && m.Incarnation == n.incarnation {
				h.holders[i].until = l.stamp + Delay
				l.dueAt = l.stamp + Delay
			}
		}
	}
}

// forgetLost drops what lost members held, once the last one's is due.
func (l *Ledger) forgetLost() {
	if l.dueAt == 0 || l.stamp < l.dueAt {
		return
	}
	l.dueAt = 0
	for k, h := range l.holdings {
		if h.forget(l.stamp); len(h.holders) == 0 {
			delete(l.holdings, k)
		}
	}
}

// Held returns what is held of a key, by whom.
func (l *Ledger) Held(k Key) map[Member]int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	held := map[Member]int64{}
	if h := l.holdings[k]; h != nil {
		for _, o := range h.holders {
			if !o.over(l.stamp) {
				held[o.member] = o.n
			}
		}
	}
	return held
}

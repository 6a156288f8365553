package ledger

import (
	"cmp"
	"slices"
)

const (
	// maxToppedUp is how many budgets of all open windows may have been topped
	// up, and maxDone how many of a budget's top-ups are remembered, so that
	// repeating one of them adds nothing.
	maxToppedUp = 1024
	maxDone     = 64
)

// OperationID names what an operator has asked for, so that it is done once
// however often it is repeated.
type OperationID [16]byte

// TopUp adds tokens to the pool of one window's budget, on an operator's word.
// The window admits so many more than its limit. It must be counted in the
// cluster, and be a window of the calendar or a fixed one.
type TopUp struct {
	ID     OperationID
	Budget Budget
	// Limit is the budget's, for a ledger that does not know of it.
	Limit  Limit
	Tokens int64 // 1 to MaxTokens
	// Expect is what top-ups must have added to the budget so far, for who works
	// out Tokens from that; below 0: anything.
	Expect int64
}

// ToppedUp answers a TopUp.
type ToppedUp struct {
	Budget Budget
	// Added is what all top-ups have added to the budget so far: whoever learns
	// of it twice, or of a later one first, knows what is true.
	Added int64
	Pool  int64 // what is left in it
	// Repeated says that an earlier entry has added the tokens already.
	Repeated bool
	// Refused says why nothing was added.
	Refused Refusal
}

// bonus is what top-ups have added to one budget.
type bonus struct {
	added int64
	done  []OperationID // the oldest first
}

// wellFormed is false for what could not be meant.
func (t *TopUp) wellFormed() bool {
	k := Ask{Budget: t.Budget, Limit: t.Limit}
	p := t.Budget.Period
	return k.wellFormed() && !p.IsSliding() && !p.IsInFlight() && t.Tokens > 0 && amount(t.Tokens)
}

// topUp carries out one top-up. The tokens are nobody's share: they are in the
// pool, also of windows that were divided beforehand and have none otherwise.
func (l *Ledger) topUp(t *TopUp) ToppedUp {
	answer := ToppedUp{Budget: t.Budget}
	if !t.wellFormed() {
		answer.Refused = Malformed
		return answer
	}
	w, why := l.window(&t.Budget)
	if why == NotRefused && l.stamp >= w.window.Until {
		why = Expired
	}
	if why != NotRefused {
		answer.Refused = why
		return answer
	}
	a, shared, known := w.find(t.Budget.Key)
	if !known {
		a = account{pool: w.born(t.Limit.Max)}
		a.setLimit(t.Limit)
		shared = l.own >= l.maxOwn
	}
	b := w.bonuses[t.Budget.Key]
	answer.Repeated = slices.Contains(b.done, t.ID)
	switch {
	case answer.Repeated:
	case t.Expect >= 0 && t.Expect != b.added:
		answer.Refused = Changed
	case shared, b.added == 0 && l.toppedUp >= maxToppedUp:
		answer.Refused = Crowded
	case max(a.max(), t.Limit.Max)+b.added+t.Tokens > MaxTokens:
		answer.Refused = TooLarge
	default:
		a.pool += t.Tokens
		l.addBonus(w, t, b)
		w.own[t.Budget.Key] = a
		if !known {
			l.own++
		}
	}
	answer.Added, answer.Pool = w.bonuses[t.Budget.Key].added, a.pool
	return answer
}

// addBonus notes a top-up of a budget that had b so far.
func (l *Ledger) addBonus(w *open, t *TopUp, b bonus) {
	if b.added == 0 {
		l.toppedUp++
	}
	done := slices.Clone(b.done[max(0, len(b.done)+1-maxDone):])
	if w.bonuses == nil {
		w.bonuses = map[Key]bonus{}
	}
	w.bonuses[t.Budget.Key] = bonus{b.added + t.Tokens, append(done, t.ID)}
}

// bonusRow is a budget that was topped up.
type bonusRow struct {
	budget Budget
	bonus
}

// compare orders by window and key, as windows are.
func (r bonusRow) compare(o bonusRow) int {
	return cmp.Or(cmp.Compare(r.budget.Period, o.budget.Period), cmp.Compare(r.budget.Start, o.budget.Start),
		r.budget.Key.compare(o.budget.Key))
}

// bonusRows lists the budgets that were topped up, by window and key.
func (l *Ledger) bonusRows() []bonusRow {
	rows := make([]bonusRow, 0, l.toppedUp)
	for _, w := range l.windows {
		first := len(rows)
		for k, b := range w.bonuses {
			rows = append(rows, bonusRow{Budget{k, w.period, w.window.Start}, b})
		}
		slices.SortFunc(rows[first:], func(a, b bonusRow) int { return a.budget.Key.compare(b.budget.Key) })
	}
	return rows
}

// allToppedUp is what top-ups have added to open windows.
func (l *Ledger) allToppedUp() []ToppedUp {
	var all []ToppedUp
	for _, r := range l.bonusRows() {
		i, _ := l.search(r.budget.Period, r.budget.Start)
		all = append(all, ToppedUp{Budget: r.budget, Added: r.added, Pool: l.windows[i].own[r.budget.Key].pool})
	}
	return all
}

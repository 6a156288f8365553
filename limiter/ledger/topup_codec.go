package ledger

import (
	"encoding/binary"
	"fmt"

	"github.com/sluicegate/sluice/limiter/wire"
)

func appendTopUps(out []byte, ts []TopUp) []byte {
	out = binary.AppendUvarint(out, uint64(len(ts)))
	for i := range ts {
		t := &ts[i]
		out = t.Limit.append(t.Budget.append(append(out, t.ID[:]...)))
		out = binary.AppendVarint(binary.AppendVarint(out, t.Tokens), t.Expect)
	}
	return out
}

// topUps reads one at least: without any, the version would be another.
func (d *decoder) topUps() []TopUp {
	ts := wire.List[TopUp](d.Decoder, MaxTopUps, minTopUp)
	if len(ts) == 0 {
		d.Fail("no top-up")
	}
	for i := range ts {
		ts[i] = TopUp{ID: d.operation(), Budget: d.budget(), Limit: d.limit(), Tokens: d.Int(), Expect: d.Int()}
	}
	return ts
}

func (d *decoder) operation() (id OperationID) {
	binary.BigEndian.PutUint64(id[:8], d.Fixed())
	binary.BigEndian.PutUint64(id[8:], d.Fixed())
	return id
}

// AppendBinary appends the answer's encoding, for its way back from the leader.
// The error is always nil.
func (t *ToppedUp) AppendBinary(out []byte) ([]byte, error) {
	out = t.Budget.append(append(out, toppedUpVersion))
	out = binary.AppendVarint(binary.AppendVarint(out, t.Added), t.Pool)
	return append(wire.AppendBool(out, t.Repeated), byte(t.Refused)), nil
}

// MarshalBinary is AppendBinary to nothing.
func (t *ToppedUp) MarshalBinary() ([]byte, error) { return t.AppendBinary(nil) }

// UnmarshalBinary decodes an answer. On an error (ErrCorrupt) t is unchanged.
func (t *ToppedUp) UnmarshalBinary(data []byte) error {
	d := newDecoder(data)
	d.Version(toppedUpVersion)
	n := ToppedUp{Budget: d.budget(), Added: d.Int(), Pool: d.Int(), Repeated: d.Bool(), Refused: Refusal(d.Byte())}
	if n.Refused > Changed {
		d.Fail("bad refusal")
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("answer to a top-up: %w", err)
	}
	*t = n
	return nil
}

// appendBonuses encodes the budgets that were topped up.
func appendBonuses(b []byte, rows []bonusRow) []byte {
	b = binary.AppendUvarint(b, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		b = binary.AppendVarint(r.budget.append(b), r.added)
		b = binary.AppendUvarint(b, uint64(len(r.done)))
		for _, id := range r.done {
			b = append(b, id[:]...)
		}
	}
	return b
}

const minBonus = 16 + 1 + 1 + 1 + 1 + 16

// bonuses reads the budgets that were topped up, one at least, into the windows
// of l.
func (d *decoder) bonuses(l *Ledger) {
	n := d.Count(maxToppedUp, minBonus)
	if n == 0 {
		d.Fail("no top-up")
	}
	last := bonusRow{}
	for i := range n {
		r := bonusRow{budget: d.budget()}
		r.added = d.within(1, MaxTokens)
		r.done = wire.List[OperationID](d.Decoder, maxDone, len(OperationID{}))
		for j := range r.done {
			r.done[j] = d.operation()
		}
		at, ok := l.search(r.budget.Period, r.budget.Start)
		if !ok || len(r.done) == 0 || i > 0 && last.compare(r) >= 0 {
			d.Fail("bad top-up")
		}
		if !d.Sound() {
			return
		}
		w := l.windows[at]
		if _, ok := w.own[r.budget.Key]; !ok {
			d.Fail("a top-up of no budget")
			return
		}
		if w.bonuses == nil {
			w.bonuses = map[Key]bonus{}
		}
		w.bonuses[r.budget.Key] = r.bonus
		last, l.toppedUp = r, l.toppedUp+1
	}
}

package escrow

import (
	"encoding/binary"
	"fmt"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
	"github.com/sluicegate/sluice/limiter/wire"
)

const (
	queryVersion    = 1
	holdingsVersion = 1

	maxKeys         = 4096 // of a query
	maxIncarnations = 16
	minHolding      = minBudget + 4 + 4 + 1
)

// The bits of a holding's last byte.
const (
	mintedBit = 1 << iota
	closedBit
	degradedBit
	holdingBits = iota
)

// MarshalBinary encodes the query for another node.
func (q *Query) MarshalBinary() ([]byte, error) {
	if len(q.Budgets) > MaxHoldings || len(q.Keys) > maxKeys || q.Size < 0 || q.Size > MaxHoldings {
		return nil, fmt.Errorf("%w: %d budgets, %d keys, size %d", ledger.ErrTooLarge, len(q.Budgets), len(q.Keys), q.Size)
	}
	b := binary.AppendVarint([]byte{queryVersion}, q.Seen)
	b = appendBudget(binary.AppendUvarint(b, uint64(q.Size)), q.After)
	b = binary.AppendUvarint(b, uint64(len(q.Budgets)))
	for _, g := range q.Budgets {
		b = appendBudget(b, g)
	}
	b = binary.AppendUvarint(b, uint64(len(q.Keys)))
	for _, k := range q.Keys {
		b = wire.AppendFixed(wire.AppendFixed(b, k.Hi), k.Lo)
	}
	b = binary.AppendUvarint(wire.AppendBool(b, q.Tagged), uint64(q.Tag))
	return binary.AppendUvarint(wire.AppendBool(b, q.Windowed), uint64(q.Period)), nil
}

// UnmarshalBinary decodes a query. On an error (wire.ErrCorrupt) q is unchanged.
func (q *Query) UnmarshalBinary(data []byte) error {
	d := wire.NewDecoder(data)
	d.Version(queryVersion)
	n := Query{Seen: d.Int()}
	size := d.Uint()
	if n.Size = int(size); size > MaxHoldings {
		d.Fail("bad size")
	}
	n.After = anyBudget(d)
	n.Budgets = wire.List[ledger.Budget](d, MaxHoldings, minBudget)
	for i := range n.Budgets {
		n.Budgets[i] = anyBudget(d)
	}
	n.Keys = wire.List[ledger.Key](d, maxKeys, 16)
	for i := range n.Keys {
		n.Keys[i] = ledger.Key{Hi: d.Fixed(), Lo: d.Fixed()}
	}
	n.Tagged = d.Bool()
	tag := d.Uint()
	if n.Tag = uint32(tag); uint64(n.Tag) != tag {
		d.Fail("bad tag")
	}
	n.Windowed = d.Bool()
	period := d.Uint()
	if n.Period = window.Period(period); uint64(n.Period) != period || !n.Period.Valid() {
		d.Fail("no period")
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	*q = n
	return nil
}

// MarshalBinary encodes the answer for its way back.
func (h *Holdings) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, 64+64*len(h.List))
	b = binary.AppendUvarint(append(b, holdingsVersion), uint64(len(h.Incarnations)))
	for _, in := range h.Incarnations {
		b = wire.AppendFixed(b, in)
	}
	b = binary.AppendUvarint(b, uint64(len(h.List)))
	for i := range h.List {
		o := &h.List[i]
		b = appendLimit(appendBudget(b, o.Budget), o.Limit)
		for _, v := range []int64{o.Credited, o.Spent, o.Pending, o.Waiting} {
			b = binary.AppendVarint(b, v)
		}
		b = append(b, o.bits())
	}
	return b, nil
}

func (h *Holding) bits() (b byte) {
	if h.Minted {
		b |= mintedBit
	}
	if h.Closed {
		b |= closedBit
	}
	if h.Degraded {
		b |= degradedBit
	}
	return b
}

// UnmarshalBinary decodes an answer. On an error (wire.ErrCorrupt) h is unchanged.
func (h *Holdings) UnmarshalBinary(data []byte) error {
	d := wire.NewDecoder(data)
	d.Version(holdingsVersion)
	n := Holdings{Incarnations: wire.List[uint64](d, maxIncarnations, 8)}
	for i := range n.Incarnations {
		n.Incarnations[i] = d.Fixed()
	}
	n.List = wire.List[Holding](d, MaxHoldings, minHolding)
	for i := range n.List {
		o := Holding{Budget: anyBudget(d), Limit: limit(d), Credited: d.Int(), Spent: d.Int(), Pending: d.Int(), Waiting: d.Int()}
		bits := d.Byte()
		if bits >= 1<<holdingBits {
			d.Fail("bad flags")
		}
		o.Minted, o.Closed, o.Degraded = bits&mintedBit != 0, bits&closedBit != 0, bits&degradedBit != 0
		n.List[i] = o
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("holdings: %w", err)
	}
	*h = n
	return nil
}

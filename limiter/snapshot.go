package limiter

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

const snapshotVersion = 1

// MarshalBinary encodes the ledger. Ledgers that have applied the same log give
// the same bytes, also if one of them was restored on the way.
func (l *Ledger) MarshalBinary() ([]byte, error) {
	l.mu.Lock() // settle writes
	defer l.mu.Unlock()
	b := []byte{snapshotVersion}
	b = binary.AppendVarint(b, l.stamp)
	b = binary.AppendUvarint(b, l.epoch)

	members := make([]*member, 0, len(l.members))
	for _, m := range l.members {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b *member) int { return strings.Compare(a.name, b.name) })
	b = binary.AppendUvarint(b, uint64(len(members)))
	for _, m := range members {
		b = m.append(b)
	}

	cells := slices.Clone(l.expiry)
	slices.SortFunc(cells, (*budget).compare)
	b = binary.AppendUvarint(b, uint64(len(cells)))
	for _, c := range cells {
		c.settle()
		b = c.append(b)
	}
	return b, nil
}

// UnmarshalBinary replaces the ledger's state by an encoded one. On an error
// (ErrCorrupt) nothing is changed.
func (l *Ledger) UnmarshalBinary(data []byte) error {
	d := decoder{data: data}
	d.version(snapshotVersion)
	n := NewLedger()
	n.stamp, n.epoch = d.int(), d.uint()
	for range d.count(len(data)) {
		m := d.member()
		if n.members[m.name] != nil {
			d.fail("two records of one node")
		}
		n.members[m.name] = m
	}
	for range d.count(len(data)) {
		c := d.budget(n.members)
		if d.err == nil && n.cells[c.key] != nil {
			d.fail("two records of one window")
		}
		if d.err != nil {
			break
		}
		n.cells[c.key] = c
		n.expiry = append(n.expiry, c)
		if c.key.shared {
			n.shared++
		}
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	heap.Init(&n.expiry)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.stamp, l.epoch = n.stamp, n.epoch
	l.members, l.cells, l.expiry, l.shared = n.members, n.cells, n.expiry, n.shared
	return nil
}

func (m *member) append(b []byte) []byte {
	b = appendString(b, m.name)
	b = appendString(b, m.incarnation)
	b = binary.AppendUvarint(b, m.epoch)
	b = binary.AppendUvarint(b, m.seq)
	b = binary.AppendVarint(b, m.seen)
	b = m.last.append(b)
	b = binary.AppendUvarint(b, uint64(len(m.retired)))
	for _, r := range m.retired {
		b = appendString(b, r)
	}
	return b
}

func (d *decoder) member() *member {
	m := &member{
		name: d.string(), incarnation: d.string(), epoch: d.uint(), seq: d.uint(), seen: d.int(),
		last: d.batchResult(),
	}
	for range d.count(maxRetired) {
		m.retired = append(m.retired, d.string())
	}
	return m
}

func (b *budget) append(out []byte) []byte {
	out = appendString(out, b.key.limit)
	out = appendString(out, b.key.key)
	out = append(out, byte(b.key.period))
	out = binary.AppendVarint(out, b.key.start)
	out = appendBool(out, b.key.shared)
	out = binary.AppendUvarint(out, b.version)
	out = binary.AppendVarint(out, b.max)
	out = binary.AppendVarint(out, b.pool)
	out = binary.AppendVarint(out, b.spent)
	out = binary.AppendVarint(out, b.lost)
	out = binary.AppendUvarint(out, uint64(len(b.holders)))
	for i := range b.holders {
		h := &b.holders[i]
		out = appendString(out, h.m.name)
		out = binary.AppendVarint(out, h.granted)
		out = binary.AppendVarint(out, h.returned)
		out = binary.AppendVarint(out, h.spent)
		out = binary.AppendVarint(out, h.want)
	}
	return out
}

// budget reads one window. Its holders are of their nodes' present
// incarnations: what earlier ones held was written off before encoding.
func (d *decoder) budget(members map[string]*member) *budget {
	b := &budget{key: cellKey{
		limit: d.string(), key: d.string(), period: Period(d.byte()), start: d.int(), shared: d.bool(),
	}}
	b.version, b.max, b.pool, b.spent, b.lost = d.uint(), d.int(), d.int(), d.int(), d.int()
	if b.key.period >= Periods || b.key.start < 0 || b.key.start > maxUnix {
		d.fail("bad window")
		return b
	}
	_, b.end = b.key.period.windowAt(b.key.start)
	sum := b.pool + b.spent + b.lost
	for range d.count(defaultMaxMembers) {
		m := members[d.string()]
		if m == nil {
			d.fail("holder is no member")
			break
		}
		h := holder{m: m, epoch: m.epoch, granted: d.int(), returned: d.int(), spent: d.int(), want: d.int()}
		if n := len(b.holders); n > 0 && b.holders[n-1].m.name >= m.name {
			d.fail("holders out of order")
		}
		b.holders = append(b.holders, h)
		sum += h.granted - h.returned
	}
	if sum != b.max {
		d.fail("tokens do not add up")
	}
	return b
}

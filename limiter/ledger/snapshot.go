package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/limiter/wire"
)

const (
	snapshotVersion = 2
	// toppedVersion is of snapshots with budgets that were topped up.
	toppedVersion = 3
	// Apply keeps fewer of each.
	maxRosters = 256
	maxGaps    = 256
	maxWindows = 4096
	// mostPool bounds what a pool may have, or owe: a limit and what was added.
	mostPool = 2 * MaxTokens

	minRoster = 1 + 1
	minGap    = 1 + 1 + 1
	minNode   = 1 + 1 + 1 + 1
	minWindow = 1 + 1 + 1 + 1
	minRow    = 16 + 1 + 1 + 1 + 1
	minHolder = minMember + 1 + 1

	minHolding = 16 + 1 + 1 + 1
)

// MarshalBinary encodes the ledger. Ledgers that have applied the same log give
// the same bytes, also if one of them was restored on the way. Apply waits only
// until the budgets are copied.
func (l *Ledger) MarshalBinary() ([]byte, error) {
	type tables struct {
		*open
		own, shared []row
	}
	l.mu.RLock()
	version, bonuses := byte(snapshotVersion), l.bonusRows()
	if len(bonuses) > 0 {
		version = toppedVersion
	}
	b := l.appendNodes(l.rosters.append(binary.AppendVarint([]byte{version}, l.stamp)))
	all, size := make([]tables, len(l.windows)), 0
	for i, w := range l.windows {
		own, shared := w.rows()
		all[i], size = tables{w, own, shared}, size+len(own)+len(shared)
	}
	holdings := l.appendHoldings(nil)
	l.mu.RUnlock()

	b = append(b, holdings...)
	b = slices.Grow(b, size*(minRow+16))
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, t := range all { // of open, only what never changes is used here
		b = binary.AppendVarint(binary.AppendUvarint(b, uint64(t.period)), t.window.Start)
		b = appendRows(appendRows(b, t.own), t.shared)
	}
	if version == toppedVersion {
		b = appendBonuses(b, bonuses)
	}
	return b, nil
}

func appendRows(b []byte, rows []row) []byte {
	slices.SortFunc(rows, row.compare)
	b = binary.AppendUvarint(b, uint64(len(rows)))
	for i := range rows {
		limit := rows[i].limit()
		b = limit.append(rows[i].key.append(b))
		b = binary.AppendVarint(b, rows[i].pool)
	}
	return b
}

func appendMembers(b []byte, ms []Member) []byte {
	b = binary.AppendUvarint(b, uint64(len(ms)))
	for i := range ms {
		b = ms[i].append(b)
	}
	return b
}

// AppendBinary appends an encoding of what is known of rosters.
func (r *Rosters) AppendBinary(b []byte) ([]byte, error) { return r.append(b), nil }

// DecodeRosters reads what AppendBinary has written, as known at a stamp. The
// error wraps ErrCorrupt.
func DecodeRosters(stamp int64, data []byte) (*Rosters, error) {
	d := newDecoder(data)
	r := d.rosters(stamp)
	if err := d.End(); err != nil {
		return nil, fmt.Errorf("rosters: %w", err)
	}
	return r, nil
}

func (r *Rosters) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.History)))
	for _, h := range r.History {
		b = appendMembers(binary.AppendVarint(b, h.Since), h.Members)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Gaps)))
	for _, g := range r.Gaps {
		b = appendMembers(binary.AppendVarint(binary.AppendVarint(b, g.After), g.Until), g.Members)
	}
	return binary.AppendVarint(binary.AppendVarint(b, r.RestAt), r.WokeAt)
}

// appendNodes encodes the nodes by name.
func (l *Ledger) appendNodes(b []byte) []byte {
	nodes := make([]*node, 0, len(l.nodes))
	for _, n := range l.nodes {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	b = binary.AppendUvarint(b, uint64(len(nodes)))
	for _, n := range nodes {
		b = n.append(b)
	}
	return b
}

func (n *node) append(b []byte) []byte {
	b = binary.AppendVarint(wire.AppendString(b, n.name), n.heard)
	b = wire.AppendBool(appendNumbers(b, n.void), n.joined)
	if !n.joined {
		return b
	}
	b = binary.AppendUvarint(binary.BigEndian.AppendUint64(b, n.incarnation), n.seq)
	if n.seq == 0 {
		return b
	}
	return appendGrants(binary.BigEndian.AppendUint64(b, n.session), n.grants)
}

// appendHoldings encodes the holdings by key.
func (l *Ledger) appendHoldings(b []byte) []byte {
	keys := make([]Key, 0, len(l.holdings))
	for k := range l.holdings {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, Key.compare)
	b = binary.AppendUvarint(binary.AppendVarint(b, l.dueAt), uint64(len(keys)))
	for _, k := range keys {
		h := l.holdings[k]
		b = binary.AppendVarint(binary.AppendUvarint(k.append(b), h.version), h.max)
		b = binary.AppendUvarint(b, uint64(len(h.holders)))
		for i := range h.holders {
			b = h.holders[i].member.append(b)
			b = binary.AppendVarint(binary.AppendVarint(b, h.holders[i].n), h.holders[i].until)
		}
	}
	return b
}

// holdings reads those of l, whose stamp is known.
func (d *decoder) holdings(l *Ledger) {
	l.dueAt = d.within(0, l.stamp+Delay)
	var last Key
	for i := range d.Count(maxHoldings, minHolding) {
		k := d.key()
		h := &holding{version: d.Uint(), max: d.within(0, MaxTokens)}
		h.holders = wire.List[holder](d.Decoder, 2*maxNodes, minHolder)
		for j := range h.holders {
			h.holders[j] = holder{d.member(), d.within(0, 2*MaxTokens), d.within(0, l.stamp+Delay)}
			if j > 0 && h.holders[j-1].compare(h.holders[j].member) >= 0 {
				d.Fail("holders out of order")
			}
		}
		if len(h.holders) == 0 || i > 0 && last.compare(k) >= 0 {
			d.Fail("bad holding")
		}
		if !d.Sound() {
			return
		}
		l.holdings[k], last = h, k
	}
}

func appendNumbers(b []byte, ns []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(ns)))
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// UnmarshalBinary replaces the ledger's state by an encoded one. On an error
// (ErrCorrupt) nothing is changed.
func (l *Ledger) UnmarshalBinary(data []byte) error {
	d := newDecoder(data)
	topped := d.either(snapshotVersion, toppedVersion)
	n := New()
	n.stamp = d.within(0, maxStamp)
	n.rosters = d.rosters(n.stamp)
	last := ""
	for range d.Count(maxNodes, minNode) {
		r := d.node(n.stamp)
		if r.name <= last {
			d.Fail("nodes out of order")
		}
		last = r.name
		n.nodes[r.name] = r
	}
	if !slices.Equal(n.members(), n.rosters.Last().Members) {
		d.Fail("the nodes are not those of the roster")
	}
	d.holdings(n)
	n.windows = wire.List[*open](d.Decoder, maxWindows, minWindow)
	for i := range n.windows {
		w := d.window(n)
		if i > 0 && d.Sound() && n.windows[i-1].compare(w.period, w.window.Start) >= 0 {
			d.Fail("windows out of order")
		}
		n.windows[i], n.own = w, n.own+len(w.own)
	}
	if n.own > maxBudgets {
		d.Fail("too many budgets")
	}
	if topped && d.Sound() {
		d.bonuses(n)
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stamp, l.rosters = n.stamp, n.rosters
	l.holdings, l.dueAt = n.holdings, n.dueAt
	l.nodes, l.windows, l.own, l.toppedUp = n.nodes, n.windows, n.own, n.toppedUp
	return nil
}

func (d *decoder) rosters(stamp int64) *Rosters {
	r := &Rosters{History: wire.List[Roster](d.Decoder, maxRosters, minRoster)}
	since, until := int64(0), int64(0)
	for i := range r.History {
		next := d.within(since+1, stamp)
		if i > 0 && ceil(next) == ceil(since) {
			d.Fail("two rosters of a second")
		}
		since = next
		r.History[i] = Roster{Since: since, Members: d.members()}
	}
	r.Gaps = wire.List[Gap](d.Decoder, maxGaps, minGap)
	for i := range r.Gaps {
		after := d.within(until+Delay, stamp)
		until = d.within(after+1, stamp)
		r.Gaps[i] = Gap{After: after, Until: until, Members: d.members()}
	}
	r.RestAt, r.WokeAt = d.within(0, stamp), d.within(0, stamp)
	if !d.Sound() {
		return r
	}
	h, g := forget(r.History, slices.Clone(r.Gaps), max(since, until))
	if len(h) != len(r.History) || len(g) != len(r.Gaps) {
		d.Fail("rosters that nobody may ask for")
	}
	return r
}

func (d *decoder) members() []Member {
	ms := wire.List[Member](d.Decoder, maxNodes, minMember)
	last := ""
	for i := range ms {
		ms[i] = d.member()
		if ms[i].Node <= last {
			d.Fail("members out of order")
		}
		last = ms[i].Node
	}
	return ms
}

func (d *decoder) node(stamp int64) *node {
	n := &node{name: d.String(maxNode), heard: d.within(1, stamp), void: d.numbers(maxVoid), joined: d.Bool()}
	if !n.joined {
		return n
	}
	n.incarnation, n.seq = d.Fixed(), d.Uint()
	if n.seq > 0 {
		n.session, n.grants = d.Fixed(), d.grants()
	}
	return n
}

func (d *decoder) numbers(most int) []uint64 {
	ns := wire.List[uint64](d.Decoder, most, 8)
	for i := range ns {
		ns[i] = d.Fixed()
	}
	return ns
}

// window reads a window of l, whose stamp and rosters are known.
func (d *decoder) window(l *Ledger) *open {
	p, start := d.period(), d.Int()
	at, ok := p.Named(start)
	w := newOpen(p, at, l.rosters.Of(at.From))
	if !ok || p.IsLocal() || !Fresh(l.stamp, at.From) || w.over(l.stamp) {
		d.Fail("bad window")
	}
	rows := d.Count(maxBudgets, minRow)
	if rows > 0 {
		w.own = make(map[Key]account, rows)
	}
	d.rows(rows, func(k Key, a account) { w.own[k] = a })
	rows = d.Count(buckets, minRow)
	if rows > 0 {
		w.shared = make(map[uint64]account, rows)
	}
	d.rows(rows, func(k Key, a account) {
		if k.Hi != 0 || k.Lo >= buckets {
			d.Fail("bad bucket")
			return
		}
		w.shared[k.Lo] = a
	})
	return w
}

// rows reads n accounts by key.
func (d *decoder) rows(n int, add func(Key, account)) {
	var last row
	for i := range n {
		r := row{key: d.key()}
		limit := d.limit()
		r.setLimit(limit)
		r.pool = d.within(-mostPool, mostPool)
		if limit.Version == 0 || !amount(limit.Max) || i > 0 && last.compare(r) >= 0 {
			d.Fail("bad budget")
		}
		if !d.Sound() {
			return
		}
		add(r.key, r.account)
		last = r
	}
}

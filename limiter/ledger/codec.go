package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/limiter/wire"
)

// Bounds of what one encoding may carry.
const (
	MaxAsks    = 1024 // asks of one batch
	MaxBatches = 1024 // batches of one entry
	MaxChanges = 1024 // changes of one entry
	MaxTopUps  = 1024 // top-ups of one entry
	maxNode    = 128  // bytes of a node's name
)

var (
	// ErrCorrupt is wrapped by every decoding error.
	ErrCorrupt = wire.ErrCorrupt
	// ErrTooLarge is wrapped by the error of encoding what exceeds a bound.
	ErrTooLarge = errors.New("ledger: too large to encode")
)

// Encodings begin with a version byte, so that a later release can tell them
// apart. Random numbers take eight bytes, others are varints in their shortest
// form, and strings are preceded by their length: so a value has one encoding.
const (
	entryVersion    = 2
	batchVersion    = 2
	answerVersion   = 1
	toppedUpVersion = 1
	// toppingVersion is of entries with top-ups only, so that others can be read
	// by releases that know of none.
	toppingVersion = 3
)

// The fewest bytes of what is counted before it is read: no count makes the
// decoder allocate more than some ten times the input.
const (
	minMember = 1 + 8
	minChange = 1 + minMember
	minBatch  = minMember + 8 + 1 + 1
	minAsk    = 16 + 9
	minGrant  = 3
	minTopUp  = 16 + 16 + 7
)

// AppendBinary appends the entry's encoding for the log. Error: ErrTooLarge.
func (e *Entry) AppendBinary(b []byte) ([]byte, error) {
	if len(e.Changes) > MaxChanges || len(e.Batches) > MaxBatches || len(e.TopUps) > MaxTopUps {
		return b, fmt.Errorf("%w: %d changes, %d batches, %d top-ups", ErrTooLarge, len(e.Changes), len(e.Batches), len(e.TopUps))
	}
	version := byte(entryVersion)
	if len(e.TopUps) > 0 {
		version = toppingVersion
	}
	out := wire.AppendBool(binary.AppendVarint(append(b, version), e.Stamp), e.Rest)
	out = binary.AppendUvarint(out, uint64(len(e.Changes)))
	for i := range e.Changes {
		if err := e.Changes[i].Member.check(); err != nil {
			return b, err
		}
		out = e.Changes[i].Member.append(append(out, byte(e.Changes[i].Kind)))
	}
	out = binary.AppendUvarint(out, uint64(len(e.Batches)))
	for i := range e.Batches {
		if err := e.Batches[i].check(); err != nil {
			return b, err
		}
		out = e.Batches[i].append(out)
	}
	if version == toppingVersion {
		out = appendTopUps(out, e.TopUps)
	}
	return out, nil
}

// MarshalBinary is AppendBinary to nothing.
func (e *Entry) MarshalBinary() ([]byte, error) { return e.AppendBinary(nil) }

// UnmarshalBinary decodes an entry. On an error (ErrCorrupt) e is unchanged.
func (e *Entry) UnmarshalBinary(data []byte) error {
	d := newDecoder(data)
	topped := d.either(entryVersion, toppingVersion)
	n := Entry{Stamp: d.Int(), Rest: d.Bool()}
	n.Changes = wire.List[Change](d.Decoder, MaxChanges, minChange)
	for i := range n.Changes {
		n.Changes[i] = Change{Kind: ChangeKind(d.Byte()), Member: d.member()}
		if k := n.Changes[i].Kind; k < Join || k > Leave {
			d.Fail("bad change")
		}
	}
	n.Batches = wire.List[Batch](d.Decoder, MaxBatches, minBatch)
	for i := range n.Batches {
		n.Batches[i] = d.batch()
	}
	if topped {
		n.TopUps = d.topUps()
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	*e = n
	return nil
}

// AppendBinary appends the batch's encoding, for its way to the leader. Error:
// ErrTooLarge.
func (b *Batch) AppendBinary(out []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return out, err
	}
	return b.append(append(out, batchVersion)), nil
}

// MarshalBinary is AppendBinary to nothing.
func (b *Batch) MarshalBinary() ([]byte, error) { return b.AppendBinary(nil) }

// UnmarshalBinary decodes a batch. On an error (ErrCorrupt) b is unchanged.
func (b *Batch) UnmarshalBinary(data []byte) error {
	d := newDecoder(data)
	d.Version(batchVersion)
	n := d.batch()
	if err := d.End(); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	*b = n
	return nil
}

// AppendBinary appends the answer's encoding, for its way back from the leader.
// Error: ErrTooLarge.
func (a *Answer) AppendBinary(out []byte) ([]byte, error) {
	if len(a.Grants) > MaxAsks {
		return out, fmt.Errorf("%w: %d grants", ErrTooLarge, len(a.Grants))
	}
	if err := a.Member.check(); err != nil {
		return out, err
	}
	out = a.Member.append(append(out, answerVersion))
	out = binary.BigEndian.AppendUint64(out, a.Session)
	out = binary.AppendUvarint(out, a.Seq)
	return appendGrants(wire.AppendBool(out, a.Stale), a.Grants), nil
}

// MarshalBinary is AppendBinary to nothing.
func (a *Answer) MarshalBinary() ([]byte, error) { return a.AppendBinary(nil) }

// UnmarshalBinary decodes an answer. On an error (ErrCorrupt) a is unchanged.
func (a *Answer) UnmarshalBinary(data []byte) error {
	d := newDecoder(data)
	d.Version(answerVersion)
	n := Answer{Member: d.member(), Session: d.Fixed(), Seq: d.Uint(), Stale: d.Bool(), Grants: d.grants()}
	if err := d.End(); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	*a = n
	return nil
}

func (m *Member) check() error {
	if len(m.Node) > maxNode {
		return fmt.Errorf("%w: a node's name of %d bytes", ErrTooLarge, len(m.Node))
	}
	return nil
}

func (b *Batch) check() error {
	if len(b.Asks) > MaxAsks {
		return fmt.Errorf("%w: %d asks", ErrTooLarge, len(b.Asks))
	}
	return b.Member.check()
}

func (m *Member) append(out []byte) []byte {
	return binary.BigEndian.AppendUint64(wire.AppendString(out, m.Node), m.Incarnation)
}

func (d *decoder) member() Member { return Member{Node: d.String(maxNode), Incarnation: d.Fixed()} }

func (b *Batch) append(out []byte) []byte {
	out = binary.BigEndian.AppendUint64(b.Member.append(out), b.Session)
	out = binary.AppendUvarint(out, b.Seq)
	out = binary.AppendUvarint(out, uint64(len(b.Asks)))
	for i := range b.Asks {
		k := &b.Asks[i]
		out = k.Limit.append(k.Budget.append(out))
		out = binary.AppendVarint(out, k.Want)
		out = binary.AppendVarint(out, k.Waiting)
		out = binary.AppendVarint(out, k.Return)
		out = binary.AppendVarint(out, k.Held)
	}
	return out
}

func (d *decoder) batch() Batch {
	b := Batch{Member: d.member(), Session: d.Fixed(), Seq: d.Uint()}
	b.Asks = wire.List[Ask](d.Decoder, MaxAsks, minAsk)
	for i := range b.Asks {
		k := &b.Asks[i]
		k.Budget, k.Limit = d.budget(), d.limit()
		k.Want, k.Waiting, k.Return, k.Held = d.Int(), d.Int(), d.Int(), d.Int()
	}
	return b
}

func appendGrants(out []byte, gs []Grant) []byte {
	out = binary.AppendUvarint(out, uint64(len(gs)))
	for i := range gs {
		out = binary.AppendVarint(out, gs[i].Granted)
		out = binary.AppendVarint(out, gs[i].Pool)
		out = append(out, byte(gs[i].Refused))
	}
	return out
}

func (d *decoder) grants() []Grant {
	gs := wire.List[Grant](d.Decoder, MaxAsks, minGrant)
	for i := range gs {
		gs[i] = Grant{Granted: d.Int(), Pool: d.Int(), Refused: Refusal(d.Byte())}
		if gs[i].Refused > Full {
			d.Fail("bad refusal")
		}
	}
	return gs
}

func (k Key) append(out []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(out, k.Hi), k.Lo)
}

func (d *decoder) key() Key { return Key{Hi: d.Fixed(), Lo: d.Fixed()} }

func (b *Budget) append(out []byte) []byte {
	return binary.AppendVarint(binary.AppendUvarint(b.Key.append(out), uint64(b.Period)), b.Start)
}

func (d *decoder) budget() Budget { return Budget{Key: d.key(), Period: d.period(), Start: d.Int()} }

func (l *Limit) append(out []byte) []byte {
	return wire.AppendBool(binary.AppendVarint(binary.AppendUvarint(out, l.Version), l.Max), l.Tolerant)
}

func (d *decoder) limit() Limit { return Limit{Version: d.Uint(), Max: d.Int(), Tolerant: d.Bool()} }

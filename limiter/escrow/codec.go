package escrow

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
	"github.com/sluicegate/sluice/limiter/wire"
)

// Encodings begin with a version byte, so that a later release can tell them
// apart.
const (
	requestVersion = 1
	replyVersion   = 1

	maxNode   = 128 // bytes of a node's id
	minBudget = 16 + 2
	minTake   = minBudget + 5 + 4
	minNews   = minBudget + 5 + 1
	minGive   = 5
)

// MarshalBinary encodes the request for the other node.
func (r *Request) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, 128+64*(len(r.Takes)+len(r.News)))
	b = append(b, requestVersion)
	b = wire.AppendFixed(wire.AppendString(b, r.From.Node), r.From.Incarnation)
	b = wire.AppendString(b, r.To)
	b = binary.AppendUvarint(wire.AppendFixed(b, r.Session), r.Seq)
	b = binary.AppendUvarint(b, uint64(len(r.Takes)))
	for i := range r.Takes {
		t := &r.Takes[i]
		b = appendLimit(appendBudget(b, t.Budget), t.Limit)
		b = binary.AppendVarint(binary.AppendVarint(b, t.Want), t.Waiting)
		b = binary.AppendUvarint(b, uint64(min(t.Rate, math.MaxInt32)))
		b = binary.AppendVarint(b, t.Life)
	}
	b = binary.AppendUvarint(b, uint64(len(r.News)))
	for i := range r.News {
		n := &r.News[i]
		b = binary.AppendVarint(appendLimit(appendBudget(b, n.Budget), n.Limit), n.More)
	}
	return b, nil
}

// UnmarshalBinary decodes a request. On an error (wire.ErrCorrupt) r is
// unchanged.
func (r *Request) UnmarshalBinary(data []byte) error {
	d := wire.NewDecoder(data)
	d.Version(requestVersion)
	n := Request{From: ledger.Member{Node: d.String(maxNode), Incarnation: d.Fixed()}}
	n.To, n.Session, n.Seq = d.String(maxNode), d.Fixed(), d.Uint()
	n.Takes = wire.List[Take](d, maxItems, minTake)
	for i := range n.Takes {
		n.Takes[i] = Take{Budget: budget(d), Limit: limit(d), Want: d.Int(), Waiting: d.Int(), Rate: float64(d.Uint()), Life: d.Int()}
	}
	n.News = wire.List[News](d, maxItems, minNews)
	for i := range n.News {
		n.News[i] = News{Budget: budget(d), Limit: limit(d), More: d.Int()}
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	*r = n
	return nil
}

// MarshalBinary encodes the reply for its way back.
func (r *Reply) MarshalBinary() ([]byte, error) {
	b := append(make([]byte, 0, 32+16*len(r.Gives)), replyVersion)
	b = binary.AppendUvarint(wire.AppendFixed(b, r.Session), r.Seq)
	b = binary.AppendUvarint(b, uint64(len(r.Gives)))
	for i := range r.Gives {
		g := &r.Gives[i]
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, g.Granted), g.Left), g.Spent)
		b = binary.AppendVarint(wire.AppendBool(b, g.Pending), g.Next)
	}
	return b, nil
}

// UnmarshalBinary decodes a reply. On an error (wire.ErrCorrupt) r is unchanged.
func (r *Reply) UnmarshalBinary(data []byte) error {
	d := wire.NewDecoder(data)
	d.Version(replyVersion)
	n := Reply{Session: d.Fixed(), Seq: d.Uint()}
	n.Gives = wire.List[Give](d, maxItems, minGive)
	for i := range n.Gives {
		n.Gives[i] = Give{Granted: d.Int(), Left: d.Int(), Spent: d.Int(), Pending: d.Bool(), Next: d.Int()}
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	*r = n
	return nil
}

func appendBudget(b []byte, g ledger.Budget) []byte {
	b = binary.AppendUvarint(wire.AppendFixed(wire.AppendFixed(b, g.Key.Hi), g.Key.Lo), uint64(g.Period))
	return binary.AppendVarint(b, g.Start)
}

// budget reads one that nodes have in common.
func budget(d *wire.Decoder) ledger.Budget {
	g := anyBudget(d)
	if g.Period.IsLocal() {
		d.Fail("counted by each node")
	}
	return g
}

func anyBudget(d *wire.Decoder) ledger.Budget {
	g := ledger.Budget{Key: ledger.Key{Hi: d.Fixed(), Lo: d.Fixed()}}
	p := d.Uint()
	g.Period, g.Start = window.Period(p), d.Int()
	if _, ok := g.Window(); !ok || p>>window.Bits != 0 {
		d.Fail("no window")
	}
	return g
}

func appendLimit(b []byte, l ledger.Limit) []byte {
	b = wire.AppendBool(binary.AppendVarint(binary.AppendUvarint(b, l.Version), l.Max), l.Tolerant)
	return binary.AppendVarint(binary.AppendVarint(b, l.Since), l.Burst)
}

func limit(d *wire.Decoder) ledger.Limit {
	return ledger.Limit{Version: d.Uint(), Max: d.Int(), Tolerant: d.Bool(), Since: d.Int(), Burst: d.Int()}
}

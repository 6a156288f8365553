package escrow

import (
	"errors"
	"reflect"
	"testing"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
	"github.com/sluicegate/sluice/limiter/wire"
)

func sampleRequest() *Request {
	b := ledger.Budget{Key: ledger.Key{Hi: 1, Lo: 1 << 63}, Period: window.Minute, Start: 1781524800}
	l := ledger.Limit{Version: 7, Max: 5, Tolerant: true}
	return &Request{
		From: ledger.Member{Node: "n1", Incarnation: 9}, To: "n2", Session: 1 << 40, Seq: 3,
		Takes: []Take{{Budget: b, Limit: l, Want: 2, Waiting: 1, Rate: 100}, {Budget: b, Limit: l, Want: 1}},
		News:  []News{{Budget: b, Limit: l, More: 4}},
	}
}

func sampleReply() *Reply {
	return &Reply{Session: 5, Seq: 8, Gives: []Give{{Granted: 3, Left: 2, Spent: 1}, {Pending: true}}}
}

func sampleQuery() *Query {
	b := ledger.Budget{Key: ledger.Key{Hi: 1 << 63, Lo: 2}, Period: window.Month, Start: 1780272000}
	return &Query{
		Seen: 9, Size: MaxHoldings, After: b, Budgets: []ledger.Budget{b, b}, Keys: []ledger.Key{b.Key},
		Tagged: true, Tag: 1 << 31, Windowed: true, Period: window.Month,
	}
}

func sampleHoldings() *Holdings {
	b := ledger.Budget{Key: ledger.Key{Hi: 1, Lo: 2}, Period: window.Year, Start: 1767225600}
	return &Holdings{Incarnations: []uint64{7, 1 << 63}, List: []Holding{
		{Budget: b, Limit: ledger.Limit{Version: 1, Max: 5}, Credited: 4, Spent: 3, Waiting: 2, Minted: true, Closed: true, Degraded: true},
		{Budget: b, Spent: -1, Closed: true},
	}}
}

// TestCodec: what is encoded is decoded again, and a cut or longer encoding is
// corrupt.
func TestCodec(t *testing.T) {
	for name, c := range map[string]struct {
		in interface {
			MarshalBinary() ([]byte, error)
		}
		out interface{ UnmarshalBinary([]byte) error }
	}{
		"request": {sampleRequest(), &Request{}}, "empty request": {&Request{}, &Request{}},
		"reply": {sampleReply(), &Reply{}}, "empty reply": {&Reply{}, &Reply{}},
		"query": {sampleQuery(), &Query{}}, "empty query": {&Query{}, &Query{}},
		"holdings": {sampleHoldings(), &Holdings{}}, "empty holdings": {&Holdings{}, &Holdings{}},
	} {
		b, err := c.in.MarshalBinary()
		if err != nil {
			t.Fatal(name, err)
		}
		if err := c.out.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(c.in, c.out) {
			t.Errorf("%s: %+v, %v", name, c.out, err)
		}
		for n := range b {
			if err := c.out.UnmarshalBinary(b[:n]); !errors.Is(err, wire.ErrCorrupt) {
				t.Errorf("%s: %d of %d bytes: %v", name, n, len(b), err)
			}
		}
		if err := c.out.UnmarshalBinary(append(b, 0)); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("%s: a byte too many: %v", name, err)
		}
		if !reflect.DeepEqual(c.in, c.out) {
			t.Errorf("%s: changed by an error", name)
		}
	}
}

// FuzzCodec: nothing that arrives breaks the decoder, and what it takes has one
// encoding.
func FuzzCodec(f *testing.F) {
	a, _ := sampleRequest().MarshalBinary()
	b, _ := sampleReply().MarshalBinary()
	f.Add(a)
	f.Add(b)
	c, _ := sampleQuery().MarshalBinary()
	d, _ := sampleHoldings().MarshalBinary()
	f.Add(c)
	f.Add(d)
	f.Fuzz(func(t *testing.T, data []byte) {
		var q Request
		if q.UnmarshalBinary(data) == nil {
			if again, err := q.MarshalBinary(); err != nil || string(again) != string(data) {
				t.Errorf("request %x is encoded as %x, %v", data, again, err)
			}
		}
		var r Reply
		if r.UnmarshalBinary(data) == nil {
			if again, err := r.MarshalBinary(); err != nil || string(again) != string(data) {
				t.Errorf("reply %x is encoded as %x, %v", data, again, err)
			}
		}
		var k Query
		if k.UnmarshalBinary(data) == nil {
			if again, err := k.MarshalBinary(); err != nil || string(again) != string(data) {
				t.Errorf("query %x is encoded as %x, %v", data, again, err)
			}
		}
		var h Holdings
		if h.UnmarshalBinary(data) == nil {
			if again, err := h.MarshalBinary(); err != nil || string(again) != string(data) {
				t.Errorf("holdings %x are encoded as %x, %v", data, again, err)
			}
		}
	})
}

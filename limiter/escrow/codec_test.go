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
	})
}

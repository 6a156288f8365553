package limiter

import (
	"errors"
	"reflect"
	"testing"

	"github.com/sluicegate/sluice/limiter/escrow"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/wire"
)

func sampleHeritage() heritage {
	l := ledger.New()
	l.Apply(&ledger.Entry{Stamp: 60 * ledger.Second, Changes: []ledger.Change{{Kind: ledger.Join, Member: ledger.Member{Node: "n1", Incarnation: 3}}}})
	return heritage{
		Heritage: escrow.Heritage{Incarnation: 3, Earlier: []uint64{1, 2}, Stamp: l.Stamp(), Rosters: l.Rosters()},
		clock:    escrow.Reading{Mono: 5, Lo: 6, Hi: 7},
	}
}

func TestHeritage(t *testing.T) {
	in := sampleHeritage()
	b, err := in.encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := decodeHeritage(b)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%+v, %v", out, err)
	}
	for n := range b {
		if _, err := decodeHeritage(b[:n]); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

// FuzzHeritage: no header breaks the decoder.
func FuzzHeritage(f *testing.F) {
	in := sampleHeritage()
	b, _ := in.encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := decodeHeritage(data); err == nil {
			if _, err := h.encode(); err != nil {
				t.Error(err)
			}
		}
	})
}

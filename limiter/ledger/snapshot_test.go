package ledger

import (
	"bytes"
	"encoding"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var (
	_ encoding.BinaryMarshaler   = (*Ledger)(nil)
	_ encoding.BinaryUnmarshaler = (*Ledger)(nil)
)

// copied decodes what e is encoded to.
func copied(e *Entry) (*Entry, error) {
	b, err := e.MarshalBinary()
	if err != nil {
		return nil, err
	}
	c := &Entry{}
	return c, c.UnmarshalBinary(b)
}

// TestReplicas: a ledger that reads the log's bytes, and is restored from a
// snapshot at times, answers as the one that never stopped, and has its bytes.
func TestReplicas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		script := scripts.Draw(t, "script")
		a, b := New(), New()
		a.maxOwn = rapid.SampledFrom([]int{0, 2, maxBudgets}).Draw(t, "room")
		b.maxOwn = a.maxOwn
		for i := range script {
			e, err := copied(&script[i])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a.Apply(&script[i]), b.Apply(e), cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("entry %d: %s", i, d)
			}
			if rapid.IntRange(0, 3).Draw(t, "restore") > 0 {
				continue
			}
			x, _ := a.MarshalBinary()
			y, _ := b.MarshalBinary()
			if !bytes.Equal(x, y) {
				t.Fatalf("after entry %d the snapshots differ", i)
			}
			b = New()
			b.maxOwn = a.maxOwn
			if err := b.UnmarshalBinary(x); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a.Rosters(), b.Rosters(), cmpopts.EquateEmpty()); d != "" || a.Len() != b.Len() || a.own != b.own {
				t.Fatalf("restored %d of %d budgets, %d of %d own: %s", b.Len(), a.Len(), b.own, a.own, d)
			}
		}
	})
}

// TestSnapshotRefused: what Apply cannot have made is not restored, and leaves
// the ledger as it was.
func TestSnapshotRefused(t *testing.T) {
	full := func() *Ledger {
		l := joined(2)
		send(l, batch("n1", 1, 1, hour(1, 10, 1), hour(2, 10, 1)))
		return l
	}
	for name, spoil := range map[string]func(*Ledger){
		"stamp":             func(l *Ledger) { l.stamp = -1 },
		"roster of late":    func(l *Ledger) { l.rosters.History[0].Since = l.stamp + 1 },
		"other members":     func(l *Ledger) { l.nodes["n1"].incarnation++ },
		"members unordered": func(l *Ledger) { slices.Reverse(l.rosters.History[0].Members) },
		"heard of late":     func(l *Ledger) { l.nodes["n1"].heard = l.stamp + 1 },
		"nameless":          func(l *Ledger) { l.nodes[""] = &node{heard: 1} },
		"gap":               func(l *Ledger) { l.rosters.Gaps = []Gap{{After: 9, Until: 9}} },
		"rosters of a second": func(l *Ledger) {
			l.rosters.History[0].Since++
			l.rosters.History = append(l.rosters.History, l.rosters.History[0])
			l.rosters.History[1].Since++
		},
		"needless gap": func(l *Ledger) {
			l.rosters.Gaps = []Gap{{After: 9 * Second, Until: 9*Second + 1}}
		},
		"window over":    func(l *Ledger) { l.windows[0].window.Start -= 36000 },
		"not a window":   func(l *Ledger) { l.windows[0].window.Start++ },
		"window to come": func(l *Ledger) { l.windows[0].window.Start += 3600 },
		"period":         func(l *Ledger) { l.windows[0].period = 9 },
		"windows twice":  func(l *Ledger) { l.windows = append(l.windows, l.windows[0]) },
		"version":        func(l *Ledger) { l.windows[0].own[Key{}] = account{} },
		"max":            func(l *Ledger) { l.windows[0].own[Key{}] = account{version: 1, terms: -2} },
		"pool":           func(l *Ledger) { l.windows[0].own[Key{}] = account{version: 1, pool: mostPool + 1} },
		"bucket":         func(l *Ledger) { l.windows[0].shared = map[uint64]account{buckets: {version: 1}} },
		"topped up to less": func(l *Ledger) {
			l.windows[0].bonuses = map[Key]bonus{{Lo: 1}: {added: -1, done: make([]OperationID, 1)}}
		},
		"topped up by none": func(l *Ledger) { l.windows[0].bonuses = map[Key]bonus{{Lo: 1}: {added: 1}} },
		"topped up nothing": func(l *Ledger) {
			l.windows[0].bonuses = map[Key]bonus{{Lo: 9}: {added: 1, done: make([]OperationID, 1)}}
		},
		"topped up too often": func(l *Ledger) {
			l.windows[0].bonuses = map[Key]bonus{{Lo: 1}: {added: 1, done: make([]OperationID, maxDone+1)}}
		},
		"void": func(l *Ledger) { l.nodes["n1"].void = make([]uint64, maxVoid+1) },
	} {
		l := full()
		spoil(l)
		b, _ := l.MarshalBinary()
		m := full()
		before, _ := m.MarshalBinary()
		if err := m.UnmarshalBinary(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := m.MarshalBinary(); !bytes.Equal(before, after) {
			t.Errorf("%s: the ledger was changed", name)
		}
	}
}

// FuzzSnapshot: whatever is restored is encoded to the very same bytes, and
// goes on.
func FuzzSnapshot(f *testing.F) {
	for seed := range 8 {
		l := New()
		l.maxOwn = 2 * (seed % 2)
		for _, e := range scripts.Example(seed) {
			l.Apply(&e)
		}
		b, _ := l.MarshalBinary()
		f.Add(b)
	}
	more := scripts.Example(1)
	f.Fuzz(func(t *testing.T, data []byte) {
		l := New()
		if err := l.UnmarshalBinary(data); err != nil {
			if !errors.Is(err, ErrCorrupt) || l.Len() != 0 || l.Stamp() != 0 {
				t.Fatalf("%v, and %d budgets", err, l.Len())
			}
			return
		}
		if b, _ := l.MarshalBinary(); !bytes.Equal(b, data) {
			t.Fatalf("restored %x, encoded to %x", data, b)
		}
		for i := range more {
			l.Apply(&more[i])
		}
		b, _ := l.MarshalBinary()
		if err := New().UnmarshalBinary(b); err != nil {
			t.Fatalf("what it became is not restored: %v", err)
		}
	})
}

package limiter

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sampleBatch = Batch{Node: "n1", Incarnation: "abc", Seq: 7, Items: []Item{
	{Limit: "l", Version: 3, Max: 10, Key: "k", Period: Month, Start: 1780272000, Want: 2, Waiting: 1, Rate: 1.5, Spent: 4, Return: 1},
	{Limit: "l", Key: "", Period: Second, Start: -1, Rate: math.Inf(1)},
}}

var sampleResult = BatchResult{Node: "n1", Incarnation: "abc", Seq: 7, Stamp: -5, Stale: true, Results: []Result{
	{Granted: 1, Pool: 2, Spent: 3, Outstanding: 4, Closed: true, Refused: RefusedFull}, {},
}}

func TestCodec(t *testing.T) {
	e := Entry{Stamp: 99, Batches: []Batch{sampleBatch, {Node: "n2"}}}
	b, _ := e.MarshalBinary()
	var f Entry
	if err := f.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, f, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("entry: %s", d)
	}
	for n := range b {
		before := f
		if err := f.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("an entry cut to %d bytes: %v", n, err)
		}
		if !cmp.Equal(before, f) {
			t.Fatal("a failed decoding changed the entry")
		}
	}
	if err := f.UnmarshalBinary(append(b, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("bytes left over: %v", err)
	}
	if size := sampleBatch.size(); size < len(b)-len("n2")-20 {
		t.Errorf("size %d is no bound of %d bytes", size, len(b))
	}

	r, _ := sampleResult.MarshalBinary()
	var s BatchResult
	if err := s.UnmarshalBinary(r); err != nil || !cmp.Equal(s, sampleResult) {
		t.Errorf("result: %+v, %v", s, err)
	}
	p, _ := sampleBatch.MarshalBinary()
	var q Batch
	if err := q.UnmarshalBinary(p); err != nil || !cmp.Equal(q, sampleBatch) {
		t.Errorf("batch: %+v, %v", q, err)
	}
}

// FuzzCodec: whatever decodes encodes to something that decodes to the same.
// The first encoding may differ from the input, as varints have long forms.
func FuzzCodec(f *testing.F) {
	e, _ := Entry{Stamp: 99, Batches: []Batch{sampleBatch}}.MarshalBinary()
	r, _ := sampleResult.MarshalBinary()
	f.Add(e)
	f.Add(r)
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var e Entry
		if e.UnmarshalBinary(data) == nil {
			a, _ := e.MarshalBinary()
			var again Entry
			if err := again.UnmarshalBinary(a); err != nil {
				t.Fatal(err)
			}
			if b, _ := again.MarshalBinary(); !bytes.Equal(a, b) {
				t.Fatal("an entry encodes in two ways")
			}
			NewLedger().Apply(e)
		}
		var r BatchResult
		if r.UnmarshalBinary(data) == nil {
			a, _ := r.MarshalBinary()
			var again BatchResult
			if err := again.UnmarshalBinary(a); err != nil {
				t.Fatal(err)
			}
		}
		var b Batch
		if b.UnmarshalBinary(data) == nil && len(b.Items) > len(data) {
			t.Fatal("more items than bytes")
		}
	})
}

// FuzzSnapshot: whatever is restored is consistent, and encodes to a fixed
// point.
func FuzzSnapshot(f *testing.F) {
	w, err := chaos(5, mutants{})
	if err != nil {
		f.Fatal(err)
	}
	full, _ := w.ledger.MarshalBinary()
	empty, _ := NewLedger().MarshalBinary()
	small := NewLedger()
	small.Apply(Entry{Stamp: noon * second, Batches: []Batch{{Node: "n", Incarnation: "a", Seq: 1, Items: []Item{
		{Limit: "l", Version: 1, Max: 5, Key: "k", Period: Minute, Start: noon, Want: 3, Waiting: 1},
	}}}})
	one, _ := small.MarshalBinary()
	f.Add(full)
	f.Add(empty)
	f.Add(one)
	f.Fuzz(func(t *testing.T, data []byte) {
		l := NewLedger()
		if err := l.UnmarshalBinary(data); err != nil {
			if !errors.Is(err, ErrCorrupt) || l.Len() != 0 {
				t.Fatalf("%v, and %d windows", err, l.Len())
			}
			return
		}
		a, _ := l.MarshalBinary()
		again := NewLedger()
		if err := again.UnmarshalBinary(a); err != nil {
			t.Fatal(err)
		}
		if b, _ := again.MarshalBinary(); !bytes.Equal(a, b) {
			t.Fatal("a ledger encodes in two ways")
		}
		l.Apply(Entry{Batches: []Batch{sampleBatch}})
	})
}

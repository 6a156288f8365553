package ledger

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/limiter/window"
)

const noon = int64(1781524800) // 2026-06-15 12:00:00 UTC

type codec interface {
	encoding.BinaryAppender
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

var (
	_ codec = (*Entry)(nil)
	_ codec = (*Batch)(nil)
	_ codec = (*Answer)(nil)
	_ codec = (*ToppedUp)(nil)
)

var sampleBatch = Batch{Member: Member{"n1", 1 << 63}, Session: math.MaxUint64, Seq: 7, Asks: []Ask{
	{
		Budget: Budget{Key: Key{1, math.MaxUint64}, Period: window.Month, Start: 1780272000},
		Limit:  Limit{Version: 3, Max: MaxTokens, Tolerant: true}, Want: 300, Waiting: 1, Return: 70, Held: 3,
	},
	{Budget: Budget{Start: -1}, Want: math.MinInt64, Waiting: math.MaxInt64},
}}

func samples() map[string][2]codec {
	return map[string][2]codec{
		"tick": {&Entry{Stamp: -9}, &Entry{}},
		"entry": {&Entry{
			Stamp: noon * Second, Changes: []Change{{Join, Member{"n1", 4}}, {Leave, Member{"", 0}}},
			Batches: []Batch{sampleBatch, {Member: Member{Node: "n2"}}},
		}, &Entry{}},
		"top-ups": {&Entry{Stamp: noon * Second, TopUps: []TopUp{
			{ID: OperationID{1, 15: 2}, Budget: sampleBatch.Asks[0].Budget, Limit: sampleBatch.Asks[0].Limit, Tokens: 3, Expect: 9}, {Tokens: -1, Expect: -1},
		}}, &Entry{}},
		"topped up": {&ToppedUp{Budget: sampleBatch.Asks[0].Budget, Added: 3, Pool: -1, Repeated: true, Refused: Changed}, &ToppedUp{}},
		"batch":     {&sampleBatch, &Batch{}},
		"answer": {&Answer{Member: Member{"n1", 5}, Session: 6, Seq: 1 << 40, Stale: true, Grants: []Grant{
			{Granted: 5, Pool: -6}, {Refused: Malformed},
		}}, &Answer{}},
	}
}

// TestCodecs: what is encoded is decoded to the same, whatever is cut short or
// longer is refused, and a refusal leaves the value as it was.
func TestCodecs(t *testing.T) {
	for name, c := range samples() {
		in, out := c[0], c[1]
		b, err := in.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := out.UnmarshalBinary(b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(in, out); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		for n := range b {
			if err := out.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s, cut to %d bytes: %v", name, n, err)
			}
		}
		if err := out.UnmarshalBinary(append(b, 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s, a byte left over: %v", name, err)
		}
		if !cmp.Equal(in, out) {
			t.Errorf("%s: a failed decoding changed it", name)
		}
		if p, err := in.AppendBinary([]byte("abc")); err != nil || string(p) != "abc"+string(b) {
			t.Errorf("%s, appended: %q, %v", name, p, err)
		}
	}
}

func TestTooLargeToEncode(t *testing.T) {
	long := Member{Node: string(make([]byte, maxNode+1))}
	many := Batch{Asks: make([]Ask, MaxAsks+1)}
	for name, c := range map[string]codec{
		"changes":       &Entry{Changes: make([]Change, MaxChanges+1)},
		"top-ups":       &Entry{TopUps: make([]TopUp, MaxTopUps+1)},
		"batches":       &Entry{Batches: make([]Batch, MaxBatches+1)},
		"change's name": &Entry{Changes: []Change{{Join, long}}},
		"asks in entry": &Entry{Batches: []Batch{many}},
		"asks":          &many,
		"batch's name":  &Batch{Member: long},
		"grants":        &Answer{Grants: make([]Grant, MaxAsks+1)},
		"answer's name": &Answer{Member: long},
		"name in entry": &Entry{Batches: []Batch{{Member: long}}},
	} {
		if b, err := c.AppendBinary([]byte("x")); !errors.Is(err, ErrTooLarge) || string(b) != "x" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestLyingCounts: nothing is allocated for a count that the input cannot hold. What
// the error takes is counted in bytes, since it is not the same number of allocations
// each time (fmt has a pool).
func TestLyingCounts(t *testing.T) {
	head := append(binary.AppendVarint([]byte{entryVersion}, 5), 0)
	for name, data := range map[string][]byte{
		"changes": binary.AppendUvarint(head, 1000),
		"batches": binary.AppendUvarint(append(bytes.Clone(head), 0), 1000),
		"huge":    binary.AppendUvarint(bytes.Clone(head), math.MaxUint64),
	} {
		const runs, most = 100, 2 << 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			if err := new(Entry).UnmarshalBinary(data); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > most {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// FuzzCodec: whatever is decoded is encoded to the very same bytes.
func FuzzCodec(f *testing.F) {
	for _, c := range samples() {
		b, _ := c[0].MarshalBinary()
		f.Add(b)
	}
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range []codec{&Entry{}, &Batch{}, &Answer{}, &ToppedUp{}} {
			err := c.UnmarshalBinary(data)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				continue
			}
			if b, err := c.MarshalBinary(); err != nil || !bytes.Equal(b, data) {
				t.Fatalf("%+v is %x, not %x: %v", c, b, data, err)
			}
			if e, ok := c.(*Entry); ok {
				New().Apply(e)
			}
		}
	})
}

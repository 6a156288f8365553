package audit

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzRead: no file makes the reader fail in another way than with an error, or
// find more records than there is room for.
func FuzzRead(f *testing.F) {
	h := Header{Node: "n", Process: 1}
	file, _ := h.AppendBinary(nil)
	r := Record{KeyHi: 1, Unit: Minute, Tokens: 1}
	file, _ = r.AppendBinary(file)
	f.Add(file)
	f.Add(file[:headerSize+7])
	f.Add(make([]byte, headerSize+recordSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Summary
		n := 0
		err := s.read(bytes.NewReader(data), func(*Record) { n++ })
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
		if n != s.Records || n > len(data)/recordSize {
			t.Errorf("%d records of %d bytes, %+v", n, len(data), s)
		}
	})
}

// TestDamage: damage at the end is what a crash of the machine leaves; elsewhere
// it is none of its.
func TestDamage(t *testing.T) {
	h := Header{}
	file, _ := h.AppendBinary(nil)
	const records = 2 * tail
	for i := range uint64(records) {
		r := Record{KeyHi: i}
		file, _ = r.AppendBinary(file)
	}
	for _, tt := range []struct{ place, torn, damaged int }{{records - 1, 1, 0}, {records - tail/2, 1, 0}, {0, 0, 1}, {records / 4, 0, 1}} {
		b := bytes.Clone(file)
		b[headerSize+tt.place*recordSize+50] ^= 4
		var s Summary
		if err := s.read(bytes.NewReader(b), func(*Record) {}); err != nil {
			t.Fatal(err)
		}
		if s.Torn != tt.torn || s.Damaged != tt.damaged || s.Records != records-1 {
			t.Errorf("damage at %d: %+v", tt.place, s)
		}
	}
}

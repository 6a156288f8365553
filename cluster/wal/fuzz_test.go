package wal

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// FuzzParse: whatever is in a file, it is either damaged or has entries that read,
// behind which another can be stored.
func FuzzParse(f *testing.F) {
	h := head{name: uuid.New(), number: 1}
	good := h.encode()
	for i, e := range entries(3, 6, 20) {
		good = appendRecord(good, e, uint64(i)+1)
	}
	f.Add(good, true)
	f.Add(append(good, make([]byte, 200)...), false)
	f.Add(good[:len(good)-5], true)
	f.Add([]byte(segmentMagic), true)
	f.Add(append(bytes.Clone(good), good[segmentHead:]...), true)
	f.Fuzz(func(t *testing.T, b []byte, last bool) {
		s, err := parse(b, last)
		if err != nil {
			return
		}
		if !last && s.dirty {
			t.Fatal("what is behind the entries was passed over")
		}
		for i, at := range s.spans {
			e, _, _, ok := parseRecord(b[at.at:min(int(at.at+at.size), len(b))])
			if !ok || e.Index != s.first+uint64(i) {
				t.Fatalf("entry %d of %d does not read", i, len(s.spans))
			}
		}
		next := &raft.Log{Index: s.last() + 1, Term: 9, Data: []byte("next")}
		if next.Index == 0 {
			next.Index = 1
		}
		again, err := parse(appendRecord(bytes.Clone(b[:s.end]), next, s.batch+1), true)
		if s.end%align == 0 && (err != nil || len(again.spans) != len(s.spans)+1) {
			t.Fatalf("one more than %d entries: %v", len(s.spans), err)
		}
	})
}

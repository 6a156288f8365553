package cluster

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// counted counts the reads of a log in memory.
type counted struct {
	*raft.InmemStore
	reads int
	full  error
}

func (s *counted) GetLog(index uint64, entry *raft.Log) error {
	s.reads++
	return s.InmemStore.GetLog(index, entry)
}

func (s *counted) StoreLogs(entries []*raft.Log) error {
	if s.full != nil {
		return s.full
	}
	return s.InmemStore.StoreLogs(entries)
}

func TestCachedLog(t *testing.T) {
	t.Parallel()
	store := &counted{InmemStore: raft.NewInmemStore()}
	c := newCachedLog(store)
	half := bytes.Repeat([]byte("x"), cachedBytes/2)
	expect := func(index uint64, reads int) {
		t.Helper()
		before := store.reads
		var entry raft.Log
		if err := c.GetLog(index, &entry); err != nil || entry.Index != index {
			t.Errorf("entry %d: %d, %v", index, entry.Index, err)
		}
		if store.reads-before != reads {
			t.Errorf("entry %d: %d reads of the file, want %d", index, store.reads-before, reads)
		}
	}
	if err := c.StoreLogs([]*raft.Log{{Index: 1, Data: half}, {Index: 2}, {Index: 3, Extensions: half}}); err != nil {
		t.Fatal(err)
	}
	for index := range uint64(3) {
		expect(index+1, 0)
	}
	if err := c.StoreLog(&raft.Log{Index: 4, Data: []byte("one byte too many is enough")}); err != nil {
		t.Fatal(err)
	}
	expect(1, 1)
	for index := range uint64(3) {
		expect(index+2, 0)
	}
	if err := c.StoreLog(&raft.Log{Index: 5, Data: append(half, half...), Extensions: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for index := range uint64(5) {
		expect(index+1, 1)
	}
	store.full = errors.New("full")
	if err := c.StoreLog(&raft.Log{Index: 6}); !errors.Is(err, store.full) {
		t.Errorf("stored in a full log: %v", err)
	}
	if err := c.GetLog(6, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was not stored is read: %v", err)
	}
}

// TestCachedLogIsTheLog: whatever is stored, replaced and deleted, the cache says what
// the log says, and keeps no more than it may.
func TestCachedLogIsTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := raft.NewInmemStore()
		c := newCachedLog(store)
		last, term := uint64(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				held := 0
				for _, e := range c.newest {
					if e != nil {
						held += bytesOf(e)
					}
				}
				if held != c.bytes || held > cachedBytes {
					t.Fatalf("%d bytes are held and %d counted, %d are allowed", held, c.bytes, cachedBytes)
				}
				for index := range last + 2 {
					var got, want raft.Log
					if err, known := c.GetLog(index, &got), store.GetLog(index, &want); !errors.Is(err, known) || got.Term != want.Term {
						t.Fatalf("entry %d: %v of term %d, want %v, %d", index, err, got.Term, known, want.Term)
					}
				}
			},
			"store": func(t *rapid.T) {
				size := rapid.SampledFrom([]int{0, 100, cachedBytes / 3, cachedBytes, cachedBytes + 1}).Draw(t, "size")
				if rapid.Bool().Draw(t, "gap") {
					last += rapid.Uint64Max(2*cachedEntries).Draw(t, "missing")
				}
				var list []*raft.Log
				for range rapid.IntRange(1, 3).Draw(t, "entries") {
					last, term = last+1, term+1
					list = append(list, &raft.Log{Index: last, Term: term, Data: make([]byte, size)})
				}
				if err := c.StoreLogs(list); err != nil {
					t.Fatal(err)
				}
			},
			"cut off": func(t *rapid.T) {
				if last == 0 {
					t.Skip("nothing is stored")
				}
				from := rapid.Uint64Range(1, last).Draw(t, "from")
				if err := c.DeleteRange(from, last); err != nil {
					t.Fatal(err)
				}
				last = from - 1
			},
			"replace": func(t *rapid.T) { // raft cuts off first
				if last == 0 {
					t.Skip("nothing is stored")
				}
				term++
				if err := c.StoreLog(&raft.Log{Index: rapid.Uint64Range(1, last).Draw(t, "index"), Term: term, Data: make([]byte, cachedBytes/2)}); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

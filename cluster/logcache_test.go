package cluster

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
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

// get reads an entry and says how often the log under the cache was read for it.
func (s *counted) get(t *testing.T, c *cachedLog, index uint64) (data []byte, reads int) {
	t.Helper()
	before := s.reads
	var entry raft.Log
	if err := c.GetLog(index, &entry); err != nil || entry.Index != index {
		t.Fatalf("entry %d: %d, %v", index, entry.Index, err)
	}
	return entry.Data, s.reads - before
}

func TestCachedLog(t *testing.T) {
	t.Parallel()
	store := &counted{InmemStore: raft.NewInmemStore()}
	c := newCachedLog(store)
	large := bytes.Repeat([]byte("x"), cachedEntry+1)
	entries := []*raft.Log{
		{Index: 1, Data: []byte("small")},
		{Index: 2, Data: large},
		{Index: 3, Data: large[1:]},
		{Index: 4, Data: []byte("s"), Extensions: large},
	}
	if err := c.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 0, 1} {
		if data, reads := store.get(t, c, uint64(i+1)); reads != want || !bytes.Equal(data, entries[i].Data) {
			t.Errorf("entry %d: %d reads below the cache, want %d; %d bytes", i+1, reads, want, len(data))
		}
	}

	// An entry that takes the place of another, large or not.
	if err := c.StoreLog(&raft.Log{Index: 1, Data: large}); err != nil {
		t.Fatal(err)
	}
	if data, _ := store.get(t, c, 1); len(data) != len(large) {
		t.Errorf("the entry that was replaced is read: %d bytes", len(data))
	}
	if err := c.StoreLog(&raft.Log{Index: 1 + cachedEntries, Data: []byte("next")}); err != nil {
		t.Fatal(err)
	}
	if data, _ := store.get(t, c, 1); len(data) != len(large) {
		t.Errorf("entry %d is read for entry 1", 1+cachedEntries)
	}

	// What could not be stored or was deleted is not read.
	store.full = errors.New("full")
	if err := c.StoreLog(&raft.Log{Index: 5}); !errors.Is(err, store.full) {
		t.Errorf("stored in a full log: %v", err)
	}
	if err := c.DeleteRange(3, 4); err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{3, 5} {
		if err := c.GetLog(index, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry %d, which is not in the log: %v", index, err)
		}
	}
}

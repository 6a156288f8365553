package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// What of the newest entries may stay in memory.
const (
	cachedEntries = 512
	cachedBytes   = 2 << 20
)

// cachedLog has the newest entries of a log in memory: raft reads each again for
// every follower and to apply it. Raft's own LogCache bounds the number of entries
// and not their bytes, so that 256 MB of an import would stay. Safe for concurrent
// use.
type cachedLog struct {
	raft.LogStore

	mu     sync.RWMutex
	newest [cachedEntries]*raft.Log // by index modulo cachedEntries
	oldest uint64                   // no entry before it is in newest
	bytes  int                      // of all in newest
}

func newCachedLog(store raft.LogStore) *cachedLog { return &cachedLog{LogStore: store} }

// GetLog implements raft.LogStore.
func (c *cachedLog) GetLog(index uint64, entry *raft.Log) error {
	c.mu.RLock()
	cached := c.newest[index%cachedEntries]
	c.mu.RUnlock()
	if cached != nil && cached.Index == index {
		*entry = *cached
		return nil
	}
	return c.LogStore.GetLog(index, entry)
}

// StoreLog implements raft.LogStore.
func (c *cachedLog) StoreLog(entry *raft.Log) error { return c.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (c *cachedLog) StoreLogs(entries []*raft.Log) error {
	if err := c.LogStore.StoreLogs(entries); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		c.keep(e)
	}
	return nil
}

// keep caches an entry, and lets go of the oldest while they are too many bytes.
func (c *cachedLog) keep(e *raft.Log) {
	c.drop(e.Index)
	c.newest[e.Index%cachedEntries] = e
	c.bytes += bytesOf(e)
	if c.oldest+cachedEntries <= e.Index {
		c.oldest = e.Index - cachedEntries + 1
	}
	for ; c.bytes > cachedBytes; c.oldest++ {
		c.drop(c.oldest)
	}
}

// drop empties the place of an index.
func (c *cachedLog) drop(index uint64) {
	at := &c.newest[index%cachedEntries]
	if *at != nil {
		c.bytes -= bytesOf(*at)
		*at = nil
	}
}

func bytesOf(e *raft.Log) int { return len(e.Data) + len(e.Extensions) }

// IsMonotonic implements raft.MonotonicLogStore, as the log below does.
func (c *cachedLog) IsMonotonic() bool {
	below, ok := c.LogStore.(raft.MonotonicLogStore)
	return ok && below.IsMonotonic()
}

// DeleteRange implements raft.LogStore. What is cached is forgotten first, so that
// no entry is read that the log has not.
func (c *cachedLog) DeleteRange(first, last uint64) error {
	c.mu.Lock()
	c.newest, c.oldest, c.bytes = [cachedEntries]*raft.Log{}, 0, 0
	c.mu.Unlock()
	return c.LogStore.DeleteRange(first, last)
}

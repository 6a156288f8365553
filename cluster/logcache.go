package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// cachedEntries is how many of the newest entries may stay in memory.
	cachedEntries = 512
	// cachedEntry is how many bytes an entry may have that does: the cache has
	// cachedEntries times as many at most, 8 MiB.
	cachedEntry = 16 << 10
)

// cachedLog has the newest entries of a log in memory: raft reads each again for
// every follower and to apply it. Large ones, the parts of an import, are read from
// the file: raft's own LogCache bounds the number of entries and not their bytes,
// so that 256 MB of an import would stay. Safe for concurrent use.
type cachedLog struct {
	raft.LogStore

	mu     sync.RWMutex
	newest [cachedEntries]*raft.Log // by index modulo cachedEntries
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
		cached := e
		if len(e.Data)+len(e.Extensions) > cachedEntry {
			cached = nil
		}
		c.newest[e.Index%cachedEntries] = cached
	}
	return nil
}

// DeleteRange implements raft.LogStore. What is cached is forgotten first, so that
// no entry is read that the log has not.
func (c *cachedLog) DeleteRange(first, last uint64) error {
	c.mu.Lock()
	c.newest = [cachedEntries]*raft.Log{}
	c.mu.Unlock()
	return c.LogStore.DeleteRange(first, last)
}

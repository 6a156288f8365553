package evloop

import (
	"fmt"
	"sync"
	"sync/atomic"
)

const (
	chunkSize = 1 << 10
	maxChunks = 1 << 10
)

// table finds connections by their descriptors. Descriptors are small numbers,
// so it is an array that grows.
type table struct {
	mu     sync.Mutex
	chunks [maxChunks]atomic.Pointer[[chunkSize]atomic.Pointer[Conn]]
}

// find gives the connection with a descriptor and an id, or nil.
func (t *table) find(fd int, id uint32) *Conn {
	if chunk := t.chunks[fd/chunkSize].Load(); chunk != nil {
		if c := chunk[fd%chunkSize].Load(); c != nil && c.id == id {
			return c
		}
	}
	return nil
}

func (t *table) put(fd int, c *Conn) error {
	if fd >= chunkSize*maxChunks {
		return fmt.Errorf("descriptor %d is larger than expected", fd)
	}
	slot := &t.chunks[fd/chunkSize]
	if slot.Load() == nil {
		t.mu.Lock()
		if slot.Load() == nil {
			slot.Store(new([chunkSize]atomic.Pointer[Conn]))
		}
		t.mu.Unlock()
	}
	slot.Load()[fd%chunkSize].Store(c)
	return nil
}

func (t *table) drop(fd int, c *Conn) {
	t.chunks[fd/chunkSize].Load()[fd%chunkSize].CompareAndSwap(c, nil)
}

func (t *table) each(f func(*Conn)) {
	for i := range t.chunks {
		chunk := t.chunks[i].Load()
		if chunk == nil {
			continue
		}
		for j := range chunk {
			if c := chunk[j].Load(); c != nil {
				f(c)
			}
		}
	}
}

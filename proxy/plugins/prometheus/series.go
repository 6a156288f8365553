package prometheus

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSeries bounds the label sets of each kind (status, bandwidth, latency)
	// on a node.
	maxSeries = 10000
	// idleAfter is how long a label set has to be unused before its place may
	// be given to a new one.
	idleAfter = time.Hour
	// sweepEvery is how often a full table is searched for idle label sets; in
	// between, new ones are turned away at once.
	sweepEvery = 10 * time.Second
	// grain is how exactly the last use is known. It keeps requests from
	// writing to shared memory each time.
	grain = time.Minute
)

// series is a bounded table from label sets to the metrics that count them.
// Nothing is dropped while there is room, so that a counter of a route that is
// rarely asked does not start again at 0. In a full table the label sets that
// have been idle for an hour, such as those of deleted routes, make room; if
// there are none, a new label set is not counted. Safe for concurrent use.
type series[K comparable, M any] struct {
	max    int
	create func(K) M
	remove func(K) // forgets what create made

	mu      sync.RWMutex
	entries map[K]*entry[M]
	swept   time.Time
}

type entry[M any] struct {
	metric M
	used   atomic.Int64 // unix seconds, or gone
}

// gone is for an entry that is in the table no more.
const gone = -1

// use notes that an entry is used. False: it is gone, and what it would count is not
// shown any more.
func (e *entry[M]) use(now int64) bool {
	used := e.used.Load()
	if used == gone {
		return false
	}
	// Who fails to store it has met another user, or one who has dropped it.
	return now-used < int64(grain/time.Second) || e.used.CompareAndSwap(used, now) || e.used.Load() != gone
}

func newSeries[K comparable, M any](create func(K) M, remove func(K)) *series[K, M] {
	return &series[K, M]{max: maxSeries, create: create, remove: remove, entries: map[K]*entry[M]{}}
}

// get gives the entry of a label set, which is used now; nil if there is no room for it.
func (s *series[K, M]) get(key K, now time.Time) *entry[M] {
	s.mu.RLock()
	e := s.entries[key]
	s.mu.RUnlock()
	if e != nil && e.use(now.Unix()) {
		return e
	}
	return s.add(key, now)
}

func (s *series[K, M]) add(key K, now time.Time) *entry[M] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		e.used.Store(now.Unix())
		return e
	}
	if len(s.entries) >= s.max && !s.sweep(now) {
		return nil
	}
	e := &entry[M]{metric: s.create(key)}
	e.used.Store(now.Unix())
	s.entries[key] = e
	return e
}

// sweep drops what is idle and says whether there is room now.
func (s *series[K, M]) sweep(now time.Time) bool {
	if now.Sub(s.swept) < sweepEvery {
		return false
	}
	s.swept = now
	oldest := now.Add(-idleAfter).Unix()
	for key, e := range s.entries {
		if used := e.used.Load(); used < oldest && e.used.CompareAndSwap(used, gone) {
			delete(s.entries, key)
			s.remove(key)
		}
	}
	return len(s.entries) < s.max
}

// Package queue takes what plugins want sent elsewhere off the way of requests:
// entries wait in a bounded queue and are sent in batches, again and again until
// they have arrived or have become too old (Kong's queues).
//
// # An entry's life
//
// Add copies nothing, never waits and never fails: where there is no room the
// oldest entries that wait are dropped and counted. A batch is sent when it is
// full, or when its first entry has waited for the coalescing delay. A batch that
// could not be sent is tried again after a delay that doubles each time, until
// there is no time left for another try; then it is dropped and counted.
//
// # Goroutines
//
// A queue has a sender while there is something to send: the first entry starts
// it, and it ends when the queue is empty. It belongs to the node (plugin.Env.Go).
// When the node stops what waits is sent at once, with all tries that there is time
// for.
//
// # Changes of the configuration
//
// Instances that want the same of a queue share it, before and after a change: Of
// finds it by its key. A queue that no instance wants any more sends what it has,
// and is forgotten.
package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// Config is what a queue does. It is part of its identity: see Of.
type Config struct {
	// Plugin names the plugin, and Target what it sends to, in logs and metrics.
	Plugin, Target string
	// MaxBatch is how many entries are sent together.
	MaxBatch int
	// MaxDelay is how long the first entry of a batch waits for others.
	MaxDelay time.Duration
	// MaxEntries is how many entries wait, MaxBytes how large all of them are, with
	// those that are being sent.
	MaxEntries, MaxBytes int
	// MaxRetryTime is how long a batch is tried to be sent; FirstRetry and MaxRetry
	// are the first and the longest delay between two tries.
	MaxRetryTime, FirstRetry, MaxRetry time.Duration
	// Senders is how many batches are sent at the same time.
	Senders int
}

// Send sends a batch, whose entries stay as they are. ctx is done when the node
// can wait no longer.
type Send func(ctx context.Context, batch [][]byte) error

// Queue is one queue. Safe for concurrent use.
type Queue struct {
	cfg    Config
	env    *plugin.Env
	counts *[outcomes]atomic.Uint64 // all queues of the plugin have the same
	told   atomic.Int64             // when drops were logged last, in nanoseconds
	send   Send
	// close is called when the node stops, after the last batch; or nil.
	close func()

	mu      sync.Mutex
	waiting [][]byte // the oldest first; its memory is used again
	head    int      // of the first entry in waiting
	bytes   int      // of what waits
	sending int      // bytes that are being sent
	senders int
	// full wakes a sender that waits for a batch to become so.
	full chan struct{}
}

// Add puts an entry into the queue, which keeps it.
func (q *Queue) Add(entry []byte) {
	if len(entry) > q.cfg.MaxBytes {
		q.note(tooLarge, 1, nil)
		return
	}
	dropped, lost := q.add(entry)
	q.note(noRoom, dropped, nil) // not with the lock: a log may be slow
	q.note(stopped, lost, nil)
}

// add says how many entries it had to drop for want of room, and how many because
// the node has stopped.
func (q *Queue) add(entry []byte) (dropped, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	room := q.cfg.MaxBytes - q.sending
	if len(entry) > room {
		return 1, 0
	}
	for q.count() > 0 && (q.count() >= q.cfg.MaxEntries || q.bytes+len(entry) > room) {
		q.drop(1)
		dropped++
	}
	q.waiting = append(q.waiting, entry)
	q.bytes += len(entry)
	switch enough := q.count() >= q.cfg.MaxBatch; {
	case q.senders == 0, enough && q.senders < q.cfg.Senders:
		if !q.env.Go(q.run) {
			lost = q.count()
			q.drop(lost)
			return dropped, lost
		}
		q.senders++
	case enough:
		select {
		case q.full <- struct{}{}:
		default:
		}
	}
	return dropped, 0
}

// drop forgets the oldest entries; q.mu is held.
func (q *Queue) drop(n int) {
	gone := q.take(n)
	for i := range gone {
		q.bytes -= len(gone[i])
		gone[i] = nil
	}
}

// count is how many entries wait; q.mu is held.
func (q *Queue) count() int { return len(q.waiting) - q.head }

// take takes the oldest entries; q.mu is held. They are valid until it is released,
// or Add is called.
func (q *Queue) take(n int) [][]byte {
	taken := q.waiting[q.head : q.head+n]
	q.head += n
	switch {
	case q.head == len(q.waiting):
		if cap(q.waiting) > maxKept {
			q.waiting = nil // a rare long queue
		}
		q.waiting, q.head = q.waiting[:0], 0
	case q.head > len(q.waiting)/2 && q.head > maxKept:
		rest := make([][]byte, q.count(), 2*q.count())
		copy(rest, q.waiting[q.head:])
		q.waiting, q.head = rest, 0
	}
	return taken
}

// maxKept is how many places of a queue may be kept though nothing is in them.
const maxKept = 1024

// run sends until the queue is empty.
func (q *Queue) run() {
	timer := time.NewTimer(q.cfg.MaxDelay)
	defer timer.Stop()
	var batch [][]byte
	for {
		q.await(timer)
		if batch = q.next(batch); batch == nil {
			return
		}
		q.deliver(timer, batch)
		q.forget(batch)
		timer.Reset(q.cfg.MaxDelay)
	}
}

// await waits until the batch is full or the timer says that it is time, or the
// node stops.
func (q *Queue) await(timer *time.Timer) {
	for {
		q.mu.Lock()
		ready := q.count() >= q.cfg.MaxBatch || q.count() == 0 || q.cfg.MaxDelay == 0
		q.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-q.full:
		case <-timer.C:
			return
		case <-q.env.Closing():
			return
		}
	}
}

// next gives the next batch, in the given memory; nil: the sender is not needed any
// more.
func (q *Queue) next(memory [][]byte) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := q.count(); q.env.Context().Err() != nil {
		q.drop(n)
		q.counts[stopped].Add(uint64(n))
	}
	if q.count() == 0 {
		q.senders--
		return nil
	}
	taken := q.take(min(q.count(), q.cfg.MaxBatch))
	batch := append(memory[:0], taken...)
	clear(taken)
	size := sizeOf(batch)
	q.bytes, q.sending = q.bytes-size, q.sending+size
	return batch
}

// forget makes room when a batch is done.
func (q *Queue) forget(batch [][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending -= sizeOf(batch)
	clear(batch) // its memory is used again
}

func sizeOf(batch [][]byte) (n int) {
	for _, entry := range batch {
		n += len(entry)
	}
	return n
}

// deliver sends a batch, or gives it up.
func (q *Queue) deliver(timer *time.Timer, batch [][]byte) {
	ctx := q.env.Context()
	begin, delay := time.Now(), q.cfg.FirstRetry
	for {
		err := q.send(ctx, batch)
		if err == nil {
			q.note(sent, len(batch), nil)
			return
		}
		became := unsent
		if ctx.Err() == nil && time.Since(begin)+delay <= q.cfg.MaxRetryTime {
			q.log().Debug("entries could not be sent, another try follows", zap.Duration("in", delay), zap.Error(err))
			timer.Reset(delay)
			select {
			case <-timer.C:
				delay = min(2*delay, q.cfg.MaxRetry)
				continue
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			became = stopped
		}
		q.note(became, len(batch), err)
		return
	}
}

func (q *Queue) log() *zap.Logger {
	if q.env.Logger == nil {
		return zap.NewNop()
	}
	return q.env.Logger.With(zap.String("plugin", q.cfg.Plugin), zap.String("to", q.cfg.Target))
}

package limiter

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// maxQueued bounds the batches that wait for the entry in flight.
const maxQueued = 1024

// Batcher runs where the leader is. It merges the batches of all nodes into log
// entries: one entry is in flight, the next collects meanwhile, so the log's
// latency bounds the entries a second and not the batches. Safe for concurrent
// use.
type Batcher struct {
	commit func(context.Context, Entry) (*Outcome, error)
	now    func() time.Time
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	kick   chan struct{}

	mu    sync.Mutex
	queue []*submission
}

type submission struct {
	batch Batch
	size  int
	reply chan reply // of capacity 1: an abandoned submission blocks nobody
}

type reply struct {
	result BatchResult
	err    error
}

// NewBatcher starts a Batcher that runs one goroutine until Close. commit
// brings one entry into the log and returns what Apply made of it; it is called
// from that goroutine only and must obey its context.
func NewBatcher(commit func(ctx context.Context, e Entry) (*Outcome, error), now func() time.Time) *Batcher {
	b := &Batcher{commit: commit, now: now, kick: make(chan struct{}, 1)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.done.Go(b.run)
	return b
}

// Submit has a batch committed and returns its result. Errors: ErrBusy when too
// many batches wait, ErrTooLarge, ErrClosed, the context's, or what commit
// returned, wrapped. After an error the batch may still be committed: the node
// repeats it under the same Seq.
func (b *Batcher) Submit(ctx context.Context, batch Batch) (BatchResult, error) {
	s := &submission{batch: batch, size: batch.size(), reply: make(chan reply, 1)}
	if len(batch.Items) > maxBatchItems || s.size > maxEntryBytes {
		return BatchResult{}, ErrTooLarge
	}
	if err := b.push(s); err != nil {
		return BatchResult{}, err
	}
	select {
	case r := <-s.reply:
		return r.result, r.err
	case <-ctx.Done():
		return BatchResult{}, ctx.Err()
	case <-b.ctx.Done():
		return BatchResult{}, ErrClosed
	}
}

func (b *Batcher) push(s *submission) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	if len(b.queue) >= maxQueued {
		return ErrBusy
	}
	b.queue = append(b.queue, s)
	select {
	case b.kick <- struct{}{}:
	default:
	}
	return nil
}

// Close stops the Batcher and waits for it. Submissions that wait get
// ErrClosed; the entry in flight may still be committed.
func (b *Batcher) Close() {
	b.cancel()
	b.done.Wait()
}

func (b *Batcher) run() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.kick:
		}
		for subs := b.collect(); len(subs) > 0 && b.ctx.Err() == nil; subs = b.collect() {
			b.commitAll(subs)
		}
	}
}

// collect takes from the queue what fits into one entry.
func (b *Batcher) collect() []*submission {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, size := 0, 0
	for n < len(b.queue) && n < maxEntryBatches && size+b.queue[n].size <= maxEntryBytes {
		size += b.queue[n].size
		n++
	}
	subs := b.queue[:n:n]
	b.queue = append([]*submission(nil), b.queue[n:]...)
	return subs
}

// commitAll commits one entry and hands out its results.
func (b *Batcher) commitAll(subs []*submission) {
	e := Entry{Stamp: b.now().UnixMicro(), Batches: make([]Batch, len(subs))}
	for i, s := range subs {
		e.Batches[i] = s.batch
	}
	o, err := b.commit(b.ctx, e)
	switch {
	case err != nil:
		err = fmt.Errorf("limiter: commit: %w", err)
	case o == nil || len(o.Results) != len(subs):
		err = fmt.Errorf("limiter: commit: outcome does not match the entry")
	}
	for i, s := range subs {
		r := reply{err: err}
		if err == nil {
			r.result = o.Results[i]
		}
		s.reply <- r
	}
}

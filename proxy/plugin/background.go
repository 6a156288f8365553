package plugin

import (
	"context"
	"sync"
)

// background is what an Env keeps of the goroutines that plugins have started.
type background struct {
	once    sync.Once
	ctx     context.Context
	cancel  context.CancelFunc
	closing chan struct{}

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	atEnd   []func()
}

func (e *Env) life() *background {
	b := &e.background
	b.once.Do(func() {
		b.ctx, b.cancel = context.WithCancel(context.Background())
		b.closing = make(chan struct{})
	})
	return b
}

// Go runs f in a goroutine of the node's: Close waits for it. f has to end soon
// after Closing, and at once when Context is done. False means that the node has
// stopped and f is not run. Safe for concurrent use.
func (e *Env) Go(f func()) bool {
	b := e.life()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.running.Go(f)
	return true
}

// AtEnd has f called by Close, after the last goroutine has ended. It is for what
// lives as long as the node (Shared).
func (e *Env) AtEnd(f func()) {
	b := e.life()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.atEnd = append(b.atEnd, f)
}

// Closing is closed when the node stops: what is waiting to be done is to be done
// now.
func (e *Env) Closing() <-chan struct{} { return e.life().closing }

// Context is done when the time is over in which that had to be done.
func (e *Env) Context() context.Context { return e.life().ctx }

// Close ends what plugins have begun with Go. The node's owner calls it when no
// request is in flight any more. What is not done when ctx is, is given up; the
// error is then the context's. Close always waits for all goroutines.
func (e *Env) Close(ctx context.Context) error {
	b := e.life()
	b.mu.Lock()
	already := b.closed
	b.closed = true
	b.mu.Unlock()
	if already {
		return nil
	}
	close(b.closing)
	stop := context.AfterFunc(ctx, b.cancel)
	b.running.Wait()
	inTime := stop()
	b.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.atEnd {
		f()
	}
	if !inTime {
		return context.Cause(ctx)
	}
	return nil
}

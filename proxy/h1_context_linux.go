package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/sluicegate/sluice/internal/evloop"
)

// h1Context is the context of a request on an event loop. Whoever asks for Done
// is about to wait, and so leaves the loop.
type h1Context struct {
	c  *clientConn
	mu sync.Mutex
	// done is made by the first Done; closed says that it is closed.
	done   chan struct{}
	closed bool
	// patient says that the client may have closed its direction and still wait
	// for the answer. It is what was so at the first Done.
	patient bool
	watcher evloop.Watcher
}

var (
	_ context.Context = (*h1Context)(nil)
	_ evloop.Watcher  = (*h1Context)(nil)
)

// Deadline implements context.Context: there is none.
func (*h1Context) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Value implements context.Context.
func (*h1Context) Value(any) any { return nil }

// Done implements context.Context. The first call is the owner's.
func (t *h1Context) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		t.patient = t.c.x.patient()
		t.watcher = t
		t.c.task.Detach()
		t.c.task.Watch(&t.watcher)
		t.closeIfGone()
	}
	return t.done
}

// Err implements context.Context.
func (t *h1Context) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		if t.c.x.gone() { // nobody but the owner asks before Done
			return context.Canceled
		}
		return nil
	}
	if t.closeIfGone(); t.closed {
		return context.Canceled
	}
	return nil
}

// Poked implements evloop.Watcher.
func (t *h1Context) Poked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeIfGone()
}

// closeIfGone closes done when the client has left; the lock is held.
func (t *h1Context) closeIfGone() {
	if !t.closed && (t.c.conn.Broken() || t.c.conn.HungUp() && !t.patient) {
		t.closed = true
		close(t.done)
	}
}

// end releases who still waits, and says whether the context was waited on: it
// must not serve another request then.
func (t *h1Context) end() bool {
	if t.done == nil { // only the owner changes that
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.task.Watch(nil)
	if !t.closed {
		t.closed = true
		close(t.done)
	}
	return true
}

package upstream

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// watch ends an exchange whose service keeps it waiting: it runs while someone
// waits for the answer, and begins anew with everything that moves, in either
// direction. While nobody waits, because the client is slow, it rests. Safe for
// concurrent use.
type watch struct {
	mu      sync.Mutex
	timeout time.Duration
	timer   *time.Timer
	resting bool
	ended   bool
}

func (w *watch) start(timeout time.Duration, expired func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timeout = timeout
	w.timer = time.AfterFunc(timeout, expired)
}

// moved begins anew, unless nobody waits.
func (w *watch) moved() { w.allow(w.timeout) }

// allow is moved with another time, once.
func (w *watch) allow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.resting && !w.ended {
		w.timer.Reset(d)
	}
}

// wait says that someone waits, rest that nobody does.
func (w *watch) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = false
	if !w.ended {
		w.timer.Reset(w.timeout)
	}
}

func (w *watch) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = true
	w.timer.Stop()
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}

// watchedReader is an answer's body.
type watchedReader struct {
	io.Reader
	watch *watch
}

func (r *watchedReader) Read(p []byte) (int, error) {
	r.watch.wait()
	defer r.watch.rest()
	return r.Reader.Read(p)
}

// maxReplay is how much of a body is kept for another try.
const maxReplay = 64 << 10

var (
	errBodyEnded   = errors.New("exchange has ended")
	errBodyTooLong = errors.New("request body is too long to be sent again")
)

// replayBody is a streamed body that can be sent again from its beginning, as
// long as no more than maxReplay of it has been read and the answer has not
// begun. The transport may read a body that it has closed, or that it has given
// up for another try: it gets an error then.
type replayBody struct {
	watch   *watch
	trailer *lateTrailer // nil without one
	// ended says that nothing may be read any more, begun that the answer has
	// begun, so that the beginning needs no longer be kept.
	ended, begun atomic.Bool

	mu     sync.Mutex // held while source is read
	source io.Reader
	kept   []byte // all of what was read, unless lost
	lost   atomic.Bool
	read   int64 // from source
	err    error // of source, at its end
}

// again gives the body from its beginning, for another try.
func (b *replayBody) again() (io.ReadCloser, error) {
	if b.lost.Load() {
		return nil, errBodyTooLong
	}
	return &bodyTry{body: b, try: b.trailer.again()}, nil
}

// forget says that there will be no other try.
func (b *replayBody) forget() { b.begun.Store(true) }

// end makes reads fail, with stop the pending one, and waits for that one.
func (b *replayBody) end(stop func()) {
	b.ended.Store(true)
	stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost.Store(true)
	b.kept = nil
}

// bodyTry is the body of one try.
type bodyTry struct {
	body   *replayBody
	at     int64
	try    int64 // of the trailer
	closed atomic.Bool
}

// Close implements io.Closer. A read that waits for the client goes on, for
// the try that follows.
func (t *bodyTry) Close() error {
	t.closed.Store(true)
	return nil
}

func (t *bodyTry) Read(p []byte) (int, error) {
	b := t.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended.Load() || t.closed.Load():
		return 0, errBodyEnded
	case t.at < int64(len(b.kept)):
		n := copy(p, b.kept[t.at:])
		t.at += int64(n)
		return n, nil
	case t.at < b.read:
		return 0, errBodyTooLong
	case b.err != nil:
		b.trailer.ended(t.try, b.err)
		return 0, b.err
	}
	n, err := b.source.Read(p)
	b.keep(p[:n], b.begun.Load() && !t.closed.Load())
	t.at = b.read
	b.watch.moved()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrBody, err)
	}
	b.err = err
	b.trailer.ended(t.try, err)
	return n, err
}

// keep takes what was read for another try, or forgets all of it when there is
// none or it is too much; mu is held.
func (b *replayBody) keep(p []byte, useless bool) {
	b.read += int64(len(p))
	if useless || len(b.kept)+len(p) > maxReplay {
		b.lost.Store(true)
		b.kept = nil
	}
	if !b.lost.Load() {
		b.kept = append(b.kept, p...)
	}
}

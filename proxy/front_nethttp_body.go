package proxy

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// clientBody reads a request's body for whoever wants it, and can be stopped.
type clientBody struct {
	exchange *httpExchange
	limit    int64 // 0: none
	timeout  time.Duration
	until    time.Time // deadline in force; used by the reading goroutine only
	read     atomic.Int64
	ended    atomic.Bool
	stopped  atomic.Bool
	// failure is why the request has to be refused, if it has to.
	failure error
	// reading is held during a read, so that stop can wait for its end.
	reading sync.Mutex
}

var errBodyStopped = errors.New("request body is of no use any more")

func (b *clientBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if until := time.Now().Add(b.timeout); until.Sub(b.until) >= deadlineStep(b.timeout) {
		b.until = until
		// Without deadlines, as in tests, the read waits for the client.
		_ = b.exchange.control.SetReadDeadline(until)
	}
	if b.stopped.Load() { // after the deadline was moved: stop moves it later
		return 0, errBodyStopped
	}
	n, err := b.exchange.r.Body.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
		// net/http watches for the client's departure from now on, without end.
		_ = b.exchange.control.SetReadDeadline(time.Time{})
	}
	total := b.read.Add(int64(n))
	switch {
	case b.limit > 0 && total > b.limit:
		b.failure = errBodyTooLarge
		return 0, errBodyTooLarge
	case err == nil || b.ended.Load():
	case isTimeout(err) && !time.Now().Before(b.until): // not by stop
		b.failure = fmt.Errorf("%w: nothing read for %v", errBodyTimeout, b.timeout)
		err = b.failure
	case b.stopped.Load():
		err = errBodyStopped
	}
	return n, err
}

// stop makes the pending read and all later ones fail, and waits for the
// pending one.
func (b *clientBody) stop() {
	b.stopped.Store(true)
	if b.ended.Load() {
		return // a deadline would strike net/http's watch for the client
	}
	_ = b.exchange.control.SetReadDeadline(time.Unix(1, 0))
	b.reading.Lock()
	defer b.reading.Unlock()
}

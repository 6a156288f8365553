package proxy

import (
	"net"
	"runtime"
	"sync"
	"time"
)

const (
	// maxUnsent is how much a connection keeps of what is to be sent, before its
	// streams have to wait.
	maxUnsent = 64 << 10
	// sendPiece is what has to leave within the send timeout: one TLS record.
	sendPiece = 16 << 10
	// farewell is how long a connection that is closed waits for what is unsent.
	farewell = time.Second
)

// joinedWriter sends what is written by a goroutine of its own. x/net's server
// flushes after every frame; when several answers are ready, this makes one TLS
// record and one system call of them. An error of sending is that of the next
// write. Safe for concurrent use.
type joinedWriter struct {
	conn    net.Conn
	timeout time.Duration
	until   time.Time // deadline in force; of run

	mu      sync.Mutex
	changed sync.Cond // on mu: there is something unsent, or room, or an end
	unsent  []byte
	closing bool
	err     error
	done    chan struct{}
}

func newJoinedWriter(conn net.Conn, timeout time.Duration) *joinedWriter {
	w := &joinedWriter{conn: conn, timeout: timeout, done: make(chan struct{})}
	w.changed.L = &w.mu
	return w
}

// Write implements io.Writer. It waits only for room.
func (w *joinedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unsent) > 0 && len(w.unsent)+len(p) > maxUnsent && w.err == nil {
		w.changed.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	first := len(w.unsent) == 0
	w.unsent = append(w.unsent, p...)
	if first {
		w.changed.Broadcast()
	}
	return len(p), nil
}

// close ends run when everything is sent, or a second later.
func (w *joinedWriter) close() {
	w.mu.Lock()
	if !w.closing {
		w.closing = true
		// A connection that cannot have a deadline is broken, and run sees that.
		_ = w.conn.SetWriteDeadline(time.Now().Add(farewell))
		w.changed.Broadcast()
	}
	w.mu.Unlock()
	<-w.done
}

// run sends until close, or until sending fails.
func (w *joinedWriter) run() {
	defer close(w.done)
	var spare []byte
	for {
		batch, ok := w.take(spare[:0])
		if !ok {
			return
		}
		if err := w.send(batch); err != nil {
			w.fail(err)
			return
		}
		if spare = batch; cap(spare) > sendPiece {
			spare = nil // a rare large one does not stay with the connection
		}
	}
}

// take waits for something to send and gives empty for it.
func (w *joinedWriter) take(empty []byte) ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unsent) == 0 {
		if w.closing {
			return nil, false
		}
		w.changed.Wait()
	}
	// Those that are ready to run may have something for the same record.
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	batch := w.unsent
	w.unsent = empty
	w.changed.Broadcast()
	return batch, true
}

func (w *joinedWriter) send(batch []byte) error {
	for len(batch) > 0 {
		w.extend()
		n, err := w.conn.Write(batch[:min(len(batch), sendPiece)])
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// extend gives the next piece the send timeout.
func (w *joinedWriter) extend() {
	until := time.Now().Add(w.timeout)
	if until.Sub(w.until) < deadlineStep(w.timeout) {
		return
	}
	w.until = until
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closing {
		_ = w.conn.SetWriteDeadline(until) // as in close
	}
}

// fail closes the connection, so that whoever reads it ends as well.
func (w *joinedWriter) fail(err error) {
	w.mu.Lock()
	w.err = err
	w.changed.Broadcast()
	w.mu.Unlock()
	cutBelowTLS(w.conn)
}

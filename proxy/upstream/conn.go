package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// conn is one connection to a service. Reading and writing may go on in two
// goroutines; each direction belongs to one at a time.
type conn struct {
	net.Conn
	tcp    net.Conn // below TLS
	alive  func() bool
	target Target
	reader *bufio.Reader

	requests  int       // sent so far, with the current one
	kept      bool      // came out of the pool
	idleSince time.Time // while in the pool

	writeUntil time.Time // deadline in force for writes

	// The rest is of the current request.
	times Timeouts
	// sent says that a byte of the request has left.
	sent bool
	// answered says that a byte of the answer has come.
	answered bool
	// headLeft bounds what is read as head; noHeadLimit while a body is read.
	headLeft int
	// uploading holds the read timeout back while the request is being sent.
	uploading atomic.Bool
	// readErr is what the connection itself last failed with, to tell a broken
	// connection from an answer that makes no sense.
	readErr error
}

const noHeadLimit = -1

var errHeadTooLarge = fmt.Errorf("%w: its head is larger than %d bytes", ErrInvalid, maxHead)

func (c *conn) setReader() {
	c.reader = bufio.NewReaderSize(c, bufferSize)
}

// begin makes the connection ready for a request.
func (c *conn) begin(times Timeouts) {
	c.times = times
	c.requests++
	c.sent, c.answered, c.readErr = false, false, nil
	c.headLeft = maxHead
}

// Read reads what is there, and waits for the read timeout at most. It is what
// the bufio.Reader reads from.
func (c *conn) Read(p []byte) (int, error) {
	if c.headLeft == 0 {
		return 0, errHeadTooLarge
	}
	if c.headLeft > 0 && len(p) > c.headLeft {
		p = p[:c.headLeft]
	}
	if !c.uploading.Load() {
		if err := c.SetReadDeadline(time.Now().Add(c.times.Read)); err != nil {
			return 0, c.failed(err)
		}
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.answered = true
		if c.headLeft > 0 {
			c.headLeft -= n
		}
	}
	if err != nil {
		return n, c.failed(err)
	}
	return n, nil
}

// surplus says whether more has been read than the answer. What is still in the
// socket is for the next one to look at, see aliveness.
func (c *conn) surplus() bool {
	if c.reader.Buffered() > 0 {
		return true
	}
	if c.Conn == c.tcp {
		return false
	}
	// TLS may hold what came in one record with the end of the answer. After its
	// deadline it reads nothing further, and Read sets another one.
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return true
	}
	var b [1]byte
	_, err := c.Conn.Read(b[:])
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *conn) failed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: nothing read for %v", ErrTimeout, c.times.Read)
	}
	c.readErr = err
	return err
}

// Write writes all of p, and waits for the write timeout at most.
func (c *conn) Write(p []byte) (int, error) {
	// Moving a deadline costs more than reading the clock; a sixtieth of the
	// timeout does not matter.
	if until := time.Now().Add(c.times.Write); until.Sub(c.writeUntil).Abs() > c.times.Write/60 {
		if err := c.SetWriteDeadline(until); err != nil {
			return 0, fmt.Errorf("write to upstream: %w", err)
		}
		c.writeUntil = until
	}
	n, err := c.Conn.Write(p)
	c.sent = c.sent || n > 0
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("%w: nothing written for %v", ErrTimeout, c.times.Write)
	case err != nil:
		return n, fmt.Errorf("write to upstream: %w", err)
	}
	return n, nil
}

// uploaded starts the read timeout, which nginx counts from the end of the
// request.
func (c *conn) uploaded() {
	c.uploading.Store(false)
	// A failure shows at the next read.
	_ = c.SetReadDeadline(time.Now().Add(c.times.Read))
}

// cut closes the connection below TLS, so that it never waits to say goodbye.
// Whoever reads or writes fails at once. Safe for concurrent use.
func (c *conn) cut() {
	// There is nothing to do about a connection that cannot even be closed.
	_ = c.tcp.Close()
}

// silent waits a while for the answer to begin, and says whether it did not.
func (c *conn) silent(wait time.Duration) bool {
	times := c.times
	c.times.Read = wait
	_, err := c.reader.Peek(1)
	c.times = times
	return errors.Is(err, ErrTimeout)
}

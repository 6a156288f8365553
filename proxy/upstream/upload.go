package upstream

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
)

// upload streams a request's body to the service while the answer may already
// be coming. Its goroutine ends before end returns.
type upload struct {
	conn *conn
	req  *Request
	done chan struct{} // nil before start
	// sent is true once all of the body is on its way.
	sent atomic.Bool
	// cause is why the upload closed the connection, set before it does.
	cause atomic.Pointer[error]
}

func (u *upload) started() bool  { return u.done != nil }
func (u *upload) complete() bool { return u.sent.Load() }

func (u *upload) start() {
	u.done = make(chan struct{})
	u.conn.uploading.Store(true)
	// A kept connection has an old deadline. A failure shows at the next read.
	_ = u.conn.SetReadDeadline(noTime)
	go u.run()
}

// end waits until the body is not read any more. The connection has been cut,
// or the upload is complete.
func (u *upload) end() {
	if u.done == nil {
		return
	}
	if !u.complete() {
		u.req.StopBody()
	}
	<-u.done
}

func (u *upload) run() {
	defer close(u.done)
	err := u.copy()
	switch {
	case err == nil:
		u.sent.Store(true)
		u.conn.uploaded()
	case errors.Is(err, ErrBody), errors.Is(err, ErrTimeout):
		u.cause.Store(&err)
		u.conn.cut()
	default:
		// The service stopped reading. It may have answered, so let the reader
		// see.
		u.conn.uploaded()
	}
}

// pieces holds the buffers of uploads: chunkHead bytes, the piece, CR LF.
var pieces = sync.Pool{New: func() any { return new([chunkHead + pieceSize + lastChunkMax]byte) }}

const (
	chunkHead    = len("ffffffff\r\n")
	lastChunkMax = len("\r\n0\r\n")
)

func (u *upload) copy() error {
	buf := pieces.Get().(*[chunkHead + pieceSize + lastChunkMax]byte)
	defer pieces.Put(buf)
	if u.req.ContentLength >= 0 {
		return u.copyKnown(buf[:pieceSize])
	}
	return u.copyChunked(buf[:])
}

func (u *upload) copyKnown(buf []byte) error {
	for left := u.req.ContentLength; left > 0; {
		n, err := u.req.Body.Read(buf[:min(int64(len(buf)), left)])
		left -= int64(n)
		if n > 0 {
			if _, werr := u.conn.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if err != nil && left > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("%w: %w", ErrBody, err)
		}
	}
	return nil
}

func (u *upload) copyChunked(buf []byte) error {
	for {
		n, err := u.req.Body.Read(buf[chunkHead : chunkHead+pieceSize])
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return fmt.Errorf("%w: %w", ErrBody, err)
		}
		var message []byte
		if n > 0 {
			message = frameChunk(buf, n)
		}
		if last {
			message = appendTrailer(append(message, "0\r\n"...), u.req)
		}
		if len(message) > 0 {
			if _, werr := u.conn.Write(message); werr != nil {
				return werr
			}
		}
		if last {
			return nil
		}
	}
}

// frameChunk puts the size of the n bytes after the room for it before them,
// and gives the whole chunk.
func frameChunk(buf []byte, n int) []byte {
	var size [chunkHead]byte
	digits := strconv.AppendInt(size[:0], int64(n), 16)
	digits = append(digits, "\r\n"...)
	start := chunkHead - len(digits)
	copy(buf[start:], digits)
	return append(buf[start:chunkHead+n], "\r\n"...)
}

func appendTrailer(b []byte, req *Request) []byte {
	if req.Trailer != nil {
		b = req.Trailer().AppendTo(b)
	}
	return append(b, "\r\n"...)
}

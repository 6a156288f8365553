package proxy

import (
	"fmt"
	"io"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/http1"
)

// requestBody reads a request's body from the client's connection.
type requestBody struct {
	x       *h1
	framing http1.Framing
	left    int64 // of a body of known length
	chunks  http1.Chunked
	ended   bool
	read    int64
	failure error // why the request has to be refused, if it has to
	// broken is how reading has failed. A plugin that does not mind it must not
	// have the core wait for more, or read on in the middle of something.
	broken error
	// polling makes Read give evloop.ErrAgain where it would wait.
	polling bool
	// continued says that the client has been told to send its body.
	continued bool
}

func (b *requestBody) reset() {
	x := b.x
	if b.framing.Chunked {
		b.chunks.Reset()
	}
	chunks := b.chunks
	*b = requestBody{x: x, chunks: chunks, ended: true}
}

func (b *requestBody) begin(f http1.Framing) {
	b.framing, b.left = f, f.Length
	b.ended = !f.Chunked && f.Length == 0
}

func (b *requestBody) present() bool { return b.framing.Chunked || b.framing.Length > 0 }
func (b *requestBody) done() bool    { return b.ended }

// Read implements io.Reader. Unless polling it waits, for a plugin or for the
// whole of a small body.
func (b *requestBody) Read(p []byte) (int, error) {
	for {
		n, err := b.piece(p)
		switch {
		case b.failure != nil:
			return 0, b.failure
		case err != evloop.ErrAgain:
			return n, err
		case !b.continued && b.x.expect:
			if err := b.tellContinue(); err != nil {
				return 0, err
			}
		case b.polling:
			return 0, evloop.ErrAgain
		default:
			if err := b.await(); err != nil {
				return 0, err
			}
		}
	}
}

// held gives the whole body if all of it came with the head, which is how most
// small ones come; else nil. A plugin may have put another in its place.
func (b *requestBody) held() []byte {
	x := b.x
	if !b.present() || b.framing.Chunked || b.left != b.framing.Length || int64(len(x.in)-x.at) < b.left || x.Request.Body != io.Reader(b) {
		return nil
	}
	body := x.in[x.at : x.at+int(b.left)]
	x.at += int(b.left)
	b.read, b.left, b.ended = b.left, 0, true
	return body
}

// await waits for more of the body.
func (b *requestBody) await() error {
	x := b.x
	t := &x.c.task
	t.Detach()
	timeout := x.proxy.cfg.BodyTimeout
	t.SetDeadline(t.Now().Add(timeout))
	for t.Wait(); !x.c.conn.Readable(); t.Wait() { // others poke it, too
		if t.Expired() {
			return b.timedOut()
		}
	}
	return nil
}

// timedOut refuses a request whose body does not come.
func (b *requestBody) timedOut() error {
	b.failure = fmt.Errorf("%w: nothing read for %v", errBodyTimeout, b.x.proxy.cfg.BodyTimeout)
	return b.failure
}

// tellContinue lets the client send its body (RFC 9110, section 10.1.1).
func (b *requestBody) tellContinue() error {
	b.continued = true
	x := b.x
	if x.headSent {
		return nil // it would end up within the answer
	}
	const text = "HTTP/1.1 100 Continue\r\n\r\n"
	if x.outAt < len(x.out) { // an interim answer that the client has not taken yet
		x.out = append(x.out, text...)
		return nil
	}
	n, err := x.c.stream.Write([]byte(text))
	if err == evloop.ErrAgain {
		x.out = append(x.out, text[n:]...) // goes before all else
		return nil
	}
	return err
}

// piece gives what is there of the body, io.EOF with or after its last byte.
func (b *requestBody) piece(p []byte) (int, error) {
	switch {
	case b.ended:
		return 0, io.EOF
	case b.failure != nil:
		return 0, b.failure
	case b.broken != nil:
		return 0, b.broken
	case len(p) == 0:
		return 0, nil
	}
	var n int
	var err error
	if b.framing.Chunked {
		n, err = b.chunkedPiece(p)
	} else {
		n, err = b.rawPiece(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		b.ended = b.left == 0
	}
	b.read += int64(n)
	switch limit := b.x.proxy.cfg.MaxBodyBytes; {
	case limit > 0 && b.read > limit:
		b.failure = errBodyTooLarge
		return 0, b.failure
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	switch {
	case err == nil && b.ended:
		err = io.EOF
	case err != nil && err != evloop.ErrAgain:
		b.broken = err
	}
	return n, err
}

func (b *requestBody) rawPiece(p []byte) (int, error) {
	x := b.x
	if x.at < len(x.in) {
		n := copy(p, x.in[x.at:])
		x.at += n
		return n, nil
	}
	return x.c.stream.Read(p)
}

// chunkedPiece decodes within p what it reads into it.
func (b *requestBody) chunkedPiece(p []byte) (int, error) {
	x := b.x
	for {
		var coded []byte
		buffered := x.at < len(x.in)
		if buffered {
			coded = x.in[x.at:]
			coded = coded[:min(len(coded), len(p))]
		} else {
			n, err := x.c.stream.Read(p)
			if n == 0 {
				return 0, err
			}
			coded = p[:n]
		}
		n, used, err := b.decode(p, coded)
		if buffered {
			x.at += used
		} else if b.ended && used < len(coded) {
			// The beginning of the next request.
			x.in = append(x.in[:x.at], coded[used:]...)
		}
		if err != nil {
			return 0, err
		}
		if n > 0 || b.ended {
			return n, nil
		}
	}
}

// decode puts the data of coded, which may lie within p, at the beginning of p.
func (b *requestBody) decode(p, coded []byte) (n, used int, err error) {
	for used < len(coded) && !b.ended {
		data, k, err := b.chunks.Next(coded[used:])
		if err != nil {
			return 0, used, err
		}
		used += k
		n += copy(p[n:], data)
		b.ended = b.chunks.Done()
	}
	return n, used, nil
}

package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sluicegate/sluice/proxy/http1"
)

// head is the head of an answer.
type head struct {
	status  int
	header  http.Header
	framing http1.Framing
	close   bool // the service closes the connection after this answer
}

// readHead reads one head of an answer to a request of a method. A connection
// that fails gives its own error, what is no HTTP/1 gives ErrInvalid: what is
// refused is the same as in the engine on a Link.
func (c *conn) readHead(method string) (*head, error) {
	c.headLeft = maxHead
	var resp http1.Response
	// The fields lie in it: it cannot be the reader's own buffer.
	var wire []byte
	for {
		if _, err := c.reader.Peek(1); err != nil {
			return nil, c.headError(err)
		}
		piece, _ := c.reader.Peek(c.reader.Buffered()) // is there
		wire = append(wire, piece...)
		n, err := resp.Parse(wire, http1.Limits{Bytes: maxHead})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		after := 0
		if n > 0 {
			after = len(wire) - n
		}
		_, _ = c.reader.Discard(len(piece) - after) // is there
		if n > 0 {
			return newHead(&resp, method)
		}
	}
}

func newHead(resp *http1.Response, method string) (*head, error) {
	framing, err := resp.Framing(method)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &head{status: resp.Status, header: toHTTP(&resp.Fields), framing: framing, close: !resp.KeepAlive()}, nil
}

// toHTTP gives fields in net/http's form.
func toHTTP(fields *http1.Fields) http.Header {
	h := make(http.Header, fields.Len())
	for name, value := range fields.All {
		h.Add(name, value)
	}
	return h
}

func (c *conn) headError(err error) error {
	switch {
	case errors.Is(err, ErrInvalid):
		return err
	case c.readErr == nil:
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.Is(c.readErr, io.EOF):
		return fmt.Errorf("upstream closed the connection before it answered: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read from upstream: %w", c.readErr)
}

// noBody is a body without a byte.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }

// body is the body of an answer on an HTTP/1 connection.
type body struct {
	conn    *conn
	chunked *http1.Chunked // nil unless the body is chunked
	// left is what remains of a body of known length.
	left       int64
	length     int64 // -1: not known
	untilClose bool
	ended      bool
	// exceeded says that something came after the end, and was read with it.
	exceeded bool
	trailer  http.Header
}

// frame makes it the body that a head announces.
func (b *body) frame(c *conn, h *head) {
	b.conn, b.length = c, h.framing.Length
	delete(h.header, "Transfer-Encoding")
	if !h.framing.Chunked {
		delete(h.header, "Trailer") // only chunks have one
	}
	switch {
	case h.framing.NoBody:
		b.ended = true
	case h.framing.Chunked:
		b.chunked = new(http1.Chunked)
	case h.framing.UntilClose:
		b.untilClose = true
	default:
		b.left, b.ended = b.length, b.length == 0
	}
}

// Read gives io.EOF together with the last byte where the end is known, so
// that a whole small body takes one call.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.ended:
		return 0, io.EOF
	case b.chunked != nil:
		return b.readChunked(p)
	case b.untilClose:
		n, err := b.conn.reader.Read(p)
		b.ended = errors.Is(err, io.EOF)
		return n, err
	}
	n, err := b.conn.reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		b.ended, err = true, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// readChunked decodes in place what it reads.
func (b *body) readChunked(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for n == 0 && !b.ended {
		k, err := b.conn.reader.Read(p)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		if n, err = b.decode(p[:k]); err != nil {
			return n, err
		}
	}
	if b.ended {
		return n, io.EOF
	}
	return n, nil
}

// decode leaves the data of chunks at the beginning of p.
func (b *body) decode(p []byte) (n int, err error) {
	for in := p; len(in) > 0; {
		if b.chunked.Done() {
			b.exceeded = true
			break
		}
		data, k, err := b.chunked.Next(in)
		if err != nil {
			return n, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		n += copy(p[n:], data)
		in = in[k:]
	}
	if b.ended = b.chunked.Done(); b.ended && b.chunked.Trailer().Len() > 0 {
		b.trailer = toHTTP(b.chunked.Trailer())
	}
	return n, nil
}

func (b *body) trailers() http.Header { return b.trailer }

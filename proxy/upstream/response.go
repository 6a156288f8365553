package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
)

// head is the head of an answer.
type head struct {
	status int
	header http.Header
	minor  int  // of HTTP/1.x
	close  bool // the service closes the connection after this answer
}

// readHead reads one head. A connection that fails gives its own error, what
// is no HTTP/1 gives ErrInvalid.
func (c *conn) readHead() (*head, error) {
	c.headLeft = maxHead
	line, err := c.text.ReadLine()
	if err != nil {
		return nil, c.headError(err)
	}
	h := new(head)
	if !h.parseStatusLine(line) {
		return nil, fmt.Errorf("%w: its status line is %.60q", ErrInvalid, line)
	}
	fields, err := c.text.ReadMIMEHeader()
	if err != nil {
		return nil, c.headError(err)
	}
	h.header = http.Header(fields)
	h.close = h.minor == 0 && !hasToken(h.header["Connection"], "keep-alive") || hasToken(h.header["Connection"], "close")
	return h, nil
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

// parseStatusLine reads "HTTP/1.1 200 OK" (RFC 9112, section 4); the reason may
// be missing.
func (h *head) parseStatusLine(line string) bool {
	const form = "HTTP/1.1 200"
	if len(line) < len(form) || line[:7] != "HTTP/1." || line[8] != ' ' ||
		len(line) > len(form) && line[len(form)] != ' ' {
		return false
	}
	minor, status := line[7], line[9:12]
	if minor != '0' && minor != '1' {
		return false
	}
	for i := range len(status) {
		if status[i] < '0' || status[i] > '9' {
			return false
		}
	}
	h.minor = int(minor - '0')
	h.status = int(status[0]-'0')*100 + int(status[1]-'0')*10 + int(status[2]-'0')
	return h.status >= 100
}

// hasToken says whether a list field has an element, without regard to case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for element := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(element), token) {
				return true
			}
		}
	}
	return false
}

// noBody is a body without a byte.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }

// body is the body of an answer on an HTTP/1 connection.
type body struct {
	conn    *conn
	chunked io.Reader // nil unless the body is chunked
	// left is what remains of a body of known length.
	left       int64
	length     int64 // -1: not known
	untilClose bool
	ended      bool
	trailer    http.Header
}

// frame finds where the body ends (RFC 9112, section 6.3). What is ambiguous
// is refused: two readers who disagree about an end are how answers get mixed
// up.
func (b *body) frame(c *conn, h *head, method string) error {
	b.conn = c
	encoding, lengths := h.header["Transfer-Encoding"], h.header["Content-Length"]
	delete(h.header, "Transfer-Encoding")
	if len(encoding) == 0 {
		delete(h.header, "Trailer") // only chunks have one
	}
	known := int64(-1)
	if len(lengths) > 0 {
		var err error
		if known, err = parseLength(lengths); err != nil {
			return err
		}
		h.header["Content-Length"] = lengths[:1]
	}
	switch {
	case method == http.MethodHead, h.status == http.StatusNotModified:
		b.length, b.ended = known, true
	case h.status == http.StatusNoContent:
		delete(h.header, "Content-Length")
		b.ended = true
	case len(encoding) > 0:
		if len(encoding) > 1 || !strings.EqualFold(encoding[0], "chunked") || known >= 0 || h.minor == 0 {
			return fmt.Errorf("%w: unclear framing: Transfer-Encoding %.60q, Content-Length %.60q", ErrInvalid, encoding, lengths)
		}
		b.length = -1
		b.chunked = httputil.NewChunkedReader(c.reader)
	case known >= 0:
		b.length, b.left, b.ended = known, known, known == 0
	default:
		b.length, b.untilClose = -1, true
	}
	return nil
}

func parseLength(values []string) (int64, error) {
	for _, v := range values {
		if v != values[0] || v == "" || strings.Trim(v, "0123456789") != "" {
			return 0, fmt.Errorf("%w: Content-Length %.60q", ErrInvalid, values)
		}
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: Content-Length: %w", ErrInvalid, err)
	}
	return n, nil
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

func (b *body) readChunked(p []byte) (int, error) {
	n, err := b.chunked.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	b.conn.headLeft = maxHead
	fields, terr := b.conn.text.ReadMIMEHeader()
	b.conn.headLeft = noHeadLimit
	if terr != nil {
		return n, fmt.Errorf("trailer: %w", b.conn.headError(terr))
	}
	b.ended = true
	if len(fields) > 0 {
		b.trailer = http.Header(fields)
	}
	return n, io.EOF
}

func (b *body) trailers() http.Header { return b.trailer }

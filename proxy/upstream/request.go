package upstream

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// noTime as deadline means none.
var noTime time.Time

// heads holds the buffers that request heads are put together in.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

// maxPooledHead keeps a rare large request from staying in memory.
const maxPooledHead = 4 * bufferSize

// checkTarget refuses what would break the framing of the request line.
func checkTarget(req *Request) error {
	if req.URI == "" || req.URI[0] != '/' {
		return fmt.Errorf("%w: target %q does not begin with a slash", ErrRequest, req.URI)
	}
	for _, s := range [...]string{req.Method, req.URI, req.Authority} {
		for i := range len(s) {
			if s[i] <= ' ' || s[i] == 0x7f {
				return fmt.Errorf("%w: %q has a space or a control character", ErrRequest, s)
			}
		}
	}
	return nil
}

// writeHead sends the head of a request, with its body when that is whole.
func (c *client) writeHead(cn *conn, req *Request) error {
	buf := heads.Get().(*[]byte)
	b := appendHead((*buf)[:0], req)
	together := len(req.Whole) <= maxPooledHead-len(b)
	if together {
		b = append(b, req.Whole...)
	}
	_, err := cn.Write(b)
	if err == nil && !together {
		_, err = cn.Write(req.Whole)
	}
	if cap(b) <= maxPooledHead {
		*buf = b
		heads.Put(buf)
	}
	return err
}

func appendHead(b []byte, req *Request) []byte {
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, req.URI...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", req.Authority)
	if req.Upgrade != "" {
		b = append(b, "Connection: keep-alive, Upgrade\r\n"...)
		b = appendField(b, "Upgrade", req.Upgrade)
	} else {
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	if req.Header != nil {
		req.Header.All(func(name, value string) bool {
			if !isFraming(name) {
				b = appendField(b, name, value)
			}
			return true
		})
	}
	b = appendFraming(b, req)
	return append(b, "\r\n"...)
}

func appendFraming(b []byte, req *Request) []byte {
	switch {
	case req.Body != nil && req.ContentLength < 0:
		return append(b, "Transfer-Encoding: chunked\r\n"...)
	case req.Body != nil:
		return appendLength(b, req.ContentLength)
	case req.Whole != nil:
		return appendLength(b, int64(len(req.Whole)))
	}
	switch req.Method {
	case "POST", "PUT", "PATCH": // RFC 9110, section 8.6: these usually have a body
		return appendLength(b, 0)
	}
	return b
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// isFraming says whether a field is one that appendHead writes itself.
func isFraming(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Upgrade"):
		return strings.EqualFold(name, "Upgrade")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

// appendField writes a field line. A field with a name that is no token is
// left out, and control characters in a value become spaces: a plugin must not
// be able to start another line.
func appendField(b []byte, name, value string) []byte {
	if !isToken(name) {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c == 0x7f {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return append(b, "\r\n"...)
}

// isToken checks a field name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

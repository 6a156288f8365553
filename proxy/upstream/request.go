package upstream

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/proxy/http1"
)

// noTime as deadline means none.
var noTime time.Time

// heads holds the buffers that request heads are put together in.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

// maxPooledHead keeps a rare large request from staying in memory.
const maxPooledHead = 4 * bufferSize

// Check refuses what would break the framing of the request line, with
// ErrRequest.
func Check(req *Request) error {
	if req.URI == "" || req.URI[0] != '/' {
		return fmt.Errorf("%w: target %q does not begin with a slash", ErrRequest, req.URI)
	}
	for _, s := range [...]string{req.Method, req.URI, req.Authority} {
		if !http1.IsWord(s) {
			return fmt.Errorf("%w: %q has a space or a control character", ErrRequest, s)
		}
	}
	return nil
}

// writeHead sends the head of a request, with its body when that is whole.
func (c *client) writeHead(cn *conn, req *Request) error {
	buf := heads.Get().(*[]byte)
	b := AppendHead((*buf)[:0], req)
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

// AppendHead appends the head of a request as it goes to a service that speaks
// HTTP/1.1.
func AppendHead(b []byte, req *Request) []byte {
	b = http1.AppendRequestLine(b, req.Method, req.URI)
	b = http1.AppendField(b, "Host", req.Authority)
	if req.Upgrade != "" {
		b = append(b, "Connection: keep-alive, Upgrade\r\n"...)
		b = http1.AppendField(b, "Upgrade", req.Upgrade)
	} else {
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	if req.Header != nil {
		for i := range req.Header.Len() {
			f := req.Header.At(i)
			if !isFraming(f.Name) {
				// It was parsed or set with care: see http1.Fields.
				b = append(b, f.Name...)
				b = append(b, ": "...)
				b = append(b, f.Value...)
				b = append(b, "\r\n"...)
			}
		}
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

// isFraming says whether a field is one that AppendHead writes itself.
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

// Agreed says whether the protocols that a service switches to are among those
// that it was asked for. One that names none is taken to mean what was asked.
func Agreed(asked, answered string) bool {
	for a := range strings.SplitSeq(answered, ",") {
		known := answered == ""
		for b := range strings.SplitSeq(asked, ",") {
			known = known || strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
		}
		if !known {
			return false
		}
	}
	return true
}

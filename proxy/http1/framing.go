package http1

// The names that every head is searched for.
var (
	contentLength    = NameOf("Content-Length")
	transferEncoding = NameOf("Transfer-Encoding")
	connection       = NameOf("Connection")
	hostField        = NameOf("Host")
)

// Framing says how a body is delimited (RFC 9112, section 6).
type Framing struct {
	// Length is the body's length in bytes, -1 if it is not known beforehand.
	// With NoBody it is what Content-Length announces.
	Length int64
	// Chunked: the body is in chunked coding, see [Chunked].
	Chunked bool
	// UntilClose: the body ends with the connection. After a response to
	// CONNECT it is a tunnel.
	UntilClose bool
	// NoBody: nothing follows the head, whatever Length says. Only responses
	// have it: those to HEAD, and 1xx, 204 and 304.
	NoBody bool
}

// framing reads Content-Length and Transfer-Encoding. length is -1 without the
// former. merge allows equal Content-Length lines, as services send them.
func (f *Fields) framing(minor int, merge bool) (length int64, chunked bool, bad fault) {
	length = -1
	value, next, known := f.next(contentLength, 0)
	if known {
		if length = parseLength(value); length < 0 {
			return -1, false, faultLength
		}
		for {
			again, after, more := f.next(contentLength, next)
			if !more {
				break
			}
			if !merge || again != value {
				return -1, false, faultLengths
			}
			next = after
		}
	}
	coding, next, coded := f.next(transferEncoding, 0)
	if !coded {
		return length, false, sound
	}
	_, _, more := f.next(transferEncoding, next)
	switch {
	case known:
		return -1, false, faultBoth
	case minor == 0:
		return -1, false, faultCoding10
	case more:
		return -1, false, faultCodings
	case !equalFold(coding, "chunked"):
		return -1, false, faultCoding
	}
	return -1, true, sound
}

// parseLength reads a Content-Length: digits, without a sign, within int64. It
// gives -1 for anything else.
func parseLength(s string) (n int64) {
	const most = 1<<63 - 1
	if s == "" {
		return -1
	}
	for i := range len(s) {
		digit := int64(s[i]) - '0'
		if digit < 0 || digit > 9 || n > (most-digit)/10 {
			return -1
		}
		n = n*10 + digit
	}
	return n
}

// keepAlive is RFC 9112, section 9.3.
func (f *Fields) keepAlive(minor int) bool {
	if minor > 0 {
		return !f.hasToken(connection, "close")
	}
	return f.hasToken(connection, "keep-alive") && !f.hasToken(connection, "close")
}

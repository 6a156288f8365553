// Package http1 reads and writes the messages of HTTP/1.1 (RFC 9112), strictly:
// what two readers could understand differently is refused. It does no I/O,
// knows no clock, and does not allocate once its values have been used.
//
// Strings of a parsed head share the memory of the buffer that was parsed. They
// are valid as long as that buffer is left alone.
package http1

import "bytes"

// Request is the head of a request. The zero value is ready; reuse it for the
// next request of a connection. It is not safe for concurrent use.
type Request struct {
	Method string
	Target string // as sent, in one of the forms of RFC 9112, section 3.2
	Minor  int    // of HTTP/1.x: 0 or 1
	Fields Fields

	seen progress
	host string
	// rest is where the path begins in Target; -1 for a target without one.
	rest      int
	framing   Framing
	unframed  fault
	keepAlive bool
}

// Parse reads a head from the beginning of buf and gives its length. With n 0
// and no error the head is not complete: call it again with the same bytes and
// more behind them, in the same or in another buffer. It remembers how far it
// looked, so that this costs little however small the pieces are: a head is
// parsed with its first piece, then only looked through for its end and for lines
// that do not end in CR LF. To give up a head half-way, call [Request.Reset].
//
// An error is an [*Error] with the status to answer; the connection is to be
// closed after it. Method and Target are then what was read of them, and may be
// empty.
func (r *Request) Parse(buf []byte, lim Limits) (n int, err error) {
	lim = lim.orDefault()
	full := len(buf) >= lim.Bytes
	if full {
		buf = buf[:lim.Bytes]
	} else if r.seen.waits(buf) {
		return 0, nil
	}
	r.Reset()
	n, bad := r.parse(buf, lim.Fields)
	switch {
	case bad != sound:
		return 0, requestErrors[bad]
	case n > 0:
		return n, nil
	case full:
		return 0, requestErrors[r.tooLarge(buf)]
	}
	r.seen = progress(len(buf))
	return 0, nil
}

// Reset makes the request as good as new, but keeps the memory of its fields.
func (r *Request) Reset() {
	r.Fields.Reset()
	r.Method, r.Target, r.Minor, r.host, r.rest = "", "", 0, "", 0
	r.seen, r.framing, r.unframed, r.keepAlive = 0, Framing{}, sound, false
}

// parse gives the length of the head, 0 if it is not complete.
func (r *Request) parse(b []byte, most int) (n int, bad fault) {
	start := 0
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		start = 2 // some clients end a body with one too many (RFC 9112, section 2.2)
	}
	end := bytes.IndexByte(b[start:], '\n')
	if end < 0 {
		return 0, beginning(bytes.TrimSuffix(b[start:], []byte("\r"))) // half an end
	}
	end += start
	if end == start || b[end-1] != '\r' {
		if bad := beginning(b[start:end]); bad != sound {
			return 0, bad
		}
		return 0, faultLine
	}
	form, bad := r.parseLine(b[start:end-1], start == 0)
	if bad != sound {
		return 0, bad
	}
	n, bad = r.Fields.parse(b, end+1, most)
	if n == 0 || bad != sound {
		return 0, bad
	}
	if bad = r.settleHost(form); bad != sound {
		return 0, bad
	}
	r.settleBody()
	return n, sound
}

// beginning judges a request line by its method, before it is complete: a client
// that speaks something else (TLS, say) is not waited for.
func beginning(b []byte) fault {
	for i, c := range b {
		switch {
		case c == ' ' && i > 0:
			return sound
		case class[c]&notToken != 0:
			return faultMethod
		}
	}
	return sound
}

// tooLarge says what is too large about a head that fills its limit.
func (r *Request) tooLarge(b []byte) fault {
	switch {
	case r.Target != "" || bytes.IndexByte(b, '\n') > 1:
		return faultHead
	case bytes.IndexByte(b, ' ') >= 0:
		return faultTargetLong
	}
	return faultMethod
}

const version = " HTTP/1."

// parseLine reads a request line, without its end. first says that nothing came
// before it.
func (r *Request) parseLine(line []byte, first bool) (targetForm, fault) {
	last := len(line) - len(version) - 1
	if last < 0 || string(line[last:last+len(version)]) != version {
		return 0, otherVersion(line, first)
	}
	switch line[len(line)-1] {
	case '0':
	case '1':
		r.Minor = 1
	default:
		return 0, otherVersion(line, first)
	}
	i := 0
	for i < last && class[line[i]]&notToken == 0 {
		i++
	}
	switch {
	case i == 0 || i < last && line[i] != ' ':
		return 0, faultMethod
	case i == last:
		return 0, faultRequestLine
	}
	r.Method, r.Target = text(line[:i]), text(line[i+1:last])
	return r.parseTarget()
}

// otherVersion judges a request line that does not end in a version of ours.
func otherVersion(line []byte, first bool) fault {
	if first && string(line) == "PRI * HTTP/2.0" {
		return faultPreface
	}
	if bad := beginning(line); bad != sound {
		return bad
	}
	const form = " HTTP/1.1"
	at := len(line) - len(form)
	if at < 0 || string(line[at:at+6]) != form[:6] || class[line[at+6]]&notDigit != 0 ||
		line[at+7] != '.' || class[line[at+8]]&notDigit != 0 || bytes.IndexByte(line[:at], ' ') <= 0 {
		return faultRequestLine
	}
	return faultVersion
}

// Framing says where the body ends. It was decided by Parse and does not change
// with Fields. After an error, which has a status to answer, the connection is
// to be closed.
func (r *Request) Framing() (Framing, error) {
	if r.unframed != sound {
		return Framing{}, requestErrors[r.unframed]
	}
	return r.framing, nil
}

// KeepAlive says whether the client lets the connection go on after this
// request (RFC 9112, section 9.3). It was decided by Parse.
func (r *Request) KeepAlive() bool { return r.keepAlive }

// settleBody decides what must not change when Fields is edited.
func (r *Request) settleBody() {
	r.keepAlive = r.Fields.keepAlive(r.Minor)
	length, chunked, bad := r.Fields.framing(r.Minor, false)
	r.unframed = bad
	r.framing = Framing{Length: max(length, 0)}
	if chunked {
		r.framing = Framing{Length: -1, Chunked: true}
	}
}

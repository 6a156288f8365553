package http1

import "bytes"

// Response is the head of a response. The zero value is ready; reuse it for the
// next response of a connection. It is not safe for concurrent use.
type Response struct {
	Status int    // 100 to 999
	Reason string // as sent, often empty
	Minor  int    // of HTTP/1.x: 0 or 1
	Fields Fields

	seen      progress
	length    int64
	chunked   bool
	unframed  fault
	keepAlive bool
}

// Parse reads a head from the beginning of buf and gives its length, in the
// manner of [Request.Parse]. Every error is an [ErrInvalid].
func (r *Response) Parse(buf []byte, lim Limits) (n int, err error) {
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
		return 0, responseErrors[bad]
	case n > 0:
		return n, nil
	case full:
		return 0, responseErrors[faultHead]
	}
	r.seen = progress(len(buf))
	return 0, nil
}

// Reset makes the response as good as new, but keeps the memory of its fields.
func (r *Response) Reset() {
	r.Fields.Reset()
	r.Status, r.Reason, r.Minor = 0, "", 0
	r.seen, r.length, r.chunked, r.unframed, r.keepAlive = 0, 0, false, sound, false
}

// parse gives the length of the head, 0 if it is not complete.
func (r *Response) parse(b []byte, most int) (n int, bad fault) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		// What does not begin like HTTP is not waited for.
		if k := min(len(b), len(version)-1); string(b[:k]) != version[1:1+k] {
			return 0, faultStatusLine
		}
		return 0, sound
	}
	if end == 0 || b[end-1] != '\r' {
		return 0, r.parseBareLine(b[:end])
	}
	if !r.parseLine(b[:end-1]) {
		return 0, faultStatusLine
	}
	n, bad = r.Fields.parse(b, end+1, most)
	if n == 0 || bad != sound {
		return 0, bad
	}
	r.settleBody()
	return n, sound
}

// parseBareLine tells a status line that only ends badly from anything else.
func (r *Response) parseBareLine(line []byte) fault {
	if k := min(len(line), len(version)-1); string(line[:k]) != version[1:1+k] {
		return faultStatusLine
	}
	return faultLine
}

// parseLine reads a status line, without its end (RFC 9112, section 4). The
// reason may be missing, and the space before it too.
func (r *Response) parseLine(line []byte) bool {
	const form = "HTTP/1.1 200"
	if len(line) < len(form) || string(line[:7]) != form[:7] || line[8] != ' ' ||
		len(line) > len(form) && line[len(form)] != ' ' {
		return false
	}
	minor, status := line[7], line[9:12]
	if minor != '0' && minor != '1' || (class[status[0]]|class[status[1]]|class[status[2]])&notDigit != 0 {
		return false
	}
	r.Minor = int(minor - '0')
	r.Status = int(status[0]-'0')*100 + int(status[1]-'0')*10 + int(status[2]-'0')
	if len(line) > len(form) {
		reason := line[len(form)+1:]
		if skipText(reason, 0) < len(reason) {
			return false
		}
		r.Reason = text(reason)
	}
	return r.Status >= 100
}

// settleBody decides what must not change when Fields is edited.
func (r *Response) settleBody() {
	r.keepAlive = r.Fields.keepAlive(r.Minor)
	r.length, r.chunked, r.unframed = r.Fields.framing(r.Minor, true)
	if r.unframed != sound || r.length < 0 {
		return
	}
	if first := r.Fields.lookFor(contentLength, 0); r.Fields.lookFor(contentLength, first+1) >= 0 {
		r.Fields.remove("Content-Length", first+1)
	}
}

// Framing says where the body ends, for a response to a request of that method
// (RFC 9112, section 6.3). It does not change with Fields. Every error is an
// [ErrInvalid].
//
// Content-Length and Transfer-Encoding must be sound even where they mean
// nothing, as in a response to HEAD.
func (r *Response) Framing(method string) (Framing, error) {
	if r.unframed != sound {
		return Framing{}, responseErrors[r.unframed]
	}
	switch {
	case r.Status < 200:
		if r.chunked || r.length > 0 {
			return Framing{}, responseErrors[faultNoBody]
		}
		return Framing{NoBody: true}, nil
	case method == "CONNECT" && r.Status < 300:
		return Framing{Length: -1, UntilClose: true}, nil
	case r.Status == 204:
		return Framing{NoBody: true}, nil
	case method == "HEAD", r.Status == 304:
		return Framing{Length: r.length, NoBody: true}, nil
	case r.chunked:
		return Framing{Length: -1, Chunked: true}, nil
	case r.length >= 0:
		return Framing{Length: r.length}, nil
	}
	return Framing{Length: -1, UntilClose: true}, nil
}

// KeepAlive says whether the service lets the connection go on after this
// response (RFC 9112, section 9.3); with [Framing.UntilClose] it cannot. A 204
// that announces a body is not believed: the body could be what comes next.
func (r *Response) KeepAlive() bool {
	return r.keepAlive && (r.Status != 204 || !r.chunked && r.length <= 0)
}

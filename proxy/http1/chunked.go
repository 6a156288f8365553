package http1

import "bytes"

const (
	// maxSizeDigits keeps a chunk's size within int64.
	maxSizeDigits = 15
	// maxExtensions is how many bytes of chunk extensions may come beyond one
	// for each byte of data. Without a bound they are a body that never ends and
	// that no limit on bodies sees (CVE-2023-39326).
	maxExtensions = 4 << 10

	trailerBytes  = 8 << 10
	trailerFields = 64
)

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkTrailerLine
	chunkLastLF
	chunkDone
)

// Chunked decodes a body in chunked coding (RFC 9112, section 7.1), however it
// comes in pieces. It copies no data. The zero value is at the beginning of a
// body. It is not safe for concurrent use.
type Chunked struct {
	// TrailerLimits bounds the trailer section; 0 stands for 8 KiB and 64
	// fields.
	TrailerLimits Limits

	state      chunkState
	digits     uint8
	bad        fault
	left       int64 // of the chunk
	extensions int64
	held       []byte // the trailer section, as far as it came
	trailer    Fields
}

// Reset goes to the beginning of another body and keeps limits and memory.
func (c *Chunked) Reset() {
	c.trailer.Reset()
	*c = Chunked{TrailerLimits: c.TrailerLimits, held: c.held[:0], trailer: c.trailer}
}

// Done says that the body, with its trailer, has ended.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// Trailer gives the trailer fields once the body is done; before, and without
// any, it is empty. What must not come in a trailer (RFC 9110, section 6.5.1)
// was dropped. Strings are valid until Reset.
func (c *Chunked) Trailer() *Fields { return &c.trailer }

// Next decodes from in. It consumed n bytes; data, if not empty, is the next
// piece of the body and lies within them. Call it again with the rest, until in
// is used up or the body is done: what follows the body is not consumed. An
// error is an [*Error], for a request; it is final. For a response, answer 502.
func (c *Chunked) Next(in []byte) (data []byte, n int, err error) {
	for c.bad == sound && n < len(in) && c.state != chunkDone {
		if c.state == chunkData {
			k := int(min(int64(len(in)-n), c.left))
			if c.left -= int64(k); c.left == 0 {
				c.state = chunkDataCR
			}
			return in[n : n+k], n + k, nil
		}
		var k int
		k, c.bad = c.step(in[n:])
		n += k
	}
	if c.bad != sound {
		return nil, n, requestErrors[c.bad]
	}
	return nil, n, nil
}

// step consumes what is not data, at least one byte unless there is a fault.
func (c *Chunked) step(in []byte) (n int, bad fault) {
	b := in[0]
	switch c.state {
	case chunkSize:
		return c.sizeDigit(b)
	case chunkExtension:
		return c.extension(in)
	case chunkSizeLF:
		if c.state = chunkData; c.left == 0 {
			c.state = chunkTrailer
		}
		return expect(b, '\n', faultLine)
	case chunkDataCR:
		c.state = chunkDataLF
		return expect(b, '\r', faultChunkEnd)
	case chunkDataLF:
		c.state, c.digits = chunkSize, 0
		return expect(b, '\n', faultChunkEnd)
	case chunkTrailer:
		if b == '\r' {
			c.state = chunkLastLF
			return 1, sound
		}
		c.state = chunkTrailerLine
		return c.trailerLine(in)
	case chunkTrailerLine:
		return c.trailerLine(in)
	default: // chunkLastLF
		c.state = chunkDone
		return expect(b, '\n', faultLine)
	}
}

func expect(b, want byte, otherwise fault) (int, fault) {
	if b != want {
		return 0, otherwise
	}
	return 1, sound
}

// sizeDigit reads a chunk size. White space before an extension, which RFC 9112
// (section 7.1.1) would have us tolerate, is refused: others read it as the end
// of the line, or not at all, and nobody sends it.
func (c *Chunked) sizeDigit(b byte) (int, fault) {
	switch {
	case class[b]&notHex == 0:
		if c.digits == maxSizeDigits {
			return 0, faultChunkSize
		}
		c.digits++
		c.left = c.left<<4 | int64(hexValue(b))
	case c.digits == 0:
		return 0, faultChunkSize
	case b == '\r':
		c.state = chunkSizeLF
	case b == ';':
		c.state = chunkExtension
		c.extensions = max(c.extensions-c.left, 0)
	default:
		return 0, faultChunkSize
	}
	return 1, sound
}

func hexValue(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b&^0x20 - 'A' + 10
}

// extension passes over extensions.
func (c *Chunked) extension(in []byte) (n int, bad fault) {
	n = skipText(in, 0)
	if c.extensions += int64(n); c.extensions > maxExtensions {
		return 0, faultChunkExtension
	}
	switch {
	case n == len(in):
		return n, sound
	case in[n] == '\r':
		c.state = chunkSizeLF
		return n + 1, sound
	case in[n] == '\n':
		return n, faultLine
	}
	return n, faultChunkExtension
}

// trailerLine holds on to trailer lines, and reads them after the last.
func (c *Chunked) trailerLine(in []byte) (n int, bad fault) {
	lim := c.TrailerLimits
	if lim.Bytes <= 0 {
		lim.Bytes = trailerBytes
	}
	if lim.Fields <= 0 {
		lim.Fields = trailerFields
	}
	n = bytes.IndexByte(in, '\n') + 1
	ended := n > 0
	if !ended {
		n = len(in)
	}
	if len(c.held)+n > lim.Bytes {
		return 0, faultTrailer
	}
	c.held = append(c.held, in[:n]...)
	if !ended {
		return n, sound
	}
	last := len(c.held) - 1
	switch {
	case last == 0 || c.held[last-1] != '\r':
		return n, faultLine
	case last >= 2 && c.held[last-2] != '\n':
		return n, sound
	}
	if _, bad = c.trailer.parse(c.held, 0, lim.Fields); bad != sound {
		c.trailer.Reset()
		return n, bad
	}
	c.trailer.KeepTrailer()
	c.state = chunkDone
	return n, sound
}

// KeepTrailer removes the fields that must not come in a trailer (RFC 9110,
// section 6.5.1).
func (f *Fields) KeepTrailer() {
	for i := 0; i < len(f.list); {
		if name := f.list[i].Name; InTrailer(name) {
			i++
		} else {
			f.remove(name, i)
		}
	}
}

// InTrailer says whether a field of that name may come in a trailer.
func InTrailer(name string) bool { return isToken(name) && !forbiddenInTrailer(name) }

// forbiddenInTrailer says whether a field would change how the message is
// framed, routed, authenticated or read, and so must not come after the body.
func forbiddenInTrailer(name string) bool {
	for _, p := range [...]string{"Content-", "X-Forwarded-", "X-Consumer-", "X-Credential-"} {
		if len(name) > len(p) && equalFold(name[:len(p)], p) {
			return true
		}
	}
	for _, f := range [...]string{
		"Age", "Authorization", "Cache-Control", "Connection", "Cookie", "Date", "Expect", "Expires", "Forwarded",
		"Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive",
		"Location", "Max-Forwards", "Pragma", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Range", "Retry-After", "Set-Cookie", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Vary", "Via",
		"Warning", "WWW-Authenticate", "X-Real-IP",
	} {
		if equalFold(f, name) {
			return true
		}
	}
	return false
}

package router

import (
	"bytes"
	"strings"
)

// Classes of octets in a path (RFC 3986, section 2). All that is in neither
// class has to be percent-encoded.
const (
	unreserved = 1 << iota // means the same with and without percent-encoding
	reserved               // percent-encoding changes the meaning
)

const (
	unreservedChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	reservedChars   = "!*'();:@&=+$,/?#[]"
	upperHex        = "0123456789ABCDEF"
)

// class is a table of the constants above, never written to.
var class = func() (table [256]uint8) {
	for i := range len(unreservedChars) {
		table[unreservedChars[i]] = unreserved
	}
	for i := range len(reservedChars) {
		table[reservedChars[i]] = reserved
	}
	return table
}()

// Normalize returns the path in the form that [Request.Path] has and that goes
// upstream (RFC 3986, section 6.2.2): percent-escapes of unreserved characters
// decoded, other escapes in upper case, what is not a URI character escaped,
// dot segments removed and repeated slashes merged. A percent sign that starts
// no escape becomes %25.
//
// The result of an absolute path is absolute and free of dot segments, and
// normalising it again changes nothing. A path that is normal already is
// returned as it is, without an allocation.
//
// Kong decodes other octets than URI characters, too, and encodes them again on
// the way upstream. That comes to the same for clients and upstreams; here a
// decoded line feed never exists outside of a regular expression's subject.
func Normalize(path string) string {
	if isNormal(path) {
		return path
	}
	buf := appendNormalEscapes(make([]byte, 0, len(path)+16), path)
	return string(removeDotSegments(buf))
}

func isNormal(path string) bool {
	segment := 0 // where the current one starts
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '/':
			if i > 0 && isSpecialSegment(path[segment:i]) {
				return false
			}
			segment = i + 1
		case class[c] != 0:
		case c == '%' && isNormalEscape(path, i):
			i += 2
		default:
			return false
		}
	}
	last := path[segment:]
	return last != "." && last != ".."
}

// isSpecialSegment reports whether a segment before a slash has to go.
func isSpecialSegment(s string) bool { return s == "" || s == "." || s == ".." }

func isNormalEscape(path string, i int) bool {
	c, ok := unescape(path, i)
	return ok && class[c] != unreserved && !isLowerHex(path[i+1]) && !isLowerHex(path[i+2])
}

func isLowerHex(c byte) bool { return 'a' <= c && c <= 'f' }

// unescape decodes the escape at path[i], which is a percent sign.
func unescape(path string, i int) (c byte, ok bool) {
	if len(path)-i < 3 {
		return 0, false
	}
	high, ok1 := hexValue(path[i+1])
	low, ok2 := hexValue(path[i+2])
	return high<<4 | low, ok1 && ok2
}

func hexValue(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

func appendEscape(buf []byte, c byte) []byte {
	return append(buf, '%', upperHex[c>>4], upperHex[c&15])
}

func appendNormalEscapes(buf []byte, path string) []byte {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			decoded, ok := unescape(path, i)
			switch {
			case !ok:
				buf = appendEscape(buf, '%')
				continue
			case class[decoded] == unreserved:
				buf = append(buf, decoded)
			default:
				buf = appendEscape(buf, decoded)
			}
			i += 2
			continue
		}
		if class[c] == 0 {
			buf = appendEscape(buf, c)
		} else {
			buf = append(buf, c)
		}
	}
	return buf
}

// removeDotSegments also merges slashes, before it looks at dots: "/a//../b" is
// "/b". It works in place: what is written is never longer than what was read.
func removeDotSegments(path []byte) []byte {
	absolute := len(path) > 0 && path[0] == '/'
	out := path[:0]
	for rest, more := path, true; more; {
		var segment []byte
		segment, rest, more = bytes.Cut(rest, []byte("/"))
		special := isSpecialSegment(string(segment))
		switch {
		case !special:
			if absolute || len(out) > 0 {
				out = append(out, '/')
			}
			out = append(out, segment...)
		case len(segment) == len(".."):
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
		}
		if special && !more && (absolute || len(out) > 0) {
			out = append(out, '/')
		}
	}
	return out
}

// escape percent-encodes what is not a URI character and leaves existing
// escapes alone. Route paths may be configured either way.
func escape(path string) string {
	var buf []byte
	for i := range len(path) {
		c := path[i]
		if class[c] != 0 || c == '%' {
			if buf != nil {
				buf = append(buf, c)
			}
			continue
		}
		if buf == nil {
			buf = append(make([]byte, 0, len(path)+16), path[:i]...)
		}
		buf = appendEscape(buf, c)
	}
	if buf == nil {
		return path
	}
	return string(buf)
}

// malformedEscape returns the offset of the first percent sign that starts no
// escape, or -1.
func malformedEscape(path string) int {
	for i := range len(path) {
		if path[i] == '%' {
			if _, ok := unescape(path, i); !ok {
				return i
			}
		}
	}
	return -1
}

// isOtherEscape reports whether path[i] starts an escape of an octet that is
// not a URI character.
func isOtherEscape(path string, i int) bool {
	if path[i] != '%' {
		return false
	}
	c, ok := unescape(path, i)
	return ok && class[c] == 0 && c != '%'
}

// decodeOther returns a normalised path as Kong's regular expressions see it,
// with the octets that are not URI characters decoded.
func decodeOther(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	buf := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if isOtherEscape(path, i) {
			c, _ := unescape(path, i)
			buf = append(buf, c)
			i += 2
			continue
		}
		buf = append(buf, path[i])
	}
	return string(buf)
}

// encodedLength returns how many bytes of a normalised path make up the first
// decoded bytes of what decodeOther makes of it.
func encodedLength(path string, decoded int) int {
	i := 0
	for ; decoded > 0; decoded-- {
		if isOtherEscape(path, i) {
			i += 2
		}
		i++
	}
	return i
}

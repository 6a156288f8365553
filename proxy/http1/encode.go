package http1

import "strconv"

// What goes around the data of chunks.
const (
	ChunkEnd  = "\r\n"      // after the data of each chunk
	LastChunk = "0\r\n"     // then trailer lines, then "\r\n"
	LastOfAll = "0\r\n\r\n" // the last chunk, without a trailer
	EndOfHead = "\r\n"      // after the last field line
)

// AppendRequestLine appends a request line of HTTP/1.1. Bytes that would end a
// word or a line, and those that begin a fragment, are percent-encoded, so that
// no method or target can become more than that; an empty target is "/".
func AppendRequestLine(b []byte, method, target string) []byte {
	if isToken(method) {
		b = append(b, method...)
	} else {
		b = appendWord(b, method)
	}
	b = append(b, ' ')
	if target == "" {
		target = "/"
	}
	b = appendWord(b, target)
	return append(b, " HTTP/1.1\r\n"...)
}

func appendWord(b []byte, s string) []byte {
	if classes(s)&notTarget == 0 {
		return append(b, s...)
	}
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if class[s[i]]&notTarget == 0 {
			b = append(b, s[i])
		} else {
			b = append(b, '%', hex[s[i]>>4], hex[s[i]&15])
		}
	}
	return b
}

// AppendStatusLine appends a status line of HTTP/1.1 with the registered
// reason. A status without one gets none, one that is not of three digits is
// sent as 500.
func AppendStatusLine(b []byte, status int) []byte {
	if status < 100 || status > 999 {
		status = 500
	}
	if status < len(statusLines) && statusLines[status] != "" {
		return append(b, statusLines[status]...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	return append(b, " \r\n"...)
}

// AppendField appends a field line, with the care of [Fields.Set].
func AppendField(b []byte, name, value string) []byte {
	if !isToken(name) {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, sanitise(value)...)
	return append(b, "\r\n"...)
}

// AppendChunkSize appends the line that begins a chunk of n bytes. A chunk of
// none would end the body: n must be greater than 0.
func AppendChunkSize(b []byte, n int) []byte {
	b = strconv.AppendUint(b, uint64(n), 16)
	return append(b, "\r\n"...)
}

package http1

import "bytes"

// Limits bounds a head or a trailer.
type Limits struct {
	// Bytes is the most that it may take on the wire, in bytes, with its first
	// line and the empty line at its end. 0 stands for 32 KiB.
	Bytes int
	// Fields is the most field lines. 0 stands for 256.
	Fields int
}

const (
	defaultBytes  = 32 << 10
	defaultFields = 256
)

func (l Limits) orDefault() Limits {
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	if l.Fields <= 0 {
		l.Fields = defaultFields
	}
	return l
}

// progress is how many bytes of an unfinished head have been looked at, so
// that one that comes byte by byte is not parsed anew with each.
type progress int

// waits says that buf, which begins with the bytes seen before, holds no end of
// a head among the new ones, and no line that ends badly. It may only be wrong
// with false.
func (p *progress) waits(buf []byte) bool {
	from := int(*p)
	if from == 0 || from > len(buf) {
		return false
	}
	for {
		i := bytes.IndexByte(buf[from:], '\n')
		if i < 0 {
			*p = progress(len(buf))
			return true
		}
		i += from
		switch {
		case i == 0 || buf[i-1] != '\r': // not CR LF
			return false
		case i >= 2 && buf[i-2] == '\n': // an empty line
			return false
		}
		from = i + 1
	}
}

// parse reads field lines from b[pos:] up to the empty line, and gives the
// index after it: 0 without a fault if it is not there yet. It looks at no byte
// behind the first faulty one, so that a message is refused for the same fault
// however it comes in pieces.
func (f *Fields) parse(b []byte, pos, most int) (end int, bad fault) {
	for {
		start := pos
		pos = skipName(b, pos)
		if pos == len(b) {
			return 0, sound
		}
		if pos == start {
			return endOfHead(b, pos)
		}
		if b[pos] != ':' {
			return 0, faultName
		}
		if len(f.list) >= most {
			return 0, faultFields
		}
		name := text(b[start:pos])
		pos++
		for pos < len(b) && isSpace(b[pos]) {
			pos++
		}
		start = pos
		pos = skipText(b, pos)
		if pos+1 >= len(b) || b[pos] != '\r' || b[pos+1] != '\n' {
			return 0, brokenLine(b, pos)
		}
		end := pos
		for end > start && isSpace(b[end-1]) {
			end--
		}
		f.append(name, text(b[start:end]))
		pos += 2
	}
}

// endOfHead judges a line that does not begin with a name.
func endOfHead(b []byte, pos int) (end int, bad fault) {
	switch {
	case isSpace(b[pos]):
		return 0, faultFold
	case b[pos] == '\n':
		return 0, faultLine
	case b[pos] != '\r':
		return 0, faultName
	case pos+1 == len(b):
		return 0, sound
	case b[pos+1] != '\n':
		return 0, faultLine
	}
	return pos + 2, sound
}

// brokenLine judges a text that is not followed by CR LF: sound if that may
// still come.
func brokenLine(b []byte, pos int) fault {
	switch {
	case pos == len(b):
		return sound
	case b[pos] == '\n':
		return faultLine
	case b[pos] != '\r':
		return faultValue
	case pos+1 == len(b):
		return sound
	}
	return faultLine
}

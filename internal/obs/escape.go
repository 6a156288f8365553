package obs

import "unicode/utf8"

// MaxLogField is how long one value of a log line may become, in bytes and
// escaped; the rest of a longer one is cut off and "..." says so. A line of some
// ten values is always shorter than MaxLine, so that no request can hide from the
// log by being large.
const MaxLogField = 8 << 10

const (
	cutMark  = "..."
	hexUpper = "0123456789ABCDEF"
	hexLower = "0123456789abcdef"
)

// AppendLogField appends a value as nginx does (log_format escape=default): "-"
// for none, and \xXX for whatever could end the field or the line, or upset a
// terminal: control characters, quotes, backslashes and all but ASCII.
func AppendLogField(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	end := len(b) + MaxLogField - len(cutMark)
	for {
		n := min(plainPrefix(s), end-len(b))
		b, s = append(b, s[:n]...), s[n:]
		switch {
		case s == "":
			return b
		case len(b)+len(`\xXX`) > end:
			return append(b, cutMark...)
		}
		b = append(b, '\\', 'x', hexUpper[s[0]>>4], hexUpper[s[0]&15])
		s = s[1:]
	}
}

// AppendJSONString appends a value as a JSON string (RFC 8259, section 7) that is
// valid UTF-8 and one line whatever s is: what is no UTF-8 becomes U+FFFD, and
// control characters, those of Unicode and the separators of lines and paragraphs
// too, are escaped.
func AppendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	b = AppendJSONText(b, s)
	return append(b, '"')
}

// AppendJSONText is AppendJSONString without the quotes, for a string made of
// parts.
func AppendJSONText(b []byte, s string) []byte {
	end := len(b) + MaxLogField - len(cutMark)
	for {
		n := min(plainPrefix(s), end-len(b))
		b, s = append(b, s[:n]...), s[n:]
		if s == "" {
			return b
		}
		whole := len(b)
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ', 0x7f <= r && r <= 0x9f, r == 0x2028, r == 0x2029, r == utf8.RuneError && size == 1:
			b = append(b, '\\', 'u', hexLower[r>>12&15], hexLower[r>>8&15], hexLower[r>>4&15], hexLower[r&15])
		default:
			b = append(b, s[:size]...)
		}
		if len(b) > end {
			return append(b[:whole], cutMark...)
		}
		s = s[size:]
	}
}

// plainPrefix is how many bytes at the start of s stand for themselves in every
// format: printable ASCII without quotes and backslashes. It looks at eight bytes
// at once, because this is most of what a line costs.
func plainPrefix(s string) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		e := s[i : i+8]
		w := uint64(e[0]) | uint64(e[1])<<8 | uint64(e[2])<<16 | uint64(e[3])<<24 |
			uint64(e[4])<<32 | uint64(e[5])<<40 | uint64(e[6])<<48 | uint64(e[7])<<56
		// A byte's top bit is set in (v-ones)&^v if the byte is 0, or if one
		// below it is: good enough to ask whether any is.
		quote, slash, del := w^ones*'"', w^ones*'\\', w^ones*0x7f
		if (w|(w-ones*' ')&^w|(quote-ones)&^quote|(slash-ones)&^slash|(del-ones)&^del)&tops != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

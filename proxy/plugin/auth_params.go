package plugin

import (
	"iter"
	"strings"
)

// Param is one name and value of a query or of a form body
// (application/x-www-form-urlencoded).
type Param struct {
	// Raw is the pair as it was sent, Name and Value are decoded.
	Raw, Name, Value string
	// Bare says that there was no "=": "?debug".
	Bare bool
}

// Params gives the pairs of an encoded query or form in order. It reads as
// nginx does: pairs are separated by "&" alone, pairs without a name do not
// exist, and a "%" that begins no escape stands for itself, so that there is no
// malformed input. There is no limit on their number, unlike in Kong, where the
// hundredth hides all that follow.
func Params(encoded string) iter.Seq[Param] {
	return func(yield func(Param) bool) {
		for rest := encoded; rest != ""; {
			var raw string
			raw, rest, _ = strings.Cut(rest, "&")
			name, val, pair := strings.Cut(raw, "=")
			if name == "" {
				continue
			}
			if !yield(Param{Raw: raw, Name: unescape(name), Value: unescape(val), Bare: !pair}) {
				return
			}
		}
	}
}

// WithoutParam gives an encoded query or form without the pairs of one name.
// The others keep their order and their spelling.
func WithoutParam(encoded, name string) string {
	found := false
	for p := range Params(encoded) {
		if p.Name == name {
			found = true
			break
		}
	}
	if !found {
		return encoded
	}
	kept := make([]string, 0, 8)
	for p := range Params(encoded) {
		if p.Name != name {
			kept = append(kept, p.Raw)
		}
	}
	return strings.Join(kept, "&")
}

// unescape decodes "+" and percent escapes.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && nibble(s[i+1]) >= 0 && nibble(s[i+2]) >= 0:
			b.WriteByte(byte(nibble(s[i+1])<<4 | nibble(s[i+2])))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// nibble gives the value of a hexadecimal digit, or -1.
func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

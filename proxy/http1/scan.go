package http1

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Classes of bytes, one bit each: or the classes of all bytes of a text, and
// the result tells what is among them.
const (
	notToken  = 1 << iota // RFC 9110, section 5.6.2
	notTarget             // ends a line or a word, or begins a fragment
	percent
	notHost // neither unreserved nor a sub-delimiter (RFC 3986, section 3.2.2)
	notDigit
	notHex
)

var class = func() (table [256]uint8) {
	const digits, hex, letters = "0123456789", "abcdefABCDEF", "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ"
	for c := range table {
		table[c] = notToken | notHost | notDigit | notHex
		if c <= ' ' || c == 0x7f || c == '#' {
			table[c] |= notTarget
		}
	}
	clearBits := func(bytes string, mask uint8) {
		for i := range len(bytes) {
			table[bytes[i]] &^= mask
		}
	}
	clearBits("!#$%&'*+-.^_`|~"+digits+hex+letters, notToken)
	clearBits("-._~!$&'()*+,;="+digits+hex+letters, notHost)
	clearBits(digits, notDigit)
	clearBits(digits+hex, notHex)
	table['%'] |= percent
	return table
}()

// classes ors the classes of all bytes.
func classes(s string) (all uint8) {
	for i := range len(s) {
		all |= class[s[i]]
	}
	return all
}

func isToken(s string) bool { return s != "" && classes(s)&notToken == 0 }

// Words of eight equal bytes.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// skipName gives the index of the first byte at or after i that a token cannot
// hold, or len(b).
func skipName(b []byte, i int) int {
	for len(b)-i >= 8 {
		// Most names are letters and hyphens. A byte that is neither has its
		// highest bit in rest; above the lowest of them bits may be wrong,
		// because bytes over 0x7f carry.
		w := binary.LittleEndian.Uint64(b[i:])
		small := w | 0x20*ones
		letter := (small + (0x80-'a')*ones) &^ (small + (0x7f-'z')*ones)
		hyphen := ^((w ^ '-'*ones) + 0x7f*ones)
		rest := ^((letter | hyphen) &^ w) & highs
		if rest == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(rest) >> 3
		if class[b[i]]&notToken != 0 {
			return i
		}
		i++
	}
	for i < len(b) && class[b[i]]&notToken == 0 {
		i++
	}
	return i
}

// skipText gives the index of the first control character other than HTAB at
// or after i, or len(b).
func skipText(b []byte, i int) int {
	for len(b)-i >= 16 {
		// Two words at once, because most texts are longer than one.
		w := b[i : i+16]
		hit, second := controls(binary.LittleEndian.Uint64(w)), controls(binary.LittleEndian.Uint64(w[8:]))
		if hit|second == 0 {
			i += 16
			continue
		}
		if hit == 0 {
			i, hit = i+8, second
		}
		i += bits.TrailingZeros64(hit) >> 3
		if b[i] != '\t' {
			return i
		}
		i++
	}
	if len(b)-i >= 8 && controls(binary.LittleEndian.Uint64(b[i:])) == 0 {
		i += 8
	}
	for i < len(b) && !isControl(b[i]) {
		i++
	}
	return i
}

// controls has the highest bit of the lowest byte set that is below 0x20 or is
// 0x7f. Bits of higher bytes may be wrong, because those two borrow.
func controls(w uint64) uint64 { return below(w, ' ') }

// below is controls for another bound than 0x20.
func below(w, bound uint64) uint64 {
	del := w ^ 0x7f*ones
	return ((w-bound*ones)&^w | (del-ones)&^del) & highs
}

// IsWord says whether a text has neither spaces nor control characters.
func IsWord(s string) bool {
	b, i := bytesOf(s), 0
	for ; len(b)-i >= 8; i += 8 {
		if below(binary.LittleEndian.Uint64(b[i:]), ' '+1) != 0 {
			return false
		}
	}
	for ; i < len(b); i++ {
		if b[i] <= ' ' || b[i] == 0x7f {
			return false
		}
	}
	return true
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// trim removes optional white space (RFC 9110, section 5.6.3) at both ends.
func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// equalFold compares without regard to the case of ASCII letters, and of no
// others: to strings.EqualFold the Kelvin sign is a k, and "chunKed" with one
// would be chunked here and something else to the next reader.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// text gives the bytes as a string that shares their memory.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf gives the bytes of a string, only to be read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

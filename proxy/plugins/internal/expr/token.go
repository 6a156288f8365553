package expr

import (
	"fmt"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenText
	tokenNumber
	tokenSign
)

type token struct {
	kind   tokenKind
	text   string
	number float64
}

// String is for messages.
func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenText:
		return "a string"
	}
	return fmt.Sprintf("%q", t.text)
}

func isWordByte(c byte) bool { return isLetter(c) || isDigit(c) }

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// next reads the next token.
func (p *parser[C]) next() {
	for p.at < len(p.source) && strings.IndexByte(" \t\r\n", p.source[p.at]) >= 0 {
		p.at++
	}
	rest := p.source[p.at:]
	switch {
	case rest == "":
		p.token = token{kind: tokenEnd}
	case isLetter(rest[0]):
		n := span(rest, isWordByte)
		p.token, p.at = token{kind: tokenWord, text: rest[:n]}, p.at+n
	case isDigit(rest[0]):
		p.readNumber(rest)
	case rest[0] == '"' || rest[0] == '\'':
		p.readText(rest)
	default:
		p.readSign(rest)
	}
}

func span(s string, ok func(byte) bool) int {
	n := 0
	for n < len(s) && ok(s[n]) {
		n++
	}
	return n
}

// readNumber reads a decimal number. Two dots after digits join texts.
func (p *parser[C]) readNumber(rest string) {
	n := span(rest, isDigit)
	if n < len(rest)-1 && rest[n] == '.' && isDigit(rest[n+1]) {
		n += 1 + span(rest[n+1:], isDigit)
	}
	if n < len(rest) && isLetter(rest[n]) {
		p.fail("malformed number near %q", rest[:n+1])
		return
	}
	number, err := strconv.ParseFloat(rest[:n], 64)
	if err != nil {
		p.fail("malformed number %q", rest[:n])
		return
	}
	p.token, p.at = token{kind: tokenNumber, text: rest[:n], number: number}, p.at+n
}

// escapes are those that stand for one byte.
var escapes = map[byte]byte{
	'n': '\n', 't': '\t', 'r': '\r', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v', '\\': '\\', '"': '"', '\'': '\'', '\n': '\n',
}

// readText reads a string in quotes.
func (p *parser[C]) readText(rest string) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == rest[0]:
			p.token, p.at = token{kind: tokenText, text: b.String()}, p.at+i+1
			return
		case c == '\n':
			p.fail("a string does not end")
			return
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		i++
		if i == len(rest) {
			break
		}
		if plain, ok := escapes[rest[i]]; ok {
			b.WriteByte(plain)
			continue
		}
		digits := min(3, span(rest[i:], isDigit))
		code, err := strconv.ParseUint(rest[i:i+digits], 10, 8)
		if err != nil {
			p.fail("invalid escape in a string")
			return
		}
		b.WriteByte(byte(code))
		i += digits - 1
	}
	p.fail("a string does not end")
}

// readSign reads an operator or a bracket, the longest first.
func (p *parser[C]) readSign(rest string) {
	for _, sign := range [...]string{"..", "==", "~=", "(", ")", "[", "]", ".", ",", ":"} {
		if strings.HasPrefix(rest, sign) {
			p.token, p.at = token{kind: tokenSign, text: sign}, p.at+len(sign)
			return
		}
	}
	p.fail("%q is not supported", rest[:1])
}

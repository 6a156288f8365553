package router

import (
	"fmt"
	"strconv"
	"strings"
)

const maxPort = 65535

// splitHostPort splits "host:port". The port is 0 if there is none. Brackets
// around an IPv6 address are removed, and an IPv6 address without brackets has
// no port. What cannot be split, such as "host:23h", is all host, which then
// matches nothing but itself.
func splitHostPort(s string) (host string, port int) {
	colon := strings.LastIndexByte(s, ':')
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		switch {
		case end < 0:
			return s, 0
		case end == len(s)-1:
			return s[1:end], 0
		case colon != end+1:
			return s, 0
		}
		if port, ok := parsePort(s[colon+1:]); ok {
			return s[1:end], port
		}
		return s, 0
	}
	if colon < 0 || strings.IndexByte(s, ':') != colon {
		return s, 0
	}
	if port, ok := parsePort(s[colon+1:]); ok {
		return s[:colon], port
	}
	return s, 0
}

// parsePort accepts the empty port, as RFC 3986, section 3.2.3, does.
func parsePort(s string) (int, bool) {
	if s == "" {
		return 0, true
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	port, err := strconv.Atoi(s)
	return port, err == nil && port > 0 && port <= maxPort
}

// wildcard tells which part of a name is left open.
type wildcard uint8

const (
	wildcardNone  wildcard = iota
	wildcardLeft           // "*.example.com"
	wildcardRight          // "example.*"
)

// namePattern matches host names and server names. text is in lower case and
// without the "*", but keeps the dot next to it.
type namePattern struct {
	text     string
	wildcard wildcard
	port     int // 0 matches every port
}

func newNamePattern(name string) (namePattern, error) {
	text := string(appendLower(nil, name))
	p := namePattern{text: text}
	switch {
	case strings.HasPrefix(text, "*."):
		p = namePattern{text: text[1:], wildcard: wildcardLeft}
	case strings.HasSuffix(text, ".*"):
		p = namePattern{text: text[:len(text)-1], wildcard: wildcardRight}
	}
	switch {
	case strings.Contains(p.text, "*"):
		return namePattern{}, fmt.Errorf("%q: a wildcard must be the whole leftmost or rightmost label", name)
	case p.text == "" || p.text == ".":
		return namePattern{}, fmt.Errorf("%q: no name", name)
	}
	return p, nil
}

func newHostPattern(host string) (namePattern, error) {
	name, port := splitHostPort(host)
	p, err := newNamePattern(name)
	if err != nil {
		return namePattern{}, fmt.Errorf("%w: %w", ErrHost, err)
	}
	p.port = port
	return p, nil
}

func newSNIPattern(sni string) (namePattern, error) {
	name := sni
	if len(name) > 1 {
		name = strings.TrimSuffix(name, ".") // TLS sends names without it (RFC 6066, section 3)
	}
	p, err := newNamePattern(name)
	if err != nil {
		return namePattern{}, fmt.Errorf("%w: %w", ErrSNI, err)
	}
	return p, nil
}

// matches ignores the port. name is compared without regard to ASCII case.
func (p *namePattern) matches(name string) bool {
	switch p.wildcard {
	case wildcardLeft:
		return len(name) >= len(p.text) && equalFold(name[len(name)-len(p.text):], p.text)
	case wildcardRight:
		return len(name) >= len(p.text) && equalFold(name[:len(p.text)], p.text)
	default:
		return equalFold(name, p.text)
	}
}

// equalFold ignores the case of ASCII letters only, unlike [strings.EqualFold].
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

// appendLower appends s with its ASCII letters in lower case.
func appendLower(buf []byte, s string) []byte {
	for i := range len(s) {
		buf = append(buf, lower(s[i]))
	}
	return buf
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

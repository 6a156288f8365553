package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLine bounds a line of a settings file, in bytes.
const maxLine = 64 << 10

// pair is one line of a settings file.
type pair struct {
	key, value string
	line       int
}

// parseFile reads kong.conf's syntax: lines of key = value; # starts a comment
// unless a backslash precedes it. Quotes have no meaning. A key without a value
// is left at its default, as Kong does.
func parseFile(r io.Reader) ([]pair, error) {
	var pairs []pair
	first := map[string]int{}
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 0, 4096), maxLine)
	n := 0
	for scan.Scan() {
		n++
		line := strings.TrimSpace(stripComment(scan.Text()))
		if line == "" {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !found:
			return nil, fmt.Errorf("line %d: %q is not key = value", n, line)
		case !isKey(key):
			return nil, fmt.Errorf("line %d: %q is not a key", n, key)
		case value == "":
			continue
		case first[key] != 0:
			return nil, fmt.Errorf("line %d: %s was set on line %d already", n, key, first[key])
		}
		first[key] = n
		pairs = append(pairs, pair{key: key, value: value, line: n})
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: longer than %d bytes", n+1, maxLine)
	}
	return pairs, scan.Err()
}

// stripComment cuts a line at its first # that no backslash precedes, and
// frees the others of their backslash.
func stripComment(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line) && line[i+1] == '#':
			b.WriteByte('#')
			i++
		case line[i] == '#':
			return b.String()
		default:
			b.WriteByte(line[i])
		}
	}
	return b.String()
}

func isKey(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

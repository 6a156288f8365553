package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeKind is a number of bytes in nginx's units, at least least.
func sizeKind(least int64) kind {
	return kind{name: "size", parse: func(text string) (any, error) {
		n, err := parseSize(text)
		switch {
		case err != nil:
			return nil, err
		case n < least:
			return nil, fmt.Errorf("must be at least %d", least)
		}
		return n, nil
	}}
}

// parseSize reads nginx's sizes: bytes, or with k, m or g in either case.
func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1)
	if text != "" {
		switch text[len(text)-1] | ' ' { // to lower case
		case 'k':
			unit = 1 << 10
		case 'm':
			unit = 1 << 20
		case 'g':
			unit = 1 << 30
		}
		if unit > 1 {
			digits = text[:len(text)-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, errors.New("must be a size: bytes, or a number with k, m or g, like 8k")
	}
	return int64(n) * unit, nil
}

// maxTime bounds a time: what is longer is no time but a mistake.
const maxTime = 10 * 365 * 24 * time.Hour

// timeKind is a time in nginx's units; 0 only where it has a meaning.
func timeKind(zero bool) kind {
	return kind{name: "time", parse: func(text string) (any, error) {
		d, err := parseTime(text)
		switch {
		case err != nil:
			return nil, err
		case d == 0 && !zero:
			return nil, errors.New("must be more than 0")
		}
		return d, nil
	}}
}

// timeUnits are nginx's, from the longest to the shortest, with the names of one
// letter after those of two that begin with it.
func timeUnits() []timeUnit {
	const day = 24 * time.Hour
	return []timeUnit{{"y", 365 * day}, {"M", 30 * day}, {"w", 7 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}
}

type timeUnit struct {
	name string
	time time.Duration
}

// parseTime reads nginx's times: numbers with units, the longer ones first
// (1h30m, "1h 30m"); seconds without a unit.
func parseTime(text string) (time.Duration, error) {
	fault := errors.New("must be a time like 60s, 1m 30s or 500ms; units y, M, w, d, h, m, s and ms, the longer ones first")
	total, units, rest := time.Duration(0), timeUnits(), strings.TrimSpace(text)
	if rest == "" {
		return 0, fault
	}
	for rest != "" {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i < 0 {
			i = len(rest)
		}
		n, err := strconv.ParseUint(rest[:i], 10, 63)
		if err != nil {
			return 0, fault
		}
		rest = rest[i:]
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "yMwdhms"))]
		rest = strings.TrimLeft(rest[len(name):], " \t")
		if name == "" && rest == "" {
			name = "s" // the last number may be without
		}
		for len(units) > 0 && units[0].name != name {
			units = units[1:]
		}
		switch {
		case len(units) == 0:
			return 0, fault
		case n > uint64(maxTime/units[0].time), total+time.Duration(n)*units[0].time > maxTime:
			return 0, errors.New("must be at most 10 years")
		}
		total += time.Duration(n) * units[0].time
		units = units[1:]
	}
	return total, nil
}

// HeaderBuffers bounds the head of a request (nginx's
// large_client_header_buffers): no line is longer than Size, and all together no
// longer than Number times Size, in bytes.
type HeaderBuffers struct {
	Number int
	Size   int64
}

// The bounds of a head: below, no ordinary request gets in, above, a few
// connections take a machine's memory.
const (
	leastHead = 1 << 10
	mostHead  = 16 << 20
)

func parseHeaderBuffers(text string) (any, error) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return nil, errors.New("must be a number and a size, like 8 8k")
	}
	number, err := strconv.ParseUint(fields[0], 10, 31)
	if err != nil || number == 0 {
		return nil, fmt.Errorf("%q is no number of buffers", fields[0])
	}
	size, err := parseSize(fields[1])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", fields[1], err)
	}
	if size > mostHead || int64(number)*size > mostHead || int64(number)*size < leastHead {
		return nil, errors.New("must be 1k to 16m in all")
	}
	return HeaderBuffers{Number: int(number), Size: size}, nil
}

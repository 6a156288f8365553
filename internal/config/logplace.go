package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// LogPlace is where a log goes.
type LogPlace struct {
	// Path is a file, /dev/stdout or /dev/stderr; "" is off.
	Path string
	// Format is what the lines of an access log look like.
	Format string
	// Ignored is what followed: nginx's buffer, flush and level, which mean
	// nothing here.
	Ignored string
}

// The formats of access logs.
const (
	FormatKong     = "kong"
	FormatCombined = "combined"
	FormatJSON     = "json"
)

// kongLogFormat is the name of Kong's format in the nginx.conf it makes.
const kongLogFormat = "kong_log_format"

var errorLogKind = kind{name: "path", parse: func(text string) (any, error) {
	place, rest, err := parseLog(text)
	place.Ignored = strings.Join(rest, " ")
	return place, err
}}

// accessLogKind is a path and the name of a format, the first of formats if there
// is none. Another name is an error, as in nginx: whoever reads the log would
// find something else than was asked for.
func accessLogKind(formats ...string) kind {
	return kind{name: "path [format]", parse: func(text string) (any, error) {
		place, rest, err := parseLog(text)
		if err != nil || place.Path == "" {
			return place, err
		}
		place.Format = formats[0]
		if len(rest) > 0 && !isLogParameter(rest[0]) {
			name := rest[0]
			if name == kongLogFormat {
				name = FormatKong
			}
			if !slices.Contains(formats, name) {
				return nil, fmt.Errorf("log format %q is not known%s; there are %s", rest[0], DidYouMean(rest[0], formats), strings.Join(formats, ", "))
			}
			place.Format, rest = name, rest[1:]
		}
		place.Ignored = strings.Join(rest, " ")
		return place, nil
	}}
}

// isLogParameter tells nginx's parameters of access_log (buffer=32k, gzip,
// flush=1m, if=...) from the name of a format.
func isLogParameter(word string) bool {
	return word == "gzip" || strings.Contains(word, "=")
}

// parseLog reads the path of a log, and gives the words after it.
func parseLog(text string) (place LogPlace, rest []string, err error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return LogPlace{}, nil, errors.New("must be a path or off")
	}
	path, rest := words[0], words[1:]
	switch {
	case path == "off":
		return LogPlace{}, nil, nil
	case path == "stderr": // nginx's name for it
		path = "/dev/stderr"
	case strings.HasPrefix(path, "syslog:"), strings.HasPrefix(path, "memory:"):
		return LogPlace{}, nil, fmt.Errorf("%q is not supported: give a path, /dev/stdout, /dev/stderr or off", path)
	}
	return LogPlace{Path: path}, rest, nil
}

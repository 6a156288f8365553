package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// kind is how a setting's text becomes a value.
type kind struct {
	name  string // for --help: "list", "on|off"
	parse func(text string) (any, error)
	bool  bool // the flag needs no value
	list  bool // a repeated flag adds to the list
}

var (
	textKind = kind{name: "text", parse: func(text string) (any, error) { return text, nil }}
	listKind = kind{name: "list", list: true, parse: func(text string) (any, error) { return splitList(text), nil }}
	boolKind = kind{name: "on|off", bool: true, parse: parseBool}
	// networksKind is a list of addresses and CIDR blocks.
	networksKind = kind{name: "list", list: true, parse: parseNetworks}
	addressKind  = kind{name: "host:port", parse: parseAddress}
	listenKind   = kind{name: "listen", parse: func(text string) (any, error) { return ParseListen(text) }}
	logKind      = kind{name: "path", parse: func(text string) (any, error) { return parseLog(text) }}
	levelKind    = choiceKind("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
)

func choiceKind(choices ...string) kind {
	return kind{name: strings.Join(choices, "|"), parse: func(text string) (any, error) {
		if !slices.Contains(choices, text) {
			return nil, fmt.Errorf("must be one of %s", strings.Join(choices, ", "))
		}
		return text, nil
	}}
}

// countKind is a whole number between low and high, both included.
func countKind(low, high int) kind {
	return kind{name: "number", parse: func(text string) (any, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return nil, fmt.Errorf("must be a whole number from %d to %d", low, high)
		}
		return n, nil
	}}
}

func parseBool(text string) (any, error) {
	switch strings.ToLower(text) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return nil, errors.New("must be on or off")
}

// splitList cuts at commas and drops empty elements; nil if nothing is left.
func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func parseNetworks(text string) (any, error) {
	var nets []netip.Prefix
	for _, part := range splitList(text) {
		if addr, err := netip.ParseAddr(part); err == nil && addr.Zone() == "" {
			nets = append(nets, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		net, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a CIDR block", part)
		}
		nets = append(nets, net.Masked())
	}
	return nets, nil
}

// parseAddress takes host:port, or nothing at all for "not set".
func parseAddress(text string) (any, error) {
	if text == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || strings.ContainsAny(host, " \t") {
		return nil, fmt.Errorf("%q is not host:port", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("%q has no port from 0 to 65535", text)
	}
	return text, nil
}

// LogPlace is where a log goes.
type LogPlace struct {
	// Path is a file, /dev/stdout or /dev/stderr; "" is off.
	Path string
	// Ignored is what followed the path: nginx's format, buffer and level,
	// which mean nothing here.
	Ignored string
}

func parseLog(text string) (LogPlace, error) {
	path, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch {
	case path == "off":
		return LogPlace{}, nil
	case path == "stderr": // nginx's name for it
		path = "/dev/stderr"
	case path == "":
		return LogPlace{}, errors.New("must be a path or off")
	case strings.HasPrefix(path, "syslog:"), strings.HasPrefix(path, "memory:"):
		return LogPlace{}, fmt.Errorf("%q is not supported: give a path, /dev/stdout, /dev/stderr or off", path)
	}
	return LogPlace{Path: path, Ignored: strings.TrimSpace(rest)}, nil
}

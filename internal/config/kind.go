package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// kind is how a setting's text becomes a value.
type kind struct {
	name  string // for --help: "list", "on|off"
	parse func(text string) (any, error)
	bool  bool // the flag needs no value
	list  bool // a repeated flag adds to the list
	// content says that the value may be a secret itself in place of a path, secret
	// that of its elements all but the names of files are.
	content, secret bool
}

var (
	textKind = kind{name: "text", parse: func(text string) (any, error) { return text, nil }}
	// directoryKind is a directory, or "" for off.
	directoryKind = kind{name: "path|off", parse: parseDirectory}
	boolKind      = kind{name: "on|off", bool: true, parse: parseBool}
	// networksKind is a list of addresses and CIDR blocks.
	networksKind = kind{name: "list", list: true, parse: parseNetworks}
	addressKind  = kind{name: "host:port", parse: parseAddress}
	// seedsKind is a list of other nodes' addresses.
	seedsKind = kind{name: "list", list: true, parse: parseSeeds}
	// keysKind is a list of keys and of files that hold some. What is wrong with them
	// is told by who reads them.
	keysKind = kind{name: "list", list: true, secret: true, parse: func(text string) (any, error) { return splitList(text), nil }}
	nameKind = kind{name: "text", parse: parseName}
	// headersKind is which headers of our own responses get.
	headersKind = kind{name: "list", list: true, parse: parseHeaders}
	headerKind  = kind{name: "text", parse: parseHeaderName}
	listenKind  = kind{name: "listen", parse: func(text string) (any, error) { return ParseListen(text) }}
	levelKind   = choiceKind("debug", "info", "notice", "warn", "error", "crit", "alert", "emerg")
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

func parseDirectory(text string) (any, error) {
	if text == "off" {
		return "", nil
	}
	return text, nil
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

// parseSeeds takes what cluster.Config.Join takes: host, host:port or dns:NAME.
func parseSeeds(text string) (any, error) {
	seeds := splitList(text)
	for _, seed := range seeds {
		place := strings.TrimPrefix(seed, "dns:")
		host, port, err := net.SplitHostPort(place)
		if err != nil {
			host, port = strings.Trim(place, "[]"), "1" // the default port
		}
		if _, ipErr := netip.ParseAddr(host); ipErr != nil && (host == "" || strings.ContainsAny(host, ":/[] \t")) {
			return nil, fmt.Errorf("%q is neither host, host:port nor dns:NAME", seed)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q has no port from 1 to 65535", seed)
		}
	}
	return seeds, nil
}

// maxName is how long a node's name may be, in bytes (cluster.Config.NodeName).
const maxName = 128

func parseName(text string) (any, error) {
	ordinary := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	if len(text) > maxName || strings.ContainsFunc(text, func(r rune) bool { return !ordinary(r) }) {
		return nil, fmt.Errorf("must be up to %d letters, digits, dots, dashes and underscores", maxName)
	}
	return text, nil
}

// parseHeaderName takes the name of a header field (RFC 9110, section 5.1). One
// that no request can have would turn the setting off in silence.
func parseHeaderName(text string) (any, error) {
	if !httpguts.ValidHeaderFieldName(text) {
		return nil, fmt.Errorf("%q is not the name of a header", text)
	}
	return text, nil
}

// parseHeaders takes Kong's names of headers and of groups of them.
func parseHeaders(text string) (any, error) {
	known := []string{"server_tokens", "latency_tokens", "off", "Server", "Via", "X-Kong-Proxy-Latency", "X-Kong-Response-Latency",
		"X-Kong-Upstream-Latency", "X-Kong-Upstream-Status", "X-Kong-Admin-Latency", "X-Kong-Request-Id"}
	names := splitList(text)
	for _, name := range names {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			return nil, fmt.Errorf("%q is not known%s", name, DidYouMean(name, known))
		}
	}
	return names, nil
}

// parseHeadersUpstream takes Kong's names of headers for services.
func parseHeadersUpstream(text string) (any, error) {
	known := []string{"X-Kong-Request-Id", "off"}
	names := splitList(text)
	for _, name := range names {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			return nil, fmt.Errorf("%q is not known%s", name, DidYouMean(name, known))
		}
	}
	return names, nil
}

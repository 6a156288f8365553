package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The errors of validators that do not quote the value. Their texts are Kong's messages.
var (
	ErrHasPort      = errors.New("must not have a port")
	ErrIsIP         = errors.New("must not be an IP")
	ErrWildcards    = errors.New("only one wildcard must be specified")
	ErrWildcard     = errors.New("wildcard must be leftmost or rightmost character")
	ErrPort         = errors.New("invalid port number")
	ErrNoHeaderName = errors.New("no header name provided")
	ErrNoCookieName = errors.New("no cookie name provided")
	ErrNoHost       = errors.New("missing host in url")
	ErrNoScheme     = errors.New("missing scheme in url")
)

// Text adapts a validator of strings to Field.Custom.
func Text(valid func(string) error) func(any) error {
	return func(v any) error {
		s, _ := v.(string) // the type was checked before
		return valid(s)
	}
}

// IsUUID reports whether s is a UUID in the 8-4-4-4-12 form, in either case.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// ValidUTF8 accepts UTF-8 (RFC 3629).
func ValidUTF8(s string) error {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("invalid utf-8 character sequence detected at position %d", i+1)
		}
		i += size
	}
	return nil
}

// ValidName accepts ASCII letters, digits and . - _ ~.
func ValidName(name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isNameByte(r) }) {
		return fmt.Errorf("invalid value '%s': it must only contain alphanumeric and '., -, _, ~' characters", name)
	}
	return nil
}

// ValidUTF8Name accepts what ValidName does, and everything beyond ASCII: names of services, routes and
// plugin instances.
func ValidUTF8Name(name string) error {
	if err := ValidUTF8(name); err != nil {
		return err
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < utf8.RuneSelf && !isNameByte(r) }) {
		return fmt.Errorf("invalid value '%s': the only accepted ascii characters are alphanumerics or ., -, _, and ~", name)
	}
	return nil
}

func isNameByte(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r < utf8.RuneSelf && strings.ContainsRune(".-_~", r)
}

// ValidTag accepts printable ASCII without commas and slashes, which separate tags in queries, and
// everything beyond ASCII.
func ValidTag(tag string) error {
	if err := ValidUTF8(tag); err != nil {
		return err
	}
	bad := func(r rune) bool { return r < ' ' || r == ',' || r == '/' || r == 0x7f }
	if tag == "" || strings.ContainsFunc(tag, bad) {
		return fmt.Errorf("invalid tag '%s': expected printable ascii (except `,` and `/`) or valid utf-8 sequences", tag)
	}
	return nil
}

// ValidHost accepts a host name or an IP address, without a port.
func ValidHost(host string) error {
	_, hasPort, err := splitHost(host)
	switch {
	case errors.Is(err, ErrPort) || err == nil && hasPort:
		return ErrHasPort
	case err != nil:
		return fmt.Errorf("invalid value: %s", host)
	}
	return nil
}

// ValidHostPort accepts a host name or an IP address, with a port or without.
func ValidHostPort(host string) error {
	_, _, err := splitHost(host)
	return err
}

// ValidSNI accepts a host name without a port, and no IP address (RFC 6066 section 3).
func ValidSNI(host string) error {
	kind, hasPort, err := splitHost(host)
	switch {
	case err != nil && !errors.Is(err, ErrPort):
		return fmt.Errorf("invalid value: %s", host)
	case err == nil && kind != HostName:
		return ErrIsIP
	case err != nil || hasPort:
		return ErrHasPort
	}
	return nil
}

// ValidWildcardHost accepts what ValidSNI does, with at most one * as its first or last character.
func ValidWildcardHost(host string) error {
	if i := strings.IndexByte(host, '*'); i >= 0 {
		if i != 0 && i != len(host)-1 {
			return ErrWildcard
		}
		if strings.Count(host, "*") > 1 {
			return ErrWildcards
		}
		host = strings.Replace(host, "*", "wildcard", 1)
	}
	return ValidSNI(host)
}

// ValidRouteHost accepts a host of a route: with a port or without, and with wildcards, whose places the
// patterns of the field have checked.
func ValidRouteHost(host string) error {
	return ValidHostPort(strings.ReplaceAll(host, "*", "abc"))
}

// ValidIP accepts an IPv4 or IPv6 address.
func ValidIP(ip string) error {
	if !isIP(ip) {
		return fmt.Errorf("not an ip address: %s", ip)
	}
	return nil
}

// ValidIPOrCIDR accepts an IPv4 or IPv6 address, or a range in CIDR notation, host bits allowed.
func ValidIPOrCIDR(s string) error {
	if _, err := netip.ParsePrefix(s); err != nil && !isIP(s) {
		return fmt.Errorf("invalid ip or cidr range: '%s'", s)
	}
	return nil
}

func isIP(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == ""
}

// ValidHeaderName accepts the header names that Kong does: letters, digits, _ and -.
func ValidHeaderName(name string) error {
	if name == "" {
		return ErrNoHeaderName
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !isNameByte(r) || r == '.' || r == '~' }) {
		return fmt.Errorf("bad header name '%s', allowed characters are A-Z, a-z, 0-9, '_', and '-'", name)
	}
	return nil
}

// ValidCookieName accepts the names of cookies that Kong does: letters, digits, _ and -.
func ValidCookieName(name string) error {
	if name == "" {
		return ErrNoCookieName
	}
	if ValidHeaderName(name) != nil {
		return fmt.Errorf("bad cookie name '%s', allowed characters are A-Z, a-z, 0-9, '_', and '-'", name)
	}
	return nil
}

// ValidURL accepts anything with a scheme and a host.
func ValidURL(url string) error {
	parts := splitURL(url)
	switch {
	case parts.host == "":
		return ErrNoHost
	case parts.scheme == "":
		return ErrNoScheme
	}
	return nil
}

// HostKind tells the kinds of hosts apart.
type HostKind int

// The kinds of hosts.
const (
	HostName HostKind = iota
	HostIPv4
	HostIPv6
)

var hostChars = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// splitHost tells host names and addresses apart by their looks, checks them and looks for a port. Its
// errors are ErrPort, and "invalid hostname: ..." or the like.
func splitHost(s string) (kind HostKind, hasPort bool, err error) {
	colons := strings.Count(s, ":")
	digits := strings.Trim(strings.ReplaceAll(s, ":", ""), "0123456789.") == ""
	switch {
	case colons > 1:
		hasPort, err = splitIPv6(s)
		return HostIPv6, hasPort, err
	case digits && strings.Trim(s, ":") != "":
		hasPort, err = splitIPv4(s)
		return HostIPv4, hasPort, err
	}
	name := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && isDigits(s[i+1:]) {
		name, hasPort = s[:i], true
		if !isPort(s[i+1:]) {
			return HostName, true, ErrPort
		}
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if strings.HasSuffix(label, "-") || label == "" && i != len(labels)-1 {
			return HostName, hasPort, fmt.Errorf("invalid hostname: %s", s)
		}
	}
	if !hostChars.MatchString(name) {
		return HostName, hasPort, fmt.Errorf("invalid hostname: %s", s)
	}
	return HostName, hasPort, nil
}

func splitIPv4(s string) (hasPort bool, err error) {
	address, port, hasPort := strings.Cut(s, ":")
	octets := strings.Split(address, ".")
	valid := len(octets) == 4 && (!hasPort || port != "" && isDigits(port))
	for _, octet := range octets {
		// leading zeros are accepted, as decimals
		n, err := strconv.Atoi(octet)
		valid = valid && err == nil && len(octet) <= 3 && n <= 255
	}
	switch {
	case !valid:
		return hasPort, fmt.Errorf("invalid ipv4 address: %s", s)
	case hasPort && !isPort(port):
		return true, ErrPort
	}
	return hasPort, nil
}

func splitIPv6(s string) (hasPort bool, err error) {
	address := s
	if strings.HasPrefix(s, "[") {
		inner, rest, closed := strings.Cut(s[1:], "]")
		port, isRest := strings.CutPrefix(rest, ":")
		switch {
		case !closed || rest != "" && (!isRest || !isDigits(port)):
			return false, errors.New("invalid ipv6 address")
		case rest != "" && !isPort(port):
			return true, ErrPort
		}
		address, hasPort = inner, rest != ""
	}
	if addr, err := netip.ParseAddr(address); err != nil || !addr.Is6() || addr.Zone() != "" {
		return hasPort, fmt.Errorf("invalid ipv6 address: %s", s)
	}
	return hasPort, nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isPort(digits string) bool {
	port, err := strconv.Atoi(digits)
	return err == nil && port <= 65535
}

package schema

import (
	"net/netip"
	"strconv"
	"strings"
)

// ParsedHost is a host name or an address, perhaps with a port.
type ParsedHost struct {
	Kind HostKind
	// Host is a name as it was given, an IPv4 address in plain decimals, or an IPv6 address in full, all
	// eight groups of four digits: Kong's canonical forms.
	Host    string
	Port    int
	HasPort bool
}

// ParseHost reads a host as ValidHostPort accepts it. Brackets around an IPv6 address are only needed before
// a port.
func ParseHost(text string) (ParsedHost, error) {
	kind, hasPort, err := splitHost(text)
	if err != nil {
		return ParsedHost{}, err
	}
	h := ParsedHost{Kind: kind, Host: text, HasPort: hasPort}
	if hasPort {
		colon := strings.LastIndexByte(text, ':')
		h.Host = text[:colon]
		if h.Port, err = strconv.Atoi(text[colon+1:]); err != nil {
			return ParsedHost{}, ErrPort
		}
	}
	switch kind {
	case HostIPv4:
		octets := strings.Split(h.Host, ".")
		for i, octet := range octets {
			if octets[i] = strings.TrimLeft(octet, "0"); octets[i] == "" {
				octets[i] = "0"
			}
		}
		h.Host = strings.Join(octets, ".")
	case HostIPv6:
		addr, err := netip.ParseAddr(strings.Trim(h.Host, "[]"))
		if err != nil {
			return ParsedHost{}, err
		}
		h.Host = addr.StringExpanded()
	}
	return h, nil
}

// WithPort writes host:port, with the given port for a host that has none.
func (h ParsedHost) WithPort(unless int) string {
	port := unless
	if h.HasPort {
		port = h.Port
	}
	if h.Kind == HostIPv6 {
		return "[" + h.Host + "]:" + strconv.Itoa(port)
	}
	return h.Host + ":" + strconv.Itoa(port)
}

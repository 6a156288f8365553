package proxy

import (
	"net/netip"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// trust decides which peers are believed, and who the client is (nginx's realip
// module, Kong's trusted_ips, real_ip_header and real_ip_recursive).
type trust struct {
	prefixes  []netip.Prefix
	header    string
	recursive bool
	// proxyProtocol takes the client from the PROXY header of the connection
	// instead of from a field; header is not looked at then.
	proxyProtocol bool
}

// realIPProxyProtocol is the value of real_ip_header that names no field.
const realIPProxyProtocol = "proxy_protocol"

func newTrust(cfg Config) trust {
	return trust{
		prefixes: cfg.TrustedIPs, header: cfg.RealIPHeader, recursive: cfg.RealIPRecursive,
		proxyProtocol: strings.EqualFold(cfg.RealIPHeader, realIPProxyProtocol),
	}
}

// resolve says who the client of a request is and whether its peer is trusted.
// peer is the other end of the connection, proxied the source that a PROXY
// header named, zero if there was none or if it was about the connection itself
// (LOCAL, UNKNOWN). Nothing is believed of a peer that is not trusted: anybody
// who reaches the port can write a PROXY header.
func (t *trust) resolve(peer, proxied netip.AddrPort, h plugin.Header) (client netip.AddrPort, trusted bool) {
	switch {
	case !t.trusts(peer.Addr()):
		return peer, false
	case !t.proxyProtocol:
		return t.client(peer, h), true
	case proxied.Addr().IsValid():
		return netip.AddrPortFrom(proxied.Addr().Unmap().WithZone(""), proxied.Port()), true
	}
	return peer, true
}

func (t *trust) trusts(addr netip.Addr) bool {
	for _, p := range t.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// client gives the address of the client that a trusted peer speaks for: the
// last one in the field, or with recursive the last that is not trusted. An
// address that cannot be read ends the search, and what was found before it
// counts.
func (t *trust) client(peer netip.AddrPort, h plugin.Header) netip.AddrPort {
	found := peer
	if t.proxyProtocol {
		return peer // a field of that name is a forgery
	}
	var lines [8]string // more than eight lines of one field: the last eight count
	n := 0
	h.Each(t.header, func(value string) bool {
		lines[n%len(lines)] = value
		n++
		return true
	})
	for i := range min(n, len(lines)) {
		rest := lines[(n-1-i)%len(lines)]
		for more := true; more; {
			var last string
			rest, last, more = cutLast(rest)
			addr, ok := parseAddr(last)
			if !ok {
				return found
			}
			found = addr
			if !t.recursive || !t.trusts(addr.Addr()) {
				return found
			}
		}
	}
	return found
}

// cutLast splits a list at its last comma.
func cutLast(list string) (rest, last string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", strings.TrimSpace(list), false
	}
	return list[:i], strings.TrimSpace(list[i+1:]), true
}

// parseAddr reads an address with or without a port and brackets.
func parseAddr(s string) (netip.AddrPort, bool) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		return netip.AddrPortFrom(addr.Unmap().WithZone(""), 0), true
	}
	ap, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), err == nil
}

// Package listen opens TCP listeners as nginx does, whose syntax the listen
// settings have: 0.0.0.0 is IPv4 and nothing else, and [::] IPv6.
package listen

import (
	"context"
	"net"
	"net/netip"
)

// TCP listens on host:port. Go alone takes 0.0.0.0 for all addresses of both
// families: that would open IPv6 to the world where IPv4 was asked for, and make
// "0.0.0.0:8000, [::]:8000", the usual pair, two listeners on one address. An
// address without a host is both families.
func TCP(ctx context.Context, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network(addr), addr)
}

// network is the one of an address; a name may have either family.
func network(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return "tcp"
	case ap.Addr().Unmap().Is4():
		return "tcp4"
	}
	return "tcp6"
}

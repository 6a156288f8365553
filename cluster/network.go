package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Network is where a node listens and dials. Implementations are safe for
// concurrent use.
type Network interface {
	// Listen opens TCP and UDP on the same number; port 0 takes any free one.
	Listen(address string) (net.Listener, net.PacketConn, error)
	// Dial opens a stream to a "host:port".
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// portTries is how often a free port is looked for: one that is free for TCP
// may be taken for UDP.
const portTries = 16

// hostNetwork is the machine's own network.
type hostNetwork struct{}

func (hostNetwork) Listen(address string) (net.Listener, net.PacketConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	tries := 1
	if port == "0" {
		tries = portTries
	}
	var last error
	for range tries {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return nil, nil, listenError(address, err)
		}
		_, bound, err := net.SplitHostPort(ln.Addr().String())
		if err == nil {
			var packets net.PacketConn
			if packets, err = net.ListenPacket("udp", net.JoinHostPort(host, bound)); err == nil {
				return ln, packets, nil
			}
		}
		last = errors.Join(err, ln.Close())
	}
	return nil, nil, listenError(address, last)
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another program listens on %s: %w", ErrPortInUse, address, err)
	}
	return fmt.Errorf("listen on cluster port %s: %w", address, err)
}

func (hostNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// advertised is how others reach this node: text is what it tells them (a name
// stays a name), ip and port are what gossip needs.
type advertised struct {
	text string
	ip   net.IP
	port int
}

// advertise works out the address to tell others, from the configured one or
// from the one bound.
func advertise(ctx context.Context, configured string, bound net.Addr) (*advertised, error) {
	at, err := netip.ParseAddrPort(bound.String())
	if err != nil {
		return nil, fmt.Errorf("bound address %s: %w", bound, err)
	}
	text := configured
	if text == "" {
		ip := at.Addr().Unmap()
		if ip.IsUnspecified() {
			ip = interfaceAddress()
		}
		text = netip.AddrPortFrom(ip, at.Port()).String()
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil, fmt.Errorf("%w: cluster advertise address %q: %w", ErrInvalidConfig, text, err)
	}
	number, err := parsePort(port)
	if err != nil {
		return nil, fmt.Errorf("%w: cluster advertise address %q: %w", ErrInvalidConfig, text, err)
	}
	if number == 0 {
		number = int(at.Port())
	}
	ips, err := lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("%w: cluster advertise address %q: %w", ErrInvalidConfig, text, err)
	}
	return &advertised{text: net.JoinHostPort(host, strconv.Itoa(number)), ip: ips[0], port: number}, nil
}

// interfaceAddress picks an address of this machine that others can use: a
// private one before a public one, IPv4 before IPv6, loopback when there is no
// other.
func interfaceAddress() netip.Addr {
	best, bestRank := netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return best // no interface can be listed: only loopback is sure to exist
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		if !ip.IsGlobalUnicast() {
			continue
		}
		rank := 1
		if ip.Is4() {
			rank += 2
		}
		if ip.IsPrivate() {
			rank++
		}
		if rank > bestRank {
			best, bestRank = ip, rank
		}
	}
	return best
}

func lookup(ctx context.Context, host string) ([]net.IP, error) {
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}, nil
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	ips := make([]net.IP, len(addrs))
	for i, a := range addrs {
		ips[i] = a.IP
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return ips, nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	return int(port), err
}

// seed is one entry of Config.Join.
type seed struct{ host, port string }

// parseSeed reads "host", "host:port" or "dns:NAME[:port]". Every name stands
// for all of its addresses, so "dns:" only says so aloud.
func parseSeed(entry string) (seed, error) {
	text := strings.TrimPrefix(strings.TrimSpace(entry), "dns:")
	s := seed{host: strings.Trim(text, "[]"), port: DefaultPort}
	if host, port, err := net.SplitHostPort(text); err == nil {
		s = seed{host: host, port: port}
	} else if net.ParseIP(s.host) == nil && strings.Contains(text, ":") {
		return seed{}, fmt.Errorf("%w: join address %q: %w", ErrInvalidConfig, entry, err)
	}
	if s.host == "" || strings.ContainsAny(s.host, " /,") {
		return seed{}, fmt.Errorf("%w: join address %q has no host", ErrInvalidConfig, entry)
	}
	if port, err := parsePort(s.port); err != nil || port == 0 {
		return seed{}, fmt.Errorf("%w: join address %q has no port", ErrInvalidConfig, entry)
	}
	return s, nil
}

// maxSeedAddresses bounds what one name may stand for.
const maxSeedAddresses = 64

// resolve gives the addresses of a seed as "ip:port".
func (s seed) resolve(ctx context.Context) ([]string, error) {
	ips, err := lookup(ctx, s.host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", s.host, err)
	}
	if len(ips) > maxSeedAddresses {
		ips = ips[:maxSeedAddresses]
	}
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = net.JoinHostPort(ip.String(), s.port)
	}
	return out, nil
}

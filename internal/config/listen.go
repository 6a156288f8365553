package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Listener is one address of a listen setting, with Kong's flags.
type Listener struct {
	// Addr is host:port for net.Listen.
	Addr string
	// TLS is the flag ssl.
	TLS bool
	// HTTP2 offers HTTP/2: by ALPN with TLS, with prior knowledge without.
	HTTP2 bool
	// ProxyProtocol says that connections begin with a PROXY header.
	ProxyProtocol bool
	// Tuning are the other flags, as given (reuseport, backlog=16384): they
	// tell nginx how to set up the socket and are not needed here.
	Tuning []string
}

// ParseListen reads Kong's listen syntax: addresses separated by commas, each
// followed by flags, or "off" for none.
func ParseListen(text string) ([]Listener, error) {
	if strings.TrimSpace(text) == "off" {
		return nil, nil
	}
	var all []Listener
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 {
			return nil, errors.New("must be addresses host:port with their flags, separated by commas, or off")
		}
		l, err := parseListener(fields)
		if err != nil {
			return nil, err
		}
		if port0 := strings.HasSuffix(l.Addr, ":0"); seen[l.Addr] && !port0 {
			return nil, fmt.Errorf("%s is there twice", l.Addr)
		}
		seen[l.Addr] = true
		all = append(all, l)
	}
	return all, nil
}

func parseListener(fields []string) (Listener, error) {
	l := Listener{Addr: fields[0]}
	if strings.HasPrefix(l.Addr, "unix:") {
		return l, fmt.Errorf("%q: unix sockets are not supported, give host:port", l.Addr)
	}
	host, port, err := net.SplitHostPort(l.Addr)
	if err != nil {
		return l, fmt.Errorf("%q is not host:port", l.Addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return l, fmt.Errorf("%q has no port from 0 to 65535", l.Addr)
	}
	if host == "*" { // nginx's name for it
		l.Addr = net.JoinHostPort("0.0.0.0", port)
	}
	for _, flag := range fields[1:] {
		name, value, _ := strings.Cut(flag, "=")
		switch name {
		case "ssl":
			l.TLS = true
		case "http2":
			l.HTTP2 = true
		case "reuseport", "deferred", "bind", "so_keepalive", "ipv6only":
			l.Tuning = append(l.Tuning, flag)
		case "backlog":
			if n, err := strconv.Atoi(value); err != nil || n < 1 {
				return l, fmt.Errorf("flag %q: the backlog must be a number above 0", flag)
			}
			l.Tuning = append(l.Tuning, flag)
		case "proxy_protocol":
			l.ProxyProtocol = true
		default:
			return l, fmt.Errorf("unknown flag %q%s", flag, DidYouMean(name, []string{"ssl", "http2", "proxy_protocol", "reuseport", "backlog", "deferred", "bind", "so_keepalive", "ipv6only"}))
		}
	}
	return l, nil
}

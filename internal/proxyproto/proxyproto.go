// Package proxyproto reads the header of the PROXY protocol, versions 1 and 2,
// with which a load balancer tells whom it opened a connection for. The format is
// that of HAProxy's doc/proxy-protocol.txt; sections named here are its.
//
// The package reads bytes and keeps nothing: no connection, no buffer, no clock.
// Anybody who reaches a port can send such a header, so whether to believe it is
// for the caller to decide, by the peer's address.
package proxyproto

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// Errors of Parse, found with errors.Is. After either, the connection has to be
// closed without an answer: its bytes mean nothing.
var (
	// ErrMissing: the connection does not begin with a header.
	ErrMissing = errors.New("no PROXY protocol header")
	// ErrInvalid: it begins with one that breaks the format's rules.
	ErrInvalid = errors.New("invalid PROXY protocol header")
)

// MaxHeader is the longest header that is taken, in bytes: nginx's bound. Version
// 2 could have 64 KiB; senders keep below a packet's size (section 2.2).
const MaxHeader = 4096

// maxV1 is the longest line of version 1 with its CRLF (section 2.1).
const maxV1 = 107

// Header is what a header says. The zero value is a header about nobody.
type Header struct {
	// Version is 1 or 2.
	Version int
	// Source is the client, Destination the address that it connected to. Both
	// are zero if the header speaks of no TCP connection of somebody else: LOCAL
	// (a health check), UNKNOWN, UNSPEC, datagrams, unix sockets. The addresses
	// of the connection itself count then.
	Source, Destination netip.AddrPort
	// Authority is the host name that the client asked for, its SNI; "" if it is
	// not told. Version 2 only.
	Authority string
}

// Parse reads the header at the start of a connection. n is its length; with n 0
// and no error, more bytes are needed, and never more than MaxHeader in all. A
// fault is told as soon as the bytes show it, so that a connection without a
// header does not wait for more. The error wraps ErrMissing or ErrInvalid. buf is
// not kept.
func Parse(buf []byte) (n int, header Header, err error) {
	switch {
	case len(buf) == 0:
		return 0, Header{}, nil
	case startsLike(buf, signature):
		return parseV2(buf)
	case startsLike(buf, prefixV1):
		return parseV1(buf)
	}
	return 0, Header{}, ErrMissing
}

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	prefixV1  = "PROXY "
)

// startsLike says whether buf begins with prefix, as far as it goes.
func startsLike(buf []byte, prefix string) bool {
	n := min(len(buf), len(prefix))
	return string(buf[:n]) == prefix[:n]
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// parseV1 reads the line of version 1 (section 2.1).
func parseV1(buf []byte) (int, Header, error) {
	window := buf[:min(len(buf), maxV1)]
	cr := bytes.IndexByte(window, '\r')
	switch {
	case cr < 0 && bytes.IndexByte(window, '\n') >= 0, cr >= 0 && bytes.IndexByte(window[:cr], '\n') >= 0:
		return 0, Header{}, invalid("LF without CR")
	case cr >= 0 && cr+1 < len(buf) && buf[cr+1] != '\n':
		return 0, Header{}, invalid("CR without LF")
	case cr == maxV1-1, cr < 0 && len(window) == maxV1:
		return 0, Header{}, invalid("longer than %d bytes", maxV1)
	case cr < 0 || cr+1 == len(buf):
		return 0, Header{}, nil
	}
	h := Header{Version: 1}
	fields := window[min(len(prefixV1), cr):cr]
	protocol, rest, _ := bytes.Cut(fields, []byte{' '})
	switch string(protocol) {
	case "UNKNOWN": // what follows is to be ignored
		return cr + 2, h, nil
	case "TCP4", "TCP6":
		var err error
		h.Source, h.Destination, err = addressesV1(rest, protocol[3] == '4')
		if err != nil {
			return 0, Header{}, err
		}
		return cr + 2, h, nil
	}
	return 0, Header{}, invalid("protocol %q", protocol)
}

// addressesV1 reads "source destination source-port destination-port", single
// spaces between them.
func addressesV1(text []byte, four bool) (source, destination netip.AddrPort, err error) {
	var parts [4]string
	for i := range parts {
		part, rest, more := bytes.Cut(text, []byte{' '})
		if more != (i < len(parts)-1) {
			return source, destination, invalid("not two addresses and two ports")
		}
		parts[i], text = string(part), rest
	}
	var addrs [2]netip.AddrPort
	for i := range addrs {
		addr, err := netip.ParseAddr(parts[i])
		if err != nil || addr.Is4() != four || addr.Zone() != "" {
			return source, destination, invalid("address %q", parts[i])
		}
		port, err := strconv.ParseUint(parts[i+2], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != parts[i+2] {
			return source, destination, invalid("port %q", parts[i+2])
		}
		addrs[i] = netip.AddrPortFrom(addr, uint16(port))
	}
	return addrs[0], addrs[1], nil
}

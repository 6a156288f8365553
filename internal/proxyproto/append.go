package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// AppendV1 appends the line of version 1. Addresses that are not both of one
// family make it UNKNOWN.
func AppendV1(b []byte, source, destination netip.AddrPort) []byte {
	src, dst := source.Addr().WithZone(""), destination.Addr().WithZone("")
	b = append(b, prefixV1...)
	switch {
	case !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4():
		return append(b, "UNKNOWN\r\n"...)
	case src.Is4():
		b = append(b, "TCP4 "...)
	default:
		b = append(b, "TCP6 "...)
	}
	b = append(src.AppendTo(b), ' ')
	b = append(dst.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(source.Port()), 10), ' ')
	return append(strconv.AppendUint(b, uint64(destination.Port()), 10), "\r\n"...)
}

// AppendV2 appends a header of version 2: PROXY with the addresses of h and its
// authority, and a checksum if asked for; or LOCAL if its addresses are not both
// of one family.
func AppendV2(b []byte, h Header, withChecksum bool) []byte {
	start := len(b)
	b = append(b, signature...)
	src, dst := h.Source.Addr(), h.Destination.Addr()
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() {
		return append(b, commandLocal, 0, 0, 0)
	}
	family := byte(familyInet6)
	if src.Is4() {
		family = familyInet
	}
	b = append(b, commandProxy, family<<4|transportStream, 0, 0)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	b = binary.BigEndian.AppendUint16(b, h.Destination.Port())
	if h.Authority != "" {
		b = append(b, typeAuthority)
		b = binary.BigEndian.AppendUint16(b, uint16(len(h.Authority)))
		b = append(b, h.Authority...)
	}
	sumAt := 0
	if withChecksum {
		b = append(b, typeCRC32C, 0, 4, 0, 0, 0, 0)
		sumAt = len(b) - 4
	}
	binary.BigEndian.PutUint16(b[start+14:], uint16(len(b)-start-fixedV2))
	if withChecksum {
		binary.BigEndian.PutUint32(b[sumAt:], checksum(b[start:], sumAt-start))
	}
	return b
}

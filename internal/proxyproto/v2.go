package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"unicode/utf8"
)

// The parts of a header of version 2 (section 2.2).
const (
	fixedV2 = 16 // signature, version and command, family and transport, length

	commandLocal = 0x20
	commandProxy = 0x21

	familyUnspec, familyInet, familyInet6, familyUnix = 0, 1, 2, 3
	transportStream, transportDatagram                = 1, 2

	typeAuthority = 0x02
	typeCRC32C    = 0x03
)

// maxAuthority is how long a host name may be, in bytes.
const maxAuthority = 255

// parseV2 reads a header of version 2, as far as it is there.
func parseV2(buf []byte) (int, Header, error) {
	if len(buf) > 12 && buf[12] != commandLocal && buf[12] != commandProxy {
		return 0, Header{}, invalid("version and command %#02x", buf[12])
	}
	if len(buf) < fixedV2 {
		return 0, Header{}, nil
	}
	n := fixedV2 + int(binary.BigEndian.Uint16(buf[14:]))
	local := buf[12] == commandLocal
	family, transport := buf[13]>>4, buf[13]&15
	switch {
	case n > MaxHeader:
		return 0, Header{}, invalid("%d bytes, at most %d are taken", n, MaxHeader)
	case !local && (family > familyUnix || transport > transportDatagram):
		return 0, Header{}, invalid("family and transport %#02x", buf[13])
	case len(buf) < n:
		return 0, Header{}, nil
	}
	h := Header{Version: 2}
	if local || family == familyUnspec {
		// What follows is about nobody and has no form to rely on: skipped.
		return n, h, nil
	}
	header := buf[:n]
	size := addressSize(family)
	if n < fixedV2+size {
		return 0, Header{}, invalid("%d bytes of addresses, %d expected", n-fixedV2, size)
	}
	if transport == transportStream {
		h.Source, h.Destination = addressesV2(header[fixedV2:], family)
	}
	if err := h.readTLVs(header, fixedV2+size); err != nil {
		return 0, Header{}, err
	}
	return n, h, nil
}

// addressSize is how many bytes the addresses of a family take.
func addressSize(family byte) int {
	switch family {
	case familyInet:
		return 2*4 + 2*2
	case familyInet6:
		return 2*16 + 2*2
	case familyUnix:
		return 2 * 108
	}
	return 0
}

func addressesV2(b []byte, family byte) (source, destination netip.AddrPort) {
	port := binary.BigEndian.Uint16
	switch family {
	case familyInet:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port(b[8:])),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port(b[10:]))
	case familyInet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), port(b[32:])),
			netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[16:])), port(b[34:]))
	}
	return source, destination // unix sockets have none of interest
}

// readTLVs goes through the values after the addresses: a checksum has to be
// right, the authority is taken, others are skipped.
func (h *Header) readTLVs(header []byte, at int) error {
	checked := false
	for at < len(header) {
		if len(header)-at < 3 {
			return invalid("%d bytes after the last value", len(header)-at)
		}
		kind, length := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		at += 3
		if length > len(header)-at {
			return invalid("a value of %d bytes where %d are left", length, len(header)-at)
		}
		value := header[at : at+length]
		switch kind {
		case typeAuthority:
			if length > maxAuthority || !utf8.Valid(value) {
				return invalid("authority")
			}
			h.Authority = string(value)
		case typeCRC32C:
			if checked || length != 4 || checksum(header, at) != binary.BigEndian.Uint32(value) {
				return invalid("checksum")
			}
			checked = true
		}
		at += length
	}
	return nil
}

// checksum is CRC-32C of a header whose checksum, four bytes at a place, counts as
// zero (section 2.2.3).
func checksum(header []byte, at int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, header[:at])
	sum = crc32.Update(sum, table, []byte{0, 0, 0, 0})
	return crc32.Update(sum, table, header[at+4:])
}

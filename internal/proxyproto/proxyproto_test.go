package proxyproto

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// v2 makes a header of version 2 of its fields and what follows them.
func v2(command, family byte, rest string) string {
	b := append([]byte(signature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(rest)))) + rest
}

const (
	inet  = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x1f\x90\x01\xbb" // 192.0.2.1:8080 198.51.100.2:443
	inet6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x50\x01\xbb"
	crc = "\x03\x00\x04"
)

func TestParse(t *testing.T) {
	local1, local2 := Header{Version: 1}, Header{Version: 2}
	four := Header{Version: 2, Source: ap("192.0.2.1:8080"), Destination: ap("198.51.100.2:443")}
	named := four
	named.Authority = "example.com"
	longestV1 := "PROXY UNKNOWN " + strings.Repeat("f", maxV1-len("PROXY UNKNOWN \r\n")) + "\r\n"
	for name, c := range map[string]struct {
		in   string
		want Header
	}{
		"TCP4":            {"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", Header{Version: 1, Source: ap("255.255.255.255:65535"), Destination: ap("0.0.0.0:0")}},
		"TCP6":            {"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", Header{Version: 1, Source: ap("[2001:db8::1]:56324"), Destination: ap("[::1]:443")}},
		"TCP6, mapped":    {"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", Header{Version: 1, Source: ap("[::ffff:1.2.3.4]:1"), Destination: ap("[::1]:2")}},
		"TCP6, longest":   {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", Header{Version: 1, Source: ap("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"), Destination: ap("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")}},
		"UNKNOWN":         {"PROXY UNKNOWN\r\n", local1},
		"UNKNOWN, more":   {"PROXY UNKNOWN anything at all\x00\xff\r\n", local1},
		"UNKNOWN, 107":    {longestV1, local1},
		"LOCAL":           {v2(0x20, 0x00, ""), local2},
		"LOCAL, more":     {v2(0x20, 0xff, "discarded"), local2},
		"stream over 4":   {v2(0x21, 0x11, inet), four},
		"stream over 6":   {v2(0x21, 0x21, inet6), Header{Version: 2, Source: ap("[2001:db8::1]:80"), Destination: ap("[2001:db8::2]:443")}},
		"UNSPEC":          {v2(0x21, 0x00, ""), local2},
		"UNSPEC, more":    {v2(0x21, 0x01, "whatever"), local2},
		"no transport":    {v2(0x21, 0x10, inet), local2},
		"datagram over 4": {v2(0x21, 0x12, inet), local2},
		"datagram over 6": {v2(0x21, 0x22, inet6), local2},
		"unix":            {v2(0x21, 0x31, strings.Repeat("p", 216)), local2},
		"authority":       {v2(0x21, 0x11, inet+"\x02\x00\x0bexample.com"), named},
		"other values":    {v2(0x21, 0x11, inet+"\x04\x00\x00\x01\x00\x02h2\xea\x00\x01x\x02\x00\x0bexample.com\x20\x00\x05\x00\x00\x00\x00\x00"), named},
		"at the bound":    {v2(0x21, 0x11, inet+"\x04\x0f\xe1"+strings.Repeat("\x00", MaxHeader-fixedV2-12-3)), four},
		"checksum":        {string(AppendV2(nil, named, true)), named},
	} {
		t.Run(name, func(t *testing.T) {
			n, h, err := Parse([]byte(c.in + "GET / HTTP/1.1\r\n"))
			if n != len(c.in) || h != c.want || err != nil {
				t.Errorf("got %d, %+v, %v; want %d, %+v", n, h, err, len(c.in), c.want)
			}
			for i := range c.in {
				if n, h, err := Parse([]byte(c.in[:i])); n != 0 || h != (Header{}) || err != nil {
					t.Fatalf("the first %d bytes: %d, %+v, %v", i, n, h, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	flipped := AppendV2(nil, Header{Source: ap("1.2.3.4:5"), Destination: ap("6.7.8.9:10")}, true)
	flipped[20]++
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"HTTP":                   {"G", ErrMissing},
		"TLS":                    {"\x16\x03\x01", ErrMissing},
		"lower case":             {"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", ErrMissing},
		"no space":               {"PROXY\r\n", ErrMissing},
		"HTTP/2 preface":         {"PRI * HTTP/2.0\r\n", ErrMissing},
		"broken signature":       {"\r\n\r\n\x00\r\nQUIT\r", ErrMissing},
		"no protocol":            {"PROXY \r\n", ErrInvalid},
		"other protocol":         {"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", ErrInvalid},
		"two spaces":             {"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", ErrInvalid},
		"two spaces later":       {"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", ErrInvalid},
		"space at the end":       {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", ErrInvalid},
		"too few":                {"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", ErrInvalid},
		"too many":               {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", ErrInvalid},
		"leading zero, address":  {"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", ErrInvalid},
		"leading zero, port":     {"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", ErrInvalid},
		"large port":             {"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", ErrInvalid},
		"signed port":            {"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", ErrInvalid},
		"IPv6 in TCP4":           {"PROXY TCP4 ::1 2.2.2.2 1 2\r\n", ErrInvalid},
		"IPv4 in TCP6":           {"PROXY TCP6 ::1 2.2.2.2 1 2\r\n", ErrInvalid},
		"zone":                   {"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", ErrInvalid},
		"LF alone":               {"PROXY UNKNOWN\n", ErrInvalid},
		"LF before CRLF":         {"PROXY UNKNOWN a\nb\r\n", ErrInvalid},
		"CR alone":               {"PROXY UNKNOWN\rx", ErrInvalid},
		"108 bytes":              {"PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", ErrInvalid},
		"107 bytes and no end":   {"PROXY UNKNOWN " + strings.Repeat("f", 93), ErrInvalid},
		"version 1 in binary":    {signature + "\x11", ErrInvalid},
		"version 3":              {signature + "\x31", ErrInvalid},
		"other command":          {signature + "\x22", ErrInvalid},
		"other family":           {v2(0x21, 0x41, inet), ErrInvalid},
		"other transport":        {v2(0x21, 0x13, inet), ErrInvalid},
		"too long":               {signature + "\x21\x11\x0f\xf1", ErrInvalid},
		"LOCAL, too long":        {signature + "\x20\x00\xff\xff", ErrInvalid},
		"addresses cut":          {v2(0x21, 0x11, inet[:11]), ErrInvalid},
		"IPv6 addresses cut":     {v2(0x21, 0x21, inet), ErrInvalid},
		"unix addresses cut":     {v2(0x21, 0x31, inet), ErrInvalid},
		"half a value's head":    {v2(0x21, 0x11, inet+"\x04\x00"), ErrInvalid},
		"value cut":              {v2(0x21, 0x11, inet+"\x04\x00\x02x"), ErrInvalid},
		"authority not UTF-8":    {v2(0x21, 0x11, inet+"\x02\x00\x01\xff"), ErrInvalid},
		"authority too long":     {v2(0x21, 0x11, inet+"\x02\x01\x00"+strings.Repeat("a", 256)), ErrInvalid},
		"checksum wrong":         {v2(0x21, 0x11, inet+crc+"\x00\x00\x00\x00"), ErrInvalid},
		"checksum, bit flipped":  {string(flipped), ErrInvalid},
		"checksum of three":      {v2(0x21, 0x11, inet+"\x03\x00\x03\x00\x00\x00"), ErrInvalid},
		"checksum cut":           {v2(0x21, 0x11, inet+crc+"\x00"), ErrInvalid},
		"datagram, value broken": {v2(0x21, 0x12, inet+"\x04\x00\x02x"), ErrInvalid},
	} {
		if n, h, err := Parse([]byte(c.in)); n != 0 || h != (Header{}) || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %+v, %v", name, n, h, err)
		}
	}
}

// TestChecksum against a value computed bit by bit.
func TestChecksum(t *testing.T) {
	b := AppendV2(nil, Header{Source: ap("192.0.2.1:8080"), Destination: ap("198.51.100.2:443")}, true)
	got := binary.BigEndian.Uint32(b[len(b)-4:])
	copy(b[len(b)-4:], "\x00\x00\x00\x00")
	sum := ^uint32(0)
	for _, c := range b {
		sum ^= uint32(c)
		for range 8 {
			sum = sum>>1 ^ 0x82f63b78&-(sum&1)
		}
	}
	if got != ^sum {
		t.Errorf("checksum %#x, want %#x", got, ^sum)
	}
}

func TestAppend(t *testing.T) {
	v4, v6 := ap("1.2.3.4:5"), ap("[::1]:6")
	if got := string(AppendV1(nil, v4, v6)); got != "PROXY UNKNOWN\r\n" {
		t.Errorf("mixed families: %q", got)
	}
	if got := string(AppendV1([]byte("x"), v4, v4)); got != "xPROXY TCP4 1.2.3.4 1.2.3.4 5 5\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AppendV2(nil, Header{Source: v4, Destination: v6}, true)); got != v2(0x20, 0, "") {
		t.Errorf("mixed families: %q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "PROXY UNKNOWN\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET", "PROXY TCP6 ::1 ::2 1 2\r\n",
		v2(0x20, 0, ""), v2(0x21, 0x11, inet), v2(0x21, 0x21, inet6+"\x02\x00\x01a"),
		string(AppendV2(nil, Header{Source: ap("1.2.3.4:5"), Destination: ap("6.7.8.9:10"), Authority: "a.b"}, true))} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, h, err := Parse(in)
		switch {
		case n < 0 || n > len(in) || n > MaxHeader:
			t.Fatalf("%d of %d bytes", n, len(in))
		case err != nil && (n != 0 || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrMissing)):
			t.Fatalf("%d, %v", n, err)
		case n == 0 && err == nil && len(in) >= MaxHeader:
			t.Fatal("asks for more than the bound")
		}
		// However the bytes arrive, the result is the same: nothing before the
		// end, and an error stays one.
		for i := range min(len(in), 256) {
			early, _, earlyErr := Parse(in[:i])
			switch {
			case early != 0 && early != n, earlyErr != nil && err == nil, early == 0 && earlyErr == nil && n > 0 && i >= n:
				t.Fatalf("%q: the first %d bytes give %d, %v, all give %d, %v", in, i, early, earlyErr, n, err)
			}
		}
		if n == 0 || !h.Source.IsValid() {
			return
		}
		again := AppendV2(nil, h, true)
		if h.Version == 1 {
			again = AppendV1(nil, h.Source, h.Destination)
		}
		if m, back, err := Parse(again); m != len(again) || back != h || err != nil {
			t.Fatalf("%q gave %+v, which came back as %+v, %v", in, h, back, err)
		}
	})
}

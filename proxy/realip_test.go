package proxy

import (
	"net/http"
	"net/netip"
	"testing"
)

// TestRealIPOfProxyProtocol: the PROXY header counts if the peer is trusted and
// the setting says so, and then nothing else does.
func TestRealIPOfProxyProtocol(t *testing.T) {
	const inside, outside = "10.0.0.1:80", "9.9.9.9:80"
	for _, c := range []struct {
		name, header, peer, proxied string
		fields                      http.Header
		want                        string
		trusted                     bool
	}{
		{"trusted", "proxy_protocol", inside, "1.2.3.4:99", nil, "1.2.3.4:99", true},
		{"upper case", "PROXY_PROTOCOL", inside, "1.2.3.4:99", nil, "1.2.3.4:99", true},
		{"mapped", "proxy_protocol", inside, "[::ffff:1.2.3.4]:99", nil, "1.2.3.4:99", true},
		{"IPv6", "proxy_protocol", inside, "[2001:db8::1]:99", nil, "[2001:db8::1]:99", true},
		{"not trusted", "proxy_protocol", outside, "1.2.3.4:99", nil, outside, false},
		{"LOCAL", "proxy_protocol", inside, "", nil, inside, true},
		{"a field of that name", "proxy_protocol", inside, "", http.Header{"Proxy_protocol": {"6.6.6.6"}}, inside, true},
		{"other fields", "proxy_protocol", inside, "1.2.3.4:99", http.Header{"X-Real-Ip": {"6.6.6.6"}, "X-Forwarded-For": {"6.6.6.6"}}, "1.2.3.4:99", true},
		{"the setting names a field", "X-Real-Ip", inside, "1.2.3.4:99", http.Header{"X-Real-Ip": {"5.5.5.5"}}, "5.5.5.5:0", true},
		{"the setting names a field that is not there", "X-Real-Ip", inside, "1.2.3.4:99", nil, inside, true},
		{"a field of one who is not trusted", "X-Real-Ip", outside, "1.2.3.4:99", http.Header{"X-Real-Ip": {"5.5.5.5"}}, outside, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTrust(Config{TrustedIPs: prefixes("10.0.0.0/8"), RealIPHeader: c.header, RealIPRecursive: true})
			var proxied netip.AddrPort
			if c.proxied != "" {
				proxied = netip.MustParseAddrPort(c.proxied)
			}
			got, trusted := tr.resolve(netip.MustParseAddrPort(c.peer), proxied, fromHTTP(c.fields))
			if got.String() != c.want || trusted != c.trusted {
				t.Errorf("got %s, trusted %t; want %s, %t", got, trusted, c.want, c.trusted)
			}
		})
	}
}

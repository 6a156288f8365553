package ratelimit

import (
	"net/netip"
	"testing"
)

func TestAddressKeys(t *testing.T) {
	var k addressKeys
	for range 2 { // the second time around, the slots are taken by others
		addr := netip.MustParseAddr("10.0.0.0")
		for range 3 * addressSlots {
			if got := k.key(addr); got != "\x00ip:"+addr.String() {
				t.Fatalf("key of %s is %q", addr, got)
			}
			addr = addr.Next()
		}
	}
}

package listen

import (
	"net"
	"testing"
)

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:80": "tcp4", "127.0.0.1:80": "tcp4", "[::ffff:127.0.0.1]:80": "tcp4",
		"[::]:80": "tcp6", "[::1]:80": "tcp6", "[fe80::1%eth0]:80": "tcp6",
		":80": "tcp", "localhost:80": "tcp", "": "tcp",
	} {
		if got := network(addr); got != want {
			t.Errorf("%q: %s, want %s", addr, got, want)
		}
	}
}

// TestOneFamily: all of IPv4 is not all of IPv6, so both can be listened on at
// one port.
func TestOneFamily(t *testing.T) {
	four, err := TCP(t.Context(), "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	addr := four.Addr().(*net.TCPAddr)
	if addr.IP.To4() == nil {
		t.Errorf("0.0.0.0 became %s", addr)
	}
	if _, err := TCP(t.Context(), addr.String()); err == nil {
		t.Error("the same address was listened on twice")
	}
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this host has no IPv6: %v", err)
	}
	probe.Close()
	six, err := TCP(t.Context(), "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	if conn, err := net.Dial("tcp4", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: six.Addr().(*net.TCPAddr).Port}).String()); err == nil {
		conn.Close()
		t.Error("[::] takes IPv4 too")
	}
}

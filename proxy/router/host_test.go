package router

import "testing"

func TestSplitHostPort(t *testing.T) {
	tests := []struct {
		in   string
		host string
		port int
	}{
		{"", "", 0},
		{"localhost", "localhost", 0},
		{"localhost:", "localhost", 0},
		{"localhost:80", "localhost", 80},
		{"localhost:23h", "localhost:23h", 0},
		{"localhost:+80", "localhost:+80", 0},
		{"localhost:0", "localhost:0", 0},
		{"localhost:65535", "localhost", 65535},
		{"localhost:65536", "localhost:65536", 0},
		{"localhost:99999999999999999999", "localhost:99999999999999999999", 0},
		{"::1", "::1", 0},
		{"[::1]", "::1", 0},
		{"[::1]:", "::1", 0},
		{"[::1]:80", "::1", 80},
		{"[::1]:80b", "[::1]:80b", 0},
		{"[::1]/96", "[::1]/96", 0},
		{"[::1", "[::1", 0},
		{"[]", "", 0},
		{":80", "", 80},
	}
	for _, tt := range tests {
		host, port := splitHostPort(tt.in)
		if host != tt.host || port != tt.port {
			t.Errorf("%q: got %q, %d, want %q, %d", tt.in, host, port, tt.host, tt.port)
		}
	}
}

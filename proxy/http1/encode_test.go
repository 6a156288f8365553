package http1

import (
	"net/http"
	"testing"
)

func TestStatusLines(t *testing.T) {
	for status := 100; status < 1000; status++ {
		want := http.StatusText(status)
		if got := Reason(status); got != want {
			t.Errorf("reason of %d is %q, want %q", status, got, want)
		}
		var r Response
		line := AppendStatusLine(nil, status)
		if n, err := r.Parse(append(line, "\r\n"...), Limits{}); n == 0 || err != nil || r.Status != status || r.Reason != want {
			t.Errorf("%q: %d %q, %v", line, r.Status, r.Reason, err)
		}
	}
	for _, status := range []int{-1, 0, 99, 1000, 1 << 30} {
		if got := string(AppendStatusLine(nil, status)); got != "HTTP/1.1 500 Internal Server Error\r\n" || Reason(status) != "" {
			t.Errorf("%d: %q", status, got)
		}
	}
}

func TestAppend(t *testing.T) {
	tests := map[string]struct{ got, want string }{
		"request line":       {string(AppendRequestLine(nil, "GET", "/a?b")), "GET /a?b HTTP/1.1\r\n"},
		"empty target":       {string(AppendRequestLine(nil, "GET", "")), "GET / HTTP/1.1\r\n"},
		"lines in a target":  {string(AppendRequestLine(nil, "GET", "/a b\r\nHost: x#\x7f\xff")), "GET /a%20b%0D%0AHost:%20x%23%7F\xff HTTP/1.1\r\n"},
		"lines in a method":  {string(AppendRequestLine(nil, "GET /\r\n", "/")), "GET%20/%0D%0A / HTTP/1.1\r\n"},
		"field":              {string(AppendField(nil, "A", "b")), "A: b\r\n"},
		"lines in a field":   {string(AppendField(nil, "A", "b\r\nC: d")), "A: b  C: d\r\n"},
		"name that is none":  {string(AppendField(nil, "A\r\nB", "c")), ""},
		"chunk size":         {string(AppendChunkSize(nil, 65535)), "ffff\r\n"},
		"behind other bytes": {string(AppendField([]byte("x"), "A", "")), "xA: \r\n"},
	}
	for name, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", name, tt.got, tt.want)
		}
	}
}

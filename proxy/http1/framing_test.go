package http1

import "testing"

func TestRequestFraming(t *testing.T) {
	chunked := Framing{Length: -1, Chunked: true}
	tests := map[string]struct {
		minor, lines string
		want         Framing
		status       int
	}{
		"no body":                    {"1", "X: y", Framing{}, 0},
		"length":                     {"1", "content-length: 12", Framing{Length: 12}, 0},
		"length of 0":                {"1", "Content-Length: 0", Framing{}, 0},
		"largest":                    {"1", "Content-Length: 9223372036854775807", Framing{Length: 1<<63 - 1}, 0},
		"too large":                  {"1", "Content-Length: 9223372036854775808", Framing{}, 400},
		"wraps around":               {"1", "Content-Length: 18446744073709551621", Framing{}, 400},
		"plus":                       {"1", "Content-Length: +5", Framing{}, 400},
		"minus":                      {"1", "Content-Length: -5", Framing{}, 400},
		"hex":                        {"1", "Content-Length: 0x5", Framing{}, 400},
		"fraction":                   {"1", "Content-Length: 5.0", Framing{}, 400},
		"underscore":                 {"1", "Content-Length: 1_0", Framing{}, 400},
		"space inside":               {"1", "Content-Length: 1 0", Framing{}, 400},
		"empty length":               {"1", "Content-Length:", Framing{}, 400},
		"list":                       {"1", "Content-Length: 5, 5", Framing{}, 400},
		"twice the same":             {"1", "Content-Length: 5\r\nContent-Length: 5", Framing{}, 400},
		"twice":                      {"1", "Content-Length: 5\r\ncontent-length: 6", Framing{}, 400},
		"chunked":                    {"1", "Transfer-Encoding: chunked", chunked, 0},
		"chunked in capitals":        {"1", "transfer-encoding:\tCHUNKED ", chunked, 0},
		"chunked with a Kelvin sign": {"1", "Transfer-Encoding: chun\u212Aed", Framing{}, 501},
		"with a length":              {"1", "Content-Length: 5\r\nTransfer-Encoding: chunked", Framing{}, 400},
		"with a length after":        {"1", "Transfer-Encoding: chunked\r\nContent-Length: 5", Framing{}, 400},
		"with a length of 0":         {"1", "Transfer-Encoding: chunked\r\nContent-Length: 0", Framing{}, 400},
		"identity with a length":     {"1", "Transfer-Encoding: identity\r\nContent-Length: 5", Framing{}, 400},
		"gzip, chunked":              {"1", "Transfer-Encoding: gzip, chunked", Framing{}, 501},
		"chunked, chunked":           {"1", "Transfer-Encoding: chunked, chunked", Framing{}, 501},
		"chunked, identity":          {"1", "Transfer-Encoding: chunked, identity", Framing{}, 501},
		"xchunked":                   {"1", "Transfer-Encoding: xchunked", Framing{}, 501},
		"quoted":                     {"1", "Transfer-Encoding: \"chunked\"", Framing{}, 501},
		"chunked with a comma":       {"1", "Transfer-Encoding: chunked,", Framing{}, 501},
		"chunked with a parameter":   {"1", "Transfer-Encoding: chunked;q=1", Framing{}, 501},
		"empty coding":               {"1", "Transfer-Encoding:", Framing{}, 501},
		"two codings":                {"1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Framing{}, 400},
		"1.0 with a length":          {"0", "Content-Length: 5", Framing{Length: 5}, 0},
		"1.0 chunked":                {"0", "Transfer-Encoding: chunked", Framing{}, 400},
		"another field":              {"1", "X-Transfer-Encoding: chunked\r\nContent_Length: 4", Framing{}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Request
			if n, err := r.Parse([]byte("POST / HTTP/1."+tt.minor+"\r\nHost: a\r\n"+tt.lines+"\r\n\r\n"), Limits{}); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			r.Fields.Set("Content-Length", "77") // decided before
			got, err := r.Framing()
			if got != tt.want || statusOf(1, err) != tt.status {
				t.Errorf("%+v, %v; want %+v, %d", got, err, tt.want, tt.status)
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	tests := map[string]struct {
		minor, lines string
		want         bool
	}{
		"1.1":                      {"1", "", true},
		"1.1 close":                {"1", "Connection: close\r\n", false},
		"1.1 close in a list":      {"1", "Connection: TE, Close\r\n", false},
		"1.1 close in a line":      {"1", "Connection: keep-alive\r\nconnection: close\r\n", false},
		"1.1 closed":               {"1", "Connection: closed\r\n", true},
		"1.0":                      {"0", "", false},
		"1.0 keep-alive":           {"0", "Connection: Keep-Alive\r\n", true},
		"1.0 keep-alive and close": {"0", "Connection: keep-alive, close\r\n", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var q Request
			if n, err := q.Parse([]byte("GET / HTTP/1."+tt.minor+"\r\nHost: a\r\n"+tt.lines+"\r\n"), Limits{}); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			var a Response
			if n, err := a.Parse([]byte("HTTP/1."+tt.minor+" 200 OK\r\n"+tt.lines+"\r\n"), Limits{}); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			if q.KeepAlive() != tt.want || a.KeepAlive() != tt.want {
				t.Errorf("request %v, response %v; want %v", q.KeepAlive(), a.KeepAlive(), tt.want)
			}
		})
	}
}

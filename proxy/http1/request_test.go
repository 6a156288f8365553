package http1

import (
	"testing"
)

const browser = "GET /students/17?fields=name,marks HTTP/1.1\r\n" +
	"Host: api.example.com:8000\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Cookie: session=4f1c2d9a7b; theme=dark\r\n" +
	"Connection: keep-alive\r\n" +
	"Apikey: 0123456789abcdef0123456789abcdef\r\n" +
	"\r\n"

func TestRequestIsParsed(t *testing.T) {
	var r Request
	n, err := r.Parse([]byte(browser+"rest"), Limits{})
	if err != nil || n != len(browser) {
		t.Fatalf("%d, %v; want %d", n, err, len(browser))
	}
	if r.Method != "GET" || r.Target != "/students/17?fields=name,marks" || r.Minor != 1 {
		t.Errorf("request line: %q %q %d", r.Method, r.Target, r.Minor)
	}
	if r.Host() != "api.example.com:8000" || !r.KeepAlive() || r.Fields.Len() != 8 {
		t.Errorf("host %q, keep-alive %v, %d fields", r.Host(), r.KeepAlive(), r.Fields.Len())
	}
	path, query, hasQuery := r.PathQuery()
	if path != "/students/17" || query != "fields=name,marks" || !hasQuery {
		t.Errorf("path %q, query %q %v", path, query, hasQuery)
	}
	if got := r.Fields.Get("accept-language"); got != "en-US,en;q=0.5" {
		t.Errorf("Accept-Language %q", got)
	}
	if f, err := r.Framing(); err != nil || f != (Framing{}) {
		t.Errorf("framing %+v, %v", f, err)
	}
}

func BenchmarkRequest(b *testing.B) {
	var r Request
	buf := []byte(browser)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

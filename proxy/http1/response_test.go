package http1

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const answer = "HTTP/1.1 200 OK\r\n" +
	"Server: demo\r\n" +
	"Date: Wed, 25 Nov 2026 20:00:00 GMT\r\n" +
	"Content-Type: application/json\r\n" +
	"Content-Length: 27\r\n" +
	"\r\n"

func TestResponseIsParsed(t *testing.T) {
	var r Response
	n, err := r.Parse([]byte(answer+"{}"), Limits{})
	if err != nil || n != len(answer) {
		t.Fatalf("%d, %v; want %d", n, err, len(answer))
	}
	if r.Status != 200 || r.Reason != "OK" || r.Minor != 1 || r.Fields.Len() != 4 || !r.KeepAlive() {
		t.Errorf("%d %q, 1.%d, %d fields, keep-alive %v", r.Status, r.Reason, r.Minor, r.Fields.Len(), r.KeepAlive())
	}
}

// TestResponseHead says what is accepted (1), refused (-1), not complete (0).
func TestResponseHead(t *testing.T) {
	tests := map[string]struct {
		wire string
		want int
	}{
		"nothing":                 {"", 0},
		"begun":                   {"HTT", 0},
		"status line":             {"HTTP/1.1 200 OK\r\n", 0},
		"no reason":               {"HTTP/1.1 200 \r\n\r\n", 1},
		"no space":                {"HTTP/1.1 200\r\n\r\n", 1},
		"1.0":                     {"HTTP/1.0 200 OK\r\n\r\n", 1},
		"reason with UTF-8":       {"HTTP/1.1 200 \xc3\xa4\t.\r\n\r\n", 1},
		"unknown status":          {"HTTP/1.1 999 ?\r\n\r\n", 1},
		"status below 100":        {"HTTP/1.1 099 ?\r\n\r\n", -1},
		"status of 2 digits":      {"HTTP/1.1 20 OK\r\n\r\n", -1},
		"status of 4 digits":      {"HTTP/1.1 2000 OK\r\n\r\n", -1},
		"signed status":           {"HTTP/1.1 +20 OK\r\n\r\n", -1},
		"two spaces":              {"HTTP/1.1  200 OK\r\n\r\n", -1},
		"HTTP/2":                  {"HTTP/2 200 OK\r\n\r\n", -1},
		"HTTP/1.2":                {"HTTP/1.2 200 OK\r\n\r\n", -1},
		"HTTP/2.0":                {"HTTP/2.0 200 OK\r\n\r\n", -1},
		"NUL in the reason":       {"HTTP/1.1 200 O\x00K\r\n\r\n", -1},
		"CR in the reason":        {"HTTP/1.1 200 O\rK\r\n\r\n", -1},
		"empty line before":       {"\r\nHTTP/1.1 200 OK\r\n\r\n", -1},
		"bare LF":                 {"HTTP/1.1 200 OK\n", -1},
		"bare LF after a field":   {"HTTP/1.1 200 OK\r\nA: b\n", -1},
		"folded":                  {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", -1},
		"space before the colon":  {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", -1},
		"something else":          {"SSH-2.0-x", -1},
		"body of HTTP/0.9":        {"<html>", -1},
		"no field, only a status": {"HTTP/1.1 204 No Content\r\n\r\n", 1},
		"too large":               {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 1<<16), -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Response
			n, err := r.Parse([]byte(tt.wire), Limits{})
			if err != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is no ErrInvalid", err)
			}
			if got := map[bool]int{true: -1, false: min(n, 1)}[err != nil]; got != tt.want {
				t.Errorf("%q: %d (%v), want %d", tt.wire, got, err, tt.want)
			}
		})
	}
}

func TestRequestErrorsAreNotErrInvalid(t *testing.T) {
	var r Request
	if _, err := r.Parse([]byte("\n"), Limits{}); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
	if errors.Is(ErrPreface, ErrInvalid) || !errors.Is(ErrPreface, ErrPreface) {
		t.Error("ErrPreface is something else")
	}
}

func TestResponseFraming(t *testing.T) {
	none, tunnel := Framing{NoBody: true}, Framing{Length: -1, UntilClose: true}
	chunked := Framing{Length: -1, Chunked: true}
	const codedField, both = "Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"
	tests := map[string]struct {
		method, line, fields string
		want                 Framing
		invalid, goesOn      bool
	}{
		"length":                    {"GET", "1 200", "Content-Length: 5", Framing{Length: 5}, false, true},
		"chunked":                   {"GET", "1 200", codedField, chunked, false, true},
		"until close":               {"GET", "1 200", "X: y", tunnel, false, true},
		"both":                      {"GET", "1 200", both, Framing{}, true, true},
		"both, to HEAD":             {"HEAD", "1 200", both, Framing{}, true, true},
		"chunked in 1.0":            {"GET", "0 200", codedField, Framing{}, true, false},
		"another coding":            {"GET", "1 200", "Transfer-Encoding: gzip", Framing{}, true, true},
		"two codings":               {"GET", "1 200", codedField + "\r\n" + codedField, Framing{}, true, true},
		"equal lengths":             {"GET", "1 200", "Content-Length: 5\r\nX: y\r\ncontent-length: 5", Framing{Length: 5}, false, true},
		"lengths that differ":       {"GET", "1 200", "Content-Length: 5\r\nContent-Length: 05", Framing{}, true, true},
		"three lengths":             {"GET", "1 200", "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6", Framing{}, true, true},
		"list of lengths":           {"GET", "1 200", "Content-Length: 5, 5", Framing{}, true, true},
		"bad length":                {"GET", "1 200", "Content-Length: -5", Framing{}, true, true},
		"HEAD":                      {"HEAD", "1 200", "Content-Length: 5", Framing{Length: 5, NoBody: true}, false, true},
		"HEAD, chunked":             {"HEAD", "1 200", codedField, Framing{Length: -1, NoBody: true}, false, true},
		"HEAD, nothing":             {"HEAD", "1 200", "X: y", Framing{Length: -1, NoBody: true}, false, true},
		"HEAD, bad length":          {"HEAD", "1 200", "Content-Length: x", Framing{}, true, true},
		"304":                       {"GET", "1 304", "Content-Length: 5", Framing{Length: 5, NoBody: true}, false, true},
		"204":                       {"GET", "1 204", "X: y", none, false, true},
		"204 with length 0":         {"GET", "1 204", "Content-Length: 0", none, false, true},
		"204 that announces a body": {"GET", "1 204", "Content-Length: 5", none, false, false},
		"204 chunked":               {"DELETE", "1 204", codedField, none, false, false},
		"205":                       {"GET", "1 205", "Content-Length: 0", Framing{}, false, true},
		"100":                       {"POST", "1 100", "X: y", none, false, true},
		"103":                       {"GET", "1 103", "Link: </a>", none, false, true},
		"101":                       {"GET", "1 101", "Upgrade: websocket", none, false, true},
		"101 with length 0":         {"GET", "1 101", "Content-Length: 0", none, false, true},
		"101 with a body":           {"GET", "1 101", "Content-Length: 5", Framing{}, true, true},
		"100 chunked":               {"POST", "1 100", codedField, Framing{}, true, true},
		"CONNECT":                   {"CONNECT", "1 200", "Content-Length: 5", tunnel, false, true},
		"CONNECT 204":               {"CONNECT", "1 204", "X: y", tunnel, false, true},
		"CONNECT refused":           {"CONNECT", "1 403", "Content-Length: 5", Framing{Length: 5}, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Response
			if n, err := r.Parse([]byte("HTTP/1."+tt.line+"\r\n"+tt.fields+"\r\n\r\n"), Limits{}); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			got, err := r.Framing(tt.method)
			if got != tt.want || errors.Is(err, ErrInvalid) != tt.invalid || (err != nil) != tt.invalid {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
			if r.KeepAlive() != tt.goesOn {
				t.Errorf("keep-alive %v", r.KeepAlive())
			}
		})
	}
}

func TestEqualLengthsAreMerged(t *testing.T) {
	var r Response
	wire := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\ncontent-length: 5\r\nCONTENT-LENGTH: 5\r\n\r\n"
	if n, err := r.Parse([]byte(wire), Limits{}); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	if diff := cmp.Diff([]Field{{"Content-Length", "5"}, {"X", "y"}}, r.Fields.list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestResponseInPieces(t *testing.T) {
	var r Response
	for at := range len(answer) {
		if n, err := r.Parse([]byte(answer[:at]), Limits{}); n != 0 || err != nil {
			t.Fatalf("%d bytes: %d, %v", at, n, err)
		}
	}
	if n, err := r.Parse([]byte(answer), Limits{}); n != len(answer) || err != nil || r.Status != 200 {
		t.Fatal(n, err, r.Status)
	}
}

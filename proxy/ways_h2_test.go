//go:build linux

package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// unaskedBehindTLS is a service that answers with a request's path, padded to a
// size, and sends an answer that nobody has asked for in the same segment: in the
// same TLS record, or in one of its own.
func unaskedBehindTLS(t *testing.T, certificate tls.Certificate, size int, apart bool) string {
	const stolen = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
	return secureService(t, certificate, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := readHead(r)
			if err != nil {
				return
			}
			said := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%*s", size, size, req.URL.Path)
			cork(c)
			if apart {
				_, _ = io.WriteString(c, said)
				said = ""
			}
			_, _ = io.WriteString(c, said+stolen)
			uncork(c)
		}
	})
}

// TestExtraAnswerBehindTLSToHTTP2 is TestExtraAnswerInARecordOfItsOwn for clients
// of HTTP/2: TLS may hold what the service has said unasked when nothing is left
// in the socket.
func TestExtraAnswerBehindTLSToHTTP2(t *testing.T) {
	certificate, roots := certified(t)
	w, _ := secure(t)
	paths := []string{"/small/apart", "/small/together", "/large/apart", "/large/together"}
	for _, path := range paths {
		size := 20
		if strings.HasPrefix(path, "/large") {
			size = 100_000
		}
		to := unaskedBehindTLS(t, certificate, size, strings.HasSuffix(path, "apart"))
		w.route(w.service(to, nil), object{"paths": []string{path}, "strip_path": false})
	}
	w.start()
	client := protocolClient(t, roots, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	for _, path := range paths {
		t.Run(path[1:], func(t *testing.T) {
			for i := range 20 {
				asked := fmt.Sprintf("%s/%d", path, i)
				resp, err := client.Get(fmt.Sprintf("http://%s%s", w.proxy.Addrs()[3], asked))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if got := strings.TrimSpace(string(body)); got != asked || err != nil {
					t.Fatalf("%s is answered with %.60q, %v", asked, got, err)
				}
			}
		})
	}
}

// TestMalformedHTTP2Requests: what HTTP/1.1 would be refused for, and lengths that
// are none or are not the body's, reach no service (RFC 9113, sections 8.1.1 and
// 8.3.1).
func TestMalformedHTTP2Requests(t *testing.T) {
	var asked atomic.Int64
	w := clearH2(t, nil, func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		hello(rw, r)
	})
	for name, c := range map[string]struct {
		method, path, authority string
		data                    []string // nil: the head ends the stream
		length                  []string
	}{
		"space in the method":      {"GET /x HTTP/1.1", "/r", "a", nil, nil},
		"method that is no token":  {"GET:", "/r", "a", nil, nil},
		"space in the path":        {"GET", "/r/a b", "a", nil, nil},
		"space in the query":       {"GET", "/r?a b", "a", nil, nil},
		"no authority":             {"GET", "/r", "", nil, nil},
		"port that is none":        {"GET", "/r", "a:99999x", nil, nil},
		"list of hosts":            {"GET", "/r", "a,b:c", nil, nil},
		"length without a body":    {"POST", "/r", "a", nil, []string{"5"}},
		"length of a GET":          {"GET", "/r", "a", nil, []string{"5"}},
		"two lengths":              {"POST", "/r", "a", []string{"hello"}, []string{"5", "3"}},
		"length that is a list":    {"POST", "/r", "a", []string{"hello"}, []string{"5, 5"}},
		"length that is none":      {"POST", "/r", "a", []string{""}, []string{"abc"}},
		"length that is too large": {"POST", "/r", "a", []string{"hello"}, []string{"18446744073709551621"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRawH2(t, w.addr()).read()
			r.block.Reset()
			fields := []string{":method", c.method, ":scheme", "http", ":path", c.path, ":authority", c.authority}
			for _, n := range c.length {
				fields = append(fields, "content-length", n)
			}
			for i := 0; i < len(fields); i += 2 {
				_ = r.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
			}
			if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: c.data == nil, BlockFragment: r.block.Bytes()}); err != nil {
				t.Fatal(err)
			}
			for i, piece := range c.data {
				if err := r.WriteData(1, i == len(c.data)-1, []byte(piece)); err != nil {
					t.Fatal(err)
				}
			}
			f, ok := r.until(func(f seenFrame) bool { return f.stream == 1 && (f.status != "" || f.kind == http2.FrameRSTStream) })
			if !ok || f.status != "400" && f.code != http2.ErrCodeProtocol {
				t.Errorf("%+v", f)
			}
		})
	}
	w.awaitInFlight(0)
	if n := asked.Load(); n > 0 {
		t.Errorf("%d requests have reached the service", n)
	}
}

// TestPieceBeforeHalfAChunk: a piece of an answer is sent on although the head of
// the next one has begun to come, and does not end.
func TestPieceBeforeHalfAChunk(t *testing.T) {
	heard := make(chan struct{})
	to := rawService(t, func(c net.Conn) {
		if _, err := readHead(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3")
			<-heard
			_, _ = io.WriteString(c, "\r\ndef\r\n0\r\n\r\n")
		}
	})
	w, roots := secure(t)
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	w.start()
	client := protocolClient(t, roots, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	resp, err := client.Get("http://" + w.proxy.Addrs()[3].String() + "/r")
	if err != nil {
		close(heard)
		t.Fatal(err)
	}
	defer resp.Body.Close()
	timer := time.AfterFunc(5*time.Second, func() { resp.Body.Close() })
	defer timer.Stop()
	_, err = io.ReadFull(resp.Body, make([]byte, 3))
	close(heard)
	if err != nil {
		t.Fatalf("the piece does not come: %v", err)
	}
	if rest, err := io.ReadAll(resp.Body); string(rest) != "def" || err != nil {
		t.Fatalf("%q, %v", rest, err)
	}
}

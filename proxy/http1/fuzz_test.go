package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seeds are heads, and pieces that ambiguous ones are made of.
func seeds(f *testing.F, firstLine string) {
	for _, s := range []string{
		"", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: +5\r\n", "Transfer-Encoding: \x0bchunked\r\n", "X: y\r\n z\r\n",
		"X : y\r\n", "X: y\n", "X:\ty\t\r\n", "X: a\x00b\r\n", "Connection: close, te\r\n", "Pragma: no-cache\r\n", "Trailer: X\r\n",
		"Host: b\r\n", "Transfer-Encoding: chun\u212Aed\r\n", "X: 0123456789abcdef\x7f0123456789\r\n", ": x\r\n", "\r\r\n",
	} {
		f.Add([]byte(firstLine+s+"\r\n"), uint64(len(s)))
	}
}

// FuzzRequest holds a head against net/http's reader: what we accept, it must
// accept, and understand the same. Where it may differ is said at the place.
func FuzzRequest(f *testing.F) {
	seeds(f, "POST /a%20b?c=d HTTP/1.1\r\nHost: a\r\n")
	seeds(f, "GET http://a:80/b HTTP/1.1\r\nHost: a\r\n")
	seeds(f, "GET / HTTP/1.0\r\n")
	for _, s := range []string{browser, "\r\nOPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", " HTTP/1.0\r\n", "0\r\n", "\r\r\n",
		"GET //a/b HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"} {
		f.Add([]byte(s), uint64(7))
	}
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		var r, pieces, again Request
		n, err := r.Parse(wire, Limits{})
		rnd := rand.New(rand.NewPCG(seed, 0))
		m, perr := inPieces(pieces.Parse, wire, rnd, err)
		if n != m || !errors.Is(perr, err) {
			t.Fatalf("whole %d, %v; in pieces %d, %v", n, err, m, perr)
		}
		if n == 0 || err != nil {
			return
		}
		if diff := cmp.Diff(r.Fields.list, pieces.Fields.list); diff != "" || r.Target != pieces.Target || r.Host() != pieces.Host() {
			t.Fatalf("fields (-whole +in pieces):\n%s", diff)
		}
		line := r.Method + " " + r.Target + " HTTP/1." + string(rune('0'+r.Minor)) + "\r\n"
		out := append(r.Fields.AppendTo([]byte(line)), EndOfHead...)
		if k, err := again.Parse(out, Limits{Bytes: len(out)}); k != len(out) || err != nil {
			t.Fatalf("%q: encoded %q: %d, %v", wire, out, k, err)
		}
		if diff := cmp.Diff(r.Fields.list, again.Fields.list); diff != "" || again.framing != r.framing || again.Host() != r.Host() || again.KeepAlive() != r.KeepAlive() {
			t.Fatalf("fields (-parsed +encoded and parsed):\n%s", diff)
		}
		sameAsNetHTTP(t, &r, bytes.TrimPrefix(wire[:n], []byte("\r\n"))) // it allows no empty line before
	})
}

// inPieces parses wire as it would come in random pieces, each time in another
// buffer. What is refused as a whole may be waited for in pieces, but only to the
// end of the head.
func inPieces(parse func([]byte, Limits) (int, error), wire []byte, rnd *rand.Rand, whole error) (n int, err error) {
	for at := 0; at < len(wire) && n == 0 && err == nil; {
		at = min(at+1+rnd.IntN(20), len(wire))
		n, err = parse(bytes.Clone(wire[:at]), Limits{})
	}
	if whole != nil && n == 0 && err == nil {
		n, err = parse(append(bytes.Clone(wire), "\r\n\r\n"...), Limits{})
	}
	return n, err
}

func sameAsNetHTTP(t *testing.T, r *Request, wire []byte) {
	framing, ferr := r.Framing()
	// Where a Trailer field names what may not be in one, net/http refuses the
	// request. Here what comes in the trailer counts, not what was announced.
	trailer := r.Fields.Has("Trailer")
	theirs, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(wire), len(wire)+16))
	if err != nil {
		if ferr == nil && !trailer {
			t.Fatalf("%q: net/http: %v", wire, err)
		}
		return
	}
	if theirs.Method != r.Method || theirs.RequestURI != r.Target || theirs.ProtoMinor != r.Minor || theirs.Host != r.Host() {
		t.Fatalf("%q: %q %q %q; net/http %q %q %q", wire, r.Method, r.Target, r.Host(), theirs.Method, theirs.RequestURI, theirs.Host)
	}
	if path, query, _ := r.PathQuery(); r.rest >= 0 && path != "*" && (query != theirs.URL.RawQuery || path != "/" && path != pathAsSent(theirs)) {
		t.Fatalf("%q: path %q, query %q; net/http %q, %q", wire, path, query, pathAsSent(theirs), theirs.URL.RawQuery)
	}
	if ferr != nil {
		return // it merges lengths, and prefers chunked to a length
	}
	chunked := len(theirs.TransferEncoding) == 1 && theirs.TransferEncoding[0] == "chunked"
	if chunked != framing.Chunked || theirs.ContentLength != framing.Length {
		t.Fatalf("%q: %+v; net/http %d, chunked %v", wire, framing, theirs.ContentLength, chunked)
	}
	if !theirs.Close != r.KeepAlive() {
		t.Fatalf("%q: keep-alive %v; net/http closes %v", wire, r.KeepAlive(), theirs.Close)
	}
	sameFields(t, &r.Fields, theirs.Header, "Host", "Transfer-Encoding")
}

// pathAsSent cuts the path out of net/http's target: its EscapedPath may spell
// it anew.
func pathAsSent(r *http.Request) string {
	target, _, _ := strings.Cut(r.RequestURI, "?")
	if i := strings.Index(target, "://"); i >= 0 && target[0] != '/' {
		_, target, _ = strings.Cut(target[i+3:], "/")
		target = "/" + target
	}
	return target
}

// sameFields compares fields apart from those that net/http moves elsewhere.
func sameFields(t *testing.T, ours *Fields, theirs http.Header, moved ...string) {
	t.Helper()
	// net/http says of Pragma: no-cache what HTTP/1.1 says, and takes away
	// Trailer with a chunked body.
	moved = append(moved, "Trailer")
	if ours.Has("Pragma") && !ours.Has("Cache-Control") {
		moved = append(moved, "Cache-Control")
	}
	mine, others := http.Header{}, theirs.Clone()
	for name, value := range ours.All {
		mine[textproto.CanonicalMIMEHeaderKey(name)] = append(mine[textproto.CanonicalMIMEHeaderKey(name)], value)
	}
	for _, name := range moved {
		mine.Del(name)
		others.Del(name)
	}
	if diff := cmp.Diff(others, mine); diff != "" {
		t.Fatalf("fields (-net/http +ours):\n%s", diff)
	}
}

// FuzzResponse holds a head against net/http's reader of responses.
func FuzzResponse(f *testing.F) {
	seeds(f, "HTTP/1.1 200 OK\r\n")
	seeds(f, "HTTP/1.0 304\r\n")
	f.Add([]byte("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"), uint64(3))
	f.Add([]byte("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n\r\n"), uint64(3))
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		var r, pieces, again Response
		n, err := r.Parse(wire, Limits{})
		m, perr := inPieces(pieces.Parse, wire, rand.New(rand.NewPCG(seed, 0)), err)
		if n != m || !errors.Is(perr, err) {
			t.Fatalf("whole %d, %v; in pieces %d, %v", n, err, m, perr)
		}
		if n == 0 || err != nil {
			if err != nil && !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		line := "HTTP/1." + string(rune('0'+r.Minor)) + string(AppendStatusLine(nil, r.Status)[len("HTTP/1.1"):])
		out := append(r.Fields.AppendTo([]byte(line)), EndOfHead...)
		if k, err := again.Parse(out, Limits{Bytes: len(out)}); k != len(out) || err != nil {
			t.Fatalf("%q: encoded %q: %d, %v", wire, out, k, err)
		}
		if diff := cmp.Diff(r.Fields.list, again.Fields.list); diff != "" || r.Status != again.Status {
			t.Fatalf("fields (-parsed +encoded and parsed):\n%s", diff)
		}
		for _, method := range []string{"GET", "HEAD"} {
			sameResponse(t, &r, wire[:n], method)
		}
	})
}

func sameResponse(t *testing.T, r *Response, wire []byte, method string) {
	framing, ferr := r.Framing(method)
	theirs, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(wire), len(wire)+16), &http.Request{Method: method})
	if err != nil {
		if ferr == nil && !r.Fields.Has("Trailer") { // as with requests
			t.Fatalf("%q: net/http: %v", wire, err)
		}
		return
	}
	if theirs.StatusCode != r.Status || theirs.ProtoMinor != r.Minor {
		t.Fatalf("%q: %d in 1.%d; net/http %d in 1.%d", wire, r.Status, r.Minor, theirs.StatusCode, theirs.ProtoMinor)
	}
	if ferr != nil {
		return
	}
	chunked := len(theirs.TransferEncoding) == 1
	switch {
	case framing.NoBody:
		if theirs.Body != http.NoBody {
			t.Fatalf("%q: net/http sees a body", wire)
		}
	case chunked != framing.Chunked, theirs.ContentLength != framing.Length:
		t.Fatalf("%q: %+v; net/http %d, chunked %v", wire, framing, theirs.ContentLength, chunked)
	}
	// net/http removes Content-Length where it has no meaning, and Connection
	// where it says close.
	moved := []string{"Transfer-Encoding", "Content-Length"}
	if r.Fields.HasToken("Connection", "close") {
		moved = append(moved, "Connection")
	}
	sameFields(t, &r.Fields, theirs.Header, moved...)
}

// FuzzChunked holds a body against net/http's decoder: what we decode to the
// end, it must decode to the same bytes, up to the trailer, which it leaves.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{"5\r\nhello\r\n0\r\n\r\n", "2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\nrest", "0\r\n\r\n", "a \t;x\r\n0123456789\r\n00\r\nHost: a\r\n\r\n",
		"-1\r\n", "0x1\r\na\r\n0\r\n\r\n", "fffffffffffffff\r\n", "1\na\n0\n\n", "1\r\nab\r\n0\r\n\r\n", "0\r\nX : y\r\n\r\n", "0\r\n X: y\r\n\r\n"} {
		f.Add([]byte(s), uint64(len(s)))
	}
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		var c, pieces Chunked
		body, rest, err := decode(&c, string(wire), func() int { return len(wire) })
		rnd := rand.New(rand.NewPCG(seed, 0))
		pbody, prest, perr := decode(&pieces, string(wire), func() int { return 1 + rnd.IntN(9) })
		if body != pbody || rest != prest || c.Done() != pieces.Done() || !errors.Is(perr, err) {
			t.Fatalf("whole %q %q %v; in pieces %q %q %v", body, rest, err, pbody, prest, perr)
		}
		if diff := cmp.Diff(c.Trailer().list, pieces.Trailer().list); diff != "" {
			t.Fatalf("trailer (-whole +in pieces):\n%s", diff)
		}
		for name := range c.Trailer().All {
			if forbiddenInTrailer(name) {
				t.Fatalf("%q in the trailer", name)
			}
		}
		if err != nil || !c.Done() {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(wire)))
		if string(theirs) != body || err != nil {
			t.Fatalf("%q; net/http %q, %v", body, theirs, err)
		}
	})
}

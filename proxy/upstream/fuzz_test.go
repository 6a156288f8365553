package upstream

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzAnswer feeds bytes to the reader of answers: it must end, and what it
// takes for a whole answer must have clear framing.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{ok, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 x\r\n\r\nHTTP/1.0 200\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "\r\n", "HTTP/1.1 200 OK\r\n a: b\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := newTestConn(wire)
		h, err := c.readHead("GET")
		if err != nil {
			return
		}
		if h.status < 100 || h.status > 999 {
			t.Fatalf("status %d", h.status)
		}
		if h.status < 200 {
			return
		}
		c.headLeft = noHeadLimit
		var b body
		b.frame(c, h)
		n, err := io.Copy(io.Discard, &b)
		if err == nil && b.length >= 0 && b.length != n && h.status != 304 {
			t.Fatalf("%d bytes of an answer of %d", n, b.length)
		}
		if err == nil && !b.ended {
			t.Fatal("read to the end, but not ended")
		}
	})
}

// wireConn is a connection that only gives bytes.
type wireConn struct {
	net.Conn
	*bytes.Reader
}

func (wireConn) SetReadDeadline(time.Time) error { return nil }
func (c wireConn) Read(p []byte) (int, error)    { return c.Reader.Read(p) }

func newTestConn(wire []byte) *conn {
	c := &conn{Conn: wireConn{Reader: bytes.NewReader(wire)}}
	c.setReader()
	c.begin(Timeouts{Read: time.Second})
	return c
}

package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawH2 is a client that sends whatever frames a test wants, with prior
// knowledge.
type rawH2 struct {
	t testing.TB
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	next    uint32 // stream
	frames  chan seenFrame
	readers sync.WaitGroup
}

// seenFrame is what a test wants to know of a frame that came.
type seenFrame struct {
	kind     http2.FrameType
	stream   uint32
	code     http2.ErrCode // of RST_STREAM and GOAWAY
	status   string        // of HEADERS
	settings map[http2.SettingID]uint32
	ended    bool
}

// dialH2 connects to the h2c listener of secure and sends the preface.
func dialRawH2(t testing.TB, addr string, settings ...http2.Setting) *rawH2 {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	// A test that waits for what never comes ends.
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := &rawH2{t: t, Conn: c, Framer: http2.NewFramer(c, c), next: 1, frames: make(chan seenFrame, 1024)}
	r.encoder = hpack.NewEncoder(&r.block)
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.AllowIllegalWrites = true
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		for range r.frames { // until read ends
		}
		r.readers.Wait()
	})
	return r
}

// read passes on what comes, until the connection ends.
func (r *rawH2) read() *rawH2 {
	r.readers.Go(func() {
		defer close(r.frames)
		for {
			f, err := r.ReadFrame()
			var stream http2.StreamError
			if err != nil && !errors.As(err, &stream) {
				return
			}
			if err == nil {
				r.frames <- seen(f)
			}
		}
	})
	return r
}

// silent never reads.
func (r *rawH2) silent() *rawH2 {
	close(r.frames)
	return r
}

func seen(f http2.Frame) seenFrame {
	h := f.Header()
	s := seenFrame{kind: h.Type, stream: h.StreamID}
	switch f := f.(type) {
	case *http2.RSTStreamFrame:
		s.code = f.ErrCode
	case *http2.GoAwayFrame:
		s.code = f.ErrCode
	case *http2.MetaHeadersFrame:
		s.status, s.ended = f.PseudoValue("status"), f.StreamEnded()
	case *http2.DataFrame:
		s.ended = f.StreamEnded()
	case *http2.SettingsFrame:
		s.settings = map[http2.SettingID]uint32{}
		_ = f.ForeachSetting(func(v http2.Setting) error { s.settings[v.ID] = v.Val; return nil })
	}
	return s
}

// header gives an encoded header block.
func (r *rawH2) header(method, path string, fields ...string) []byte {
	r.block.Reset()
	all := append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "example.com"}, fields...)
	for i := 0; i < len(all); i += 2 {
		_ = r.encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}) // into memory
	}
	return r.block.Bytes()
}

// request opens a stream. The error means that the gateway has hung up.
func (r *rawH2) request(method string, end bool, fields ...string) (uint32, error) {
	id := r.next
	r.next += 2
	return id, r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end, BlockFragment: r.header(method, "/r", fields...)})
}

// until waits for a frame that a test is about; the end of the connection is a
// zero frame.
func (r *rawH2) until(ok func(seenFrame) bool) (seenFrame, bool) {
	for f := range r.frames {
		if ok(f) {
			return f, true
		}
	}
	return seenFrame{}, false
}

func (r *rawH2) untilKind(kind http2.FrameType) seenFrame {
	r.t.Helper()
	f, ok := r.until(func(f seenFrame) bool { return f.kind == kind })
	if !ok {
		r.t.Fatalf("connection ended without %v", kind)
	}
	return f
}

// clear is a world with an h2c listener as its only one and a service behind
// /r.
func clearH2(t testing.TB, configure func(*Config), h http.HandlerFunc) *world {
	t.Helper()
	w := newWorld(t)
	w.config.Listen = []Listener{{Address: "127.0.0.1:0", HTTP2: true}}
	if configure != nil {
		configure(&w.config)
	}
	return w.behind(h)
}

func hello(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, "hello")
}

// quiet checks that nothing of what was attacked goes on, and that others are
// served.
func (w *world) quiet() {
	w.t.Helper()
	eventually(w.t, "no exchange is left", func() bool { return w.proxy.inFlight.sum() == 0 })
	w.get("/r").want(w.t, 200, "hello")
}

// TestPrefaceAfterARequest: a connection that has begun with HTTP/1.1 does not
// become one of HTTP/2, in whatever pieces the preface comes.
func TestPrefaceAfterARequest(t *testing.T) {
	w := newWorld(t)
	w.config.Listen = []Listener{{Address: "127.0.0.1:0", HTTP2: true}}
	w.behind(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "ok") })
	for _, pieces := range [][]string{{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, {"PRI * HTT", "P/2.0\r\n\r\nSM\r\n\r\n"}} {
		c := w.dial(0).say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := c.hear("GET"); a.status != 200 {
			t.Fatalf("%+v", a)
		}
		for _, piece := range pieces {
			c.say(piece)
		}
		if said := c.ends(); !strings.HasPrefix(said, "HTTP/1.1 505 ") {
			t.Errorf("%q is answered with %q", pieces, said)
		}
	}
}

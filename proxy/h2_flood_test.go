package proxy

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// TestFloods: frames that make work and ask for nothing end the connection with
// ENHANCE_YOUR_CALM. x/net alone would serve these for ever, as long as their
// sender reads the answers.
func TestFloods(t *testing.T) {
	w := clearH2(t, nil, hello)
	for name, send := range map[string]func(r *rawH2, stream uint32) error{
		"SETTINGS": func(r *rawH2, _ uint32) error { return r.WriteSettings() },
		"PING":     func(r *rawH2, _ uint32) error { return r.WritePing(false, [8]byte{1}) },
		"PRIORITY": func(r *rawH2, stream uint32) error {
			return r.WritePriority(stream, http2.PriorityParam{Weight: 1})
		},
		"WINDOW_UPDATE": func(r *rawH2, _ uint32) error { return r.WriteWindowUpdate(0, 1) },
		"empty DATA":    func(r *rawH2, stream uint32) error { return r.WriteData(stream, false, nil) },
		"padded DATA":   func(r *rawH2, stream uint32) error { return r.WriteDataPadded(stream, false, nil, nil) },
		"unknown":       func(r *rawH2, _ uint32) error { return r.WriteRawFrame(0xee, 0, 0, nil) },
		"cancelled":     func(r *rawH2, _ uint32) error { return r.cancelled() },
		"made to reset": func(r *rawH2, _ uint32) error { return r.malformed() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // x/net waits a second after a GOAWAY
			r := dialRawH2(t, w.addr()).read()
			stream, err := r.request("POST", false)
			if err != nil {
				t.Fatal(err)
			}
			r.readers.Go(func() {
				for send(r, stream) == nil { // until the gateway has hung up
				}
			})
			if f := r.untilKind(http2.FrameGoAway); f.code != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("GOAWAY says %v", f.code)
			}
			r.Close()
			w.get("/r").want(t, 200, "hello")
		})
	}
}

// cancelled asks for something and gives it up at once.
func (r *rawH2) cancelled() error {
	stream, err := r.request("GET", true)
	if err != nil {
		return err
	}
	return r.WriteRSTStream(stream, http2.ErrCodeCancel)
}

// malformed asks for something and makes the gateway reset the stream
// (CVE-2025-8671).
func (r *rawH2) malformed() error {
	stream, err := r.request("GET", true)
	if err != nil {
		return err
	}
	// Several, for where the answer is out first it has earned what one costs.
	for range 4 {
		if err := r.WriteRawFrame(http2.FrameWindowUpdate, 0, stream, []byte{0, 0, 0, 0}); err != nil {
			return err
		}
	}
	return nil
}

// TestRapidReset: what a service sees of requests that are given up at once is
// bounded (x/net: handlers by the number of streams, and four times as many
// that wait), and the connection ends.
func TestRapidReset(t *testing.T) {
	var running, most atomic.Int64
	w := clearH2(t, nil, func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		if r.Header.Get("Wait") != "" {
			<-r.Context().Done()
		}
		hello(w, r)
	})
	r := dialRawH2(t, w.addr()).read()
	r.readers.Go(func() {
		for {
			stream, err := r.request("GET", true, "wait", "1")
			if err != nil || r.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
				return
			}
		}
	})
	if f := r.untilKind(http2.FrameGoAway); f.code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("GOAWAY says %v", f.code)
	}
	r.Close()
	w.quiet()
	if most.Load() > 2*MaxConcurrentStreams {
		t.Errorf("%d requests at the service at a time", most.Load())
	}
}

// TestContinuationFlood: x/net bounds the size of a header block that goes on
// and on, and the guard the number of small pieces.
func TestContinuationFlood(t *testing.T) {
	w := clearH2(t, nil, hello)
	for name, piece := range map[string][]byte{"large": []byte(strings.Repeat("\x00\x01a\x01b", 3000)), "small": {0, 1, 'a', 1, 'b'}, "empty": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := dialRawH2(t, w.addr()).read()
			err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: r.header("GET", "/r")})
			if err != nil {
				t.Fatal(err)
			}
			r.readers.Go(func() {
				for r.WriteContinuation(1, false, piece) == nil {
				}
			})
			r.untilKind(http2.FrameGoAway)
			r.Close()
			w.quiet()
		})
	}
}

// TestUnreadAnswers: who never reads what his frames are answered with is cut,
// whatever he sends.
func TestUnreadAnswers(t *testing.T) {
	w := clearH2(t, func(c *Config) { c.SendTimeout = shortTimeout }, hello)
	r := dialRawH2(t, w.addr()).silent()
	for r.WritePing(false, [8]byte{}) == nil { // until the gateway has hung up
	}
	w.quiet()
}

// TestLargeHead: x/net answers 431 for more fields than MaxHeadBytes, also when
// they are small on the wire (a bomb of indexes into the dynamic table).
func TestLargeHead(t *testing.T) {
	w := clearH2(t, func(c *Config) { c.MaxHeadBytes = 16 << 10 }, hello)
	many := make([]string, 0, 2000)
	for range 1000 {
		many = append(many, "x-field", strings.Repeat("v", 1000))
	}
	for name, fields := range map[string][]string{
		"one":  {"x-field", strings.Repeat("v", 15000), "x-other", strings.Repeat("w", 15000)},
		"bomb": many,
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRawH2(t, w.addr()).read()
			block := r.header("GET", "/r", fields...)
			first := block[:min(len(block), 16000)]
			err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: len(first) == len(block), BlockFragment: first})
			for rest := block[len(first):]; err == nil && len(rest) > 0; {
				piece := rest[:min(len(rest), 16000)]
				rest = rest[len(piece):]
				err = r.WriteContinuation(1, len(rest) == 0, piece)
			}
			if err != nil {
				t.Fatal(err)
			}
			if f := r.untilKind(http2.FrameHeaders); f.status != "431" {
				t.Errorf("status %s", f.status)
			}
		})
	}
}

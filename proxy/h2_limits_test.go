package proxy

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// shortTimeout is for what is to run out in a test.
const shortTimeout = 200 * time.Millisecond

// TestStreamLimit: the limit is announced, and x/net refuses what is above it.
func TestStreamLimit(t *testing.T) {
	release := make(chan struct{})
	w := clearH2(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Wait") != "" {
			<-release
		}
		hello(w, r)
	})
	r := dialRawH2(t, w.addr()).read()
	if f := r.untilKind(http2.FrameSettings); f.settings[http2.SettingMaxConcurrentStreams] != MaxConcurrentStreams {
		t.Errorf("settings: %v", f.settings)
	}
	if err := r.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	var last uint32
	for range MaxConcurrentStreams + 1 {
		stream, err := r.request("GET", true, "wait", "1")
		if err != nil {
			t.Fatal(err)
		}
		last = stream
	}
	if f := r.untilKind(http2.FrameRSTStream); f.stream != last {
		t.Errorf("stream %d is refused", f.stream)
	}
	close(release)
	for range MaxConcurrentStreams {
		if f := r.untilKind(http2.FrameHeaders); f.status != "200" {
			t.Errorf("status %s", f.status)
		}
	}
}

// TestClosedWindow: a client that never opens its window is given SendTimeout,
// for answers of any size.
func TestClosedWindow(t *testing.T) {
	w := clearH2(t, func(c *Config) { c.SendTimeout = shortTimeout }, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Large") != "" {
			_, _ = w.Write(make([]byte, 1<<20))
			return
		}
		hello(w, r)
	})
	for _, c := range []struct {
		name   string
		window uint32
		fields []string
	}{{"small", 0, nil}, {"large", 0, []string{"large", "1"}}, {"half read", 1 << 15, []string{"large", "1"}}} {
		t.Run(c.name, func(t *testing.T) {
			r := dialRawH2(t, w.addr(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: c.window}).read()
			if _, err := r.request("GET", true, c.fields...); err != nil {
				t.Fatal(err)
			}
			r.untilKind(http2.FrameRSTStream)
			w.quiet()
		})
	}
}

// TestUnreadSocket: so is a client with open windows that does not read.
func TestUnreadSocket(t *testing.T) {
	w := clearH2(t, func(c *Config) { c.SendTimeout = shortTimeout }, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Large") == "" {
			hello(w, r)
			return
		}
		for _, err := w.Write(make([]byte, 1<<20)); err == nil; _, err = w.Write(make([]byte, 1<<20)) {
		}
	})
	r := dialRawH2(t, w.addr(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}).silent()
	if err := r.WriteWindowUpdate(0, 1<<30); err != nil {
		t.Fatal(err)
	}
	if _, err := r.request("GET", true, "large", "1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer has begun", func() bool { return w.proxy.inFlight.sum() > 0 })
	w.quiet()
	eventually(t, "the connection is closed", func() bool { return r.WritePing(false, [8]byte{}) != nil })
}

// TestStalledBody: a body that does not come is given BodyTimeout.
func TestStalledBody(t *testing.T) {
	w := clearH2(t, func(c *Config) { c.BodyTimeout = shortTimeout }, hello)
	for name, fields := range map[string][]string{"streamed": nil, "whole": {"content-length", "100"}} {
		t.Run(name, func(t *testing.T) {
			r := dialRawH2(t, w.addr()).read()
			stream, err := r.request("POST", false, fields...)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.WriteData(stream, false, []byte("some of it")); err != nil {
				t.Fatal(err)
			}
			if f := r.untilKind(http2.FrameHeaders); f.status != "408" {
				t.Errorf("status %s", f.status)
			}
			w.quiet()
		})
	}
}

// TestIdleConnection: a connection without requests is given IdleTimeout, and a
// head that does not end counts as none. PINGs do not keep it.
func TestIdleConnection(t *testing.T) {
	w := clearH2(t, func(c *Config) { c.IdleTimeout = shortTimeout }, hello)
	for name, begin := range map[string]func(*rawH2) error{
		"nothing": func(*rawH2) error { return nil },
		"after a request": func(r *rawH2) error {
			_, err := r.request("GET", true)
			return err
		},
		"half a head": func(r *rawH2) error {
			return r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.header("GET", "/r")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRawH2(t, w.addr()).read()
			if err := begin(r); err != nil {
				t.Fatal(err)
			}
			if f := r.untilKind(http2.FrameGoAway); f.code != http2.ErrCodeNo {
				t.Errorf("GOAWAY says %v", f.code)
			}
			if f, ok := r.until(func(seenFrame) bool { return false }); ok {
				t.Errorf("then came %v", f)
			}
		})
	}
	w.get("/r").want(t, 200, "hello")
}

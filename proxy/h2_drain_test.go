package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestDrainWithRetries: while one gateway shuts down and another takes over, no
// request of a client fails that repeats what was refused unprocessed, as
// net/http's does, also requests that are not idempotent.
func TestDrainWithRetries(t *testing.T) {
	certificate, roots := certified(t)
	for name, secure := range map[string]bool{"h2c": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			configure := func(c *Config) {
				c.Listen[0].TLS = secure
				c.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
			}
			var served atomic.Int64
			service := func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				hello(w, r)
			}
			first, second := clearH2(t, configure, service), clearH2(t, configure, service)
			var addr atomic.Value
			addr.Store(first.addr())
			transport := &http.Transport{
				Protocols:       new(http.Protocols),
				TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"},
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", addr.Load().(string))
				},
			}
			scheme := "http"
			if secure {
				scheme = "https"
			}
			transport.Protocols.SetHTTP2(secure)
			transport.Protocols.SetUnencryptedHTTP2(!secure)
			defer transport.CloseIdleConnections()
			var clients sync.WaitGroup
			var stop atomic.Bool
			for range 8 {
				clients.Go(func() {
					for !stop.Load() {
						resp, err := transport.RoundTrip(newPost(scheme + "://gateway/r"))
						if err != nil {
							t.Error(err)
							return
						}
						body, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil || resp.StatusCode != 200 || string(body) != "hello" {
							t.Errorf("%d %q %v", resp.StatusCode, body, err)
							return
						}
					}
				})
			}
			eventually(t, "requests are served", func() bool { return served.Load() > 100 || t.Failed() })
			addr.Store(second.addr()) // as who balances would, before the stop
			first.stop()
			at := served.Load()
			eventually(t, "requests are served by the other", func() bool { return served.Load() > at+100 || t.Failed() })
			stop.Store(true)
			clients.Wait()
		})
	}
}

func newPost(url string) *http.Request {
	req, err := http.NewRequest("POST", url, strings.NewReader("message")) // with GetBody
	if err != nil {
		panic(err)
	}
	return req
}

// TestDrainFinishesStreams: GOAWAY names the last stream that is served, that
// one ends, and later ones are not looked at.
func TestDrainFinishesStreams(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	w := clearH2(t, nil, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		hello(w, r)
	})
	r := dialRawH2(t, w.addr()).read()
	if _, err := r.request("GET", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service is asked", func() bool { return asked.Load() == 1 })
	stopped := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- w.proxy.Shutdown(ctx)
	}()
	if f := r.untilKind(http2.FrameGoAway); f.code != http2.ErrCodeNo {
		t.Errorf("GOAWAY says %v", f.code)
	}
	if _, err := r.request("GET", true); err != nil {
		t.Fatal(err)
	}
	if err := r.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	r.untilKind(http2.FramePing) // so the request has been seen
	close(release)
	if f := r.untilKind(http2.FrameHeaders); f.stream != 1 || f.status != "200" {
		t.Errorf("answer: %+v", f)
	}
	if _, ok := r.until(func(f seenFrame) bool { return f.stream > 1 }); ok {
		t.Error("a stream after the GOAWAY is answered")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if asked.Load() != 1 {
		t.Errorf("%d requests at the service", asked.Load())
	}
}

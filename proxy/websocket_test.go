//go:build linux

package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

// socketService is a WebSocket service that does what the path says.
func socketService(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	var pongs atomic.Int64
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		OnPongReceived: func(context.Context, []byte) { pongs.Add(1) },
	})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	switch {
	case strings.HasSuffix(r.URL.Path, "/bye"):
		_ = c.Close(4002, "the service has enough")
		return
	case strings.HasSuffix(r.URL.Path, "/ping"):
		// The pong is found by the reader that CloseRead starts.
		ctx = c.CloseRead(ctx)
		for range 3 {
			if c.Ping(ctx) != nil {
				return
			}
		}
		_ = c.Write(ctx, websocket.MessageText, fmt.Append(nil, pongs.Load()))
		<-ctx.Done()
		return
	}
	for echoInPieces(ctx, c) {
	}
}

// echoInPieces sends a message back in fragments of 1,000 bytes.
func echoInPieces(ctx context.Context, c *websocket.Conn) bool {
	kind, from, err := c.Reader(ctx)
	if err != nil {
		return false
	}
	to, err := c.Writer(ctx, kind)
	if err != nil {
		return false
	}
	// Neither may take a way around the buffer.
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1000))
	return err == nil && to.Close() == nil
}

// sockets is a world in front of a WebSocket service, plain and with TLS on
// either side.
type sockets struct {
	*world
	client *http.Client
}

// variants are the ways to a service, as scheme, listener and path.
var variants = []struct {
	name, scheme string
	listener     int
	path         string
}{
	{"plain", "ws", 0, "/plain"}, {"TLS", "wss", 1, "/plain"}, {"TLS with HTTP/2", "wss", 2, "/plain"},
	{"plain to TLS", "ws", 0, "/secure"}, {"TLS to TLS", "wss", 1, "/secure"},
}

func newSockets(t *testing.T, h http.HandlerFunc) *sockets {
	w, roots := secure(t)
	w.start()
	plain, safe := httptest.NewServer(h), httptest.NewTLSServer(h)
	t.Cleanup(plain.Close)
	t.Cleanup(safe.Close)
	w.route(w.service(plain.URL, nil), object{"paths": []string{"/plain"}})
	w.route(w.service(safe.URL, nil), object{"paths": []string{"/secure"}})
	return &sockets{w, socketClient(t, roots)}
}

func socketClient(t *testing.T, roots *x509.CertPool) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// open opens a WebSocket. Its end is the caller's.
func (s *sockets) open(ctx context.Context, variant int, path string, o *websocket.DialOptions) (*websocket.Conn, error) {
	if o == nil {
		o = &websocket.DialOptions{}
	}
	o.HTTPClient = s.client
	v := variants[variant]
	c, _, err := websocket.Dial(ctx, v.scheme+"://"+s.proxy.Addrs()[v.listener].String()+v.path+path, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	c.SetReadLimit(-1)
	return c, nil
}

// each runs a test over every variant.
func (s *sockets) each(t *testing.T, test func(t *testing.T, ctx context.Context, variant int)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, v := range variants {
		t.Run(v.name, func(t *testing.T) { test(t, ctx, i) })
	}
	s.awaitInFlight(0)
	eventually(t, "the connections to go", func() bool { return s.proxy.Stats().ConnectionsActive == 0 })
}

// sayAndHear sends a message in fragments and checks its echo.
func sayAndHear(ctx context.Context, c *websocket.Conn, message []byte, fragment int) error {
	w, err := c.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	for at := 0; at < len(message); at += fragment {
		if _, err := w.Write(message[at:min(at+fragment, len(message))]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	kind, got, err := c.Read(ctx)
	if err == nil && (kind != websocket.MessageBinary || !bytes.Equal(got, message)) {
		err = fmt.Errorf("%v of %d bytes came back of %d", kind, len(got), len(message))
	}
	return err
}

// TestWebSocketMessages: messages of every size, in fragments and in one frame of
// a megabyte, come back as they were sent.
func TestWebSocketMessages(t *testing.T) {
	s := newSockets(t, socketService)
	large := bytes.Repeat([]byte("0123456789abcdef!"), 1<<20/17+1)[:1<<20]
	s.each(t, func(t *testing.T, ctx context.Context, variant int) {
		c, err := s.open(ctx, variant, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		for size, fragment := range map[int]int{0: 1, 1: 1, 125: 1, 126: 5, 65535: 1000, 65536: 65536, 200_000: 70_000, 1 << 20: 1 << 20} {
			if err := sayAndHear(ctx, c, large[:size], fragment); err != nil {
				t.Errorf("%d bytes in pieces of %d: %v", size, fragment, err)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	})
}

// TestWebSocketPings go through the tunnel both ways, and so do their pongs.
func TestWebSocketPings(t *testing.T) {
	s := newSockets(t, socketService)
	s.each(t, func(t *testing.T, ctx context.Context, variant int) {
		c, err := s.open(ctx, variant, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		reading := c.CloseRead(ctx) // finds the pongs
		for range 5 {
			if err := c.Ping(reading); err != nil {
				t.Fatal(err)
			}
		}
		var pings atomic.Int64
		asked, err := s.open(ctx, variant, "/ping", &websocket.DialOptions{
			OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer asked.CloseNow()
		if _, text, err := asked.Read(ctx); err != nil || string(text) != "3" || pings.Load() != 3 {
			t.Errorf("the service had %s pongs for %d pings: %v", text, pings.Load(), err)
		}
	})
}

// TestWebSocketCloses: each side learns the code and the reason of the other's
// end.
func TestWebSocketCloses(t *testing.T) {
	ends := make(chan error, 1)
	s := newSockets(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/bye") {
			socketService(w, r)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		_, _, err = c.Read(r.Context())
		ends <- err
	})
	s.each(t, func(t *testing.T, ctx context.Context, variant int) {
		c, err := s.open(ctx, variant, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if err := c.Close(4001, "the client has enough"); err != nil {
			t.Errorf("the handshake of the end: %v", err)
		}
		var end websocket.CloseError
		if err := <-ends; !errors.As(err, &end) || end.Code != 4001 || end.Reason != "the client has enough" {
			t.Errorf("the service saw %v", err)
		}
		if c, err = s.open(ctx, variant, "/bye", nil); err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if _, _, err := c.Read(ctx); !errors.As(err, &end) || end.Code != 4002 || end.Reason != "the service has enough" {
			t.Errorf("the client saw %v", err)
		}
	})
}

// TestManyWebSockets: many are open at once, all of them in work and all alive,
// and then none.
func TestManyWebSockets(t *testing.T) {
	const each = 30
	s := newSockets(t, socketService)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n := int64(each * len(variants))
	message := bytes.Repeat([]byte("abc"), 5000)
	var opened, wg sync.WaitGroup
	opened.Add(int(n))
	release := make(chan struct{})
	for i := range int(n) {
		wg.Go(func() {
			c, err := s.open(ctx, i%len(variants), "", nil)
			opened.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			<-release
			for range 3 {
				if err := sayAndHear(ctx, c, message, 4000); err != nil {
					t.Error(err)
					return
				}
			}
			if i%3 == 0 { // the others just vanish
				_ = c.Close(websocket.StatusGoingAway, "")
			}
		})
	}
	opened.Wait()
	if got := s.proxy.inFlight.sum(); got != n {
		t.Errorf("%d in work, %d are open", got, n)
	}
	close(release)
	wg.Wait()
	s.awaitInFlight(0)
	eventually(t, "the connections to go", func() bool { return s.proxy.Stats().ConnectionsActive == 0 })
	eventually(t, "a line for each", func() bool { return int64(strings.Count(s.access.String(), `HTTP/1.1" 101 `)) == n })
}

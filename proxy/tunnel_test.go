package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// webSocketEcho says everything twice.
func webSocketEcho(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if c.Write(r.Context(), kind, append(data, data...)) != nil {
			return
		}
	}
}

func TestWebSocket(t *testing.T) {
	w := serving(t, webSocketEcho)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://"+w.addr()+"/r/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if resp.Header.Get("X-Kong-Request-Id") == "" {
		t.Errorf("fields of the 101: %v", resp.Header)
	}
	for i := range 10 {
		if err := c.Write(ctx, websocket.MessageText, []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(ctx); err != nil || string(data) != fmt.Sprint(i, i)[:1]+fmt.Sprint(i) {
			t.Fatalf("%q, %v", data, err)
		}
	}
	if n := w.proxy.Stats().ConnectionsActive; n != 1 {
		t.Errorf("%d active connections", n)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a line with 101", func() bool { return strings.Contains(w.access.String(), `HTTP/1.1" 101 `) })
	eventually(t, "the connection to go", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
}

// switching is a service that switches to an invented protocol and then does
// what serve says.
func switching(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	return rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
		serve(c, r)
	})
}

// upgraded opens a tunnel and gives the client's end.
func (w *world) upgraded() (net.Conn, *bufio.Reader) {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	fmt.Fprint(c, "GET /t HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nfirst ")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "shout" {
		w.t.Fatalf("%v, %v", resp, err)
	}
	return c, r
}

// TestTunnelHalfClose: what the client sent with its request arrives, and each
// direction ends on its own.
func TestTunnelHalfClose(t *testing.T) {
	w := newWorld(t).start()
	w.route(w.service(switching(t, func(c net.Conn, r *bufio.Reader) {
		all, _ := io.ReadAll(r)
		_, _ = io.WriteString(c, strings.ToUpper(string(all)))
	}), nil), object{"paths": []string{"/t"}})
	c, r := w.upgraded()
	_, _ = io.WriteString(c, "second")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "FIRST SECOND" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestIdleTunnelIsClosed(t *testing.T) {
	w := newWorld(t).start()
	w.route(w.service(switching(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }),
		object{"read_timeout": 50}), object{"paths": []string{"/t"}})
	_, r := w.upgraded()
	if _, err := r.ReadByte(); err == nil {
		t.Fatal("a byte out of nothing")
	}
	eventually(t, "the tunnel to end", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
}

// TestShutdownCutsTunnels, when they outlast its patience.
func TestShutdownCutsTunnels(t *testing.T) {
	w := newWorld(t).start()
	w.route(w.service(switching(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }), nil),
		object{"paths": []string{"/t"}})
	_, r := w.upgraded()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.proxy.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("shutdown: %v", err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Fatal("the tunnel lives on")
	}
}

func TestServiceThatDoesNotSwitch(t *testing.T) {
	w := serving(t, echo)
	w.get("/r/x", "Connection", "Upgrade", "Upgrade", "websocket").want(t, 200, "GET /x")
}

//go:build linux

package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// patience is how long a test waits for what has to come. No test asserts that
// something comes sooner.
const patience = 30 * time.Second

// faultyClient is a connection on which a test says what it likes.
type faultyClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// dial connects to a listener of the world.
func (w *world) dial(listener int) *faultyClient {
	w.t.Helper()
	c, err := net.Dial("tcp", w.proxy.Addrs()[listener].String())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.faulty(c)
}

// dialTLS is dial for a TLS listener.
func (w *world) dialTLS(listener int, roots *x509.CertPool) *faultyClient {
	w.t.Helper()
	plain := w.dial(listener)
	c := tls.Client(plain.Conn, &tls.Config{RootCAs: roots, ServerName: "example.com"})
	if err := c.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	return w.faulty(c)
}

func (w *world) faulty(c net.Conn) *faultyClient {
	w.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	return &faultyClient{Conn: c, t: w.t, r: bufio.NewReader(c)}
}

// say writes; a proxy that has closed the connection is no fault here.
func (c *faultyClient) say(texts ...string) *faultyClient {
	_, _ = io.WriteString(c.Conn, strings.Join(texts, ""))
	return c
}

// heard is an answer, or how much of one came.
type heard struct {
	status int
	header http.Header
	body   string
	close  bool
	err    error
}

// hear reads one answer to a request of a method, after any interim ones. A
// connection that neither answers nor ends within the test's patience is a
// hang, which fails the test.
func (c *faultyClient) hear(method string) heard {
	c.t.Helper()
	for {
		resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			c.hung(err)
			return heard{err: err}
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		c.hung(err)
		return heard{resp.StatusCode, resp.Header, string(body), resp.Close, err}
	}
}

func (c *faultyClient) hung(err error) {
	c.t.Helper()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error("neither an answer nor an end")
	}
}

// ends reads up to the end of the connection and gives what came.
func (c *faultyClient) ends() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	c.hung(err)
	return string(b)
}

// reset closes the connection with a reset.
func (c *faultyClient) reset() {
	c.t.Helper()
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		tcp = c.Conn.(*tls.Conn).NetConn().(*net.TCPConn)
	}
	if err := tcp.SetLinger(0); err != nil {
		c.t.Error(err)
	}
	tcp.Close()
}

func (c *faultyClient) closeWrite() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Error(err)
	}
}

// readHead reads a request's head and leaves the body.
func readHead(r *bufio.Reader) (*http.Request, error) { return http.ReadRequest(r) }

// secureService is rawService behind TLS.
func secureService(t testing.TB, certificate tls.Certificate, serve func(*tls.Conn)) string {
	to := rawService(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if s.Handshake() != nil {
			return
		}
		defer s.Close()
		serve(s)
	})
	return strings.Replace(to, "http:", "https:", 1)
}

// cork has the kernel send several writes as one segment.
func cork(c *tls.Conn)   { setCork(c, 1) }
func uncork(c *tls.Conn) { setCork(c, 0) }

func setCork(c *tls.Conn, on int) {
	raw, err := c.NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, on) })
}

// awaitEnd waits until the peer has closed the connection, without reading what
// it has sent. False: it did not.
func awaitEnd(c net.Conn) bool {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		over := false
		_ = raw.Control(func(fd uintptr) {
			var info [104]byte // struct tcp_info; the first byte is the state
			size := uint32(len(info))
			_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
				uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
			over = errno != 0 || info[0] != 1 // TCP_ESTABLISHED
		})
		if over {
			return true
		}
	}
	return false
}

// fill writes until the proxy takes no more.
func fill(c *faultyClient) {
	piece := make([]byte, 64<<10)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := c.Write(piece); err != nil {
			break
		}
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience))
}

// awaitInFlight waits until some requests are in work.
func (w *world) awaitInFlight(n int64) {
	w.t.Helper()
	eventually(w.t, "the requests in work", func() bool { return w.proxy.inFlight.sum() == n })
}

// serviceID gives the only service of a world.
func serviceID(w *world) string {
	for e := range w.machine.View().All("services") {
		return e.ID
	}
	w.t.Fatal("no service")
	return ""
}

type plugExchange = plugin.Exchange

func corkPlain(c *net.TCPConn) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) })
	}
}

// echoSlowly is echo once release is closed.
func echoSlowly(release chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		<-release
		echo(w, r)
	}
}

// ended waits for the end of the connection, in order or not.
func (c *faultyClient) ended() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.r)
	c.hung(err)
}

// shutdownWithin stops the proxy: with time for everything, or hardly any.
func shutdownWithin(w *world, patiently bool) error {
	d := patience
	if !patiently {
		d = 50 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return w.proxy.Shutdown(ctx)
}

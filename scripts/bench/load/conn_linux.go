package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// conn is one connection of the generator.
type conn struct {
	fd     int
	socket *socket
	tls    *tls.Conn // nil without
	out    []byte    // what is left to send
	since  time.Duration
	busy   bool
	answer answer
}

// dialer opens connections.
type dialer struct {
	to     *syscall.SockaddrInet4
	config *tls.Config // nil without TLS
}

func newDialer(job *Job) (*dialer, error) {
	to, err := netip.ParseAddrPort(job.Address)
	if err != nil || !to.Addr().Is4() {
		return nil, fmt.Errorf("address %q is no IPv4 address and port", job.Address)
	}
	d := &dialer{to: &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}}
	if len(job.Roots) > 0 {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(job.Roots) {
			return nil, errors.New("no certificate in the roots")
		}
		d.config = &tls.Config{RootCAs: roots, ServerName: job.ServerName, MinVersion: tls.VersionTLS13}
	}
	return d, nil
}

// dial connects, and shakes hands, with a socket that blocks; afterwards it
// does not.
func (d *dialer) dial() (*conn, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	c := &conn{fd: fd, socket: &socket{fd: fd}}
	if err := d.prepare(c); err != nil {
		c.close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func (d *dialer) prepare(c *conn) error {
	limit := syscall.NsecToTimeval(int64(connectTimeLimit))
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, option, &limit); err != nil {
			return err
		}
	}
	// Closed with a reset: 10,000 of them in TIME_WAIT would be the next job's.
	linger := syscall.Linger{Onoff: 1}
	if err := syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &linger); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(c.fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := syscall.Connect(c.fd, d.to); err != nil {
		return err
	}
	if d.config != nil {
		c.tls = tls.Client(c.socket, d.config)
		if err := c.tls.Handshake(); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
	}
	c.socket.instant = true
	return syscall.SetNonblock(c.fd, true)
}

func (c *conn) close() { _ = syscall.Close(c.fd) }

// read gives errAgain when there is nothing to read.
func (c *conn) read(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(p)
	}
	return c.socket.Read(p)
}

// flush sends what it can of out.
func (c *conn) flush() error {
	for len(c.out) > 0 {
		var n int
		var err error
		if c.tls != nil {
			n, err = c.tls.Write(c.out)
		} else {
			n, err = c.socket.Write(c.out)
		}
		c.out = c.out[n:]
		if err != nil {
			return err
		}
	}
	return nil
}

// errAgain is EAGAIN as a temporary error: crypto/tls goes on after one of
// those where it stopped.
var errAgain error = again{}

type again struct{}

func (again) Error() string   { return "the socket would block" }
func (again) Timeout() bool   { return false }
func (again) Temporary() bool { return true }

// socket is a net.Conn, as crypto/tls wants one, over a file descriptor.
type socket struct {
	fd      int
	instant bool // does not block
}

func (s *socket) Read(p []byte) (int, error) {
	n, errno := readWith(s.instant, s.fd, p)
	switch {
	case errno == syscall.EAGAIN:
		return 0, errAgain
	case errno != 0:
		return 0, fmt.Errorf("read: %w", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (s *socket) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		n, errno := rawWrite(s.fd, p[sent:])
		if errno == syscall.EAGAIN {
			return sent, errAgain
		} else if errno != 0 {
			return sent, fmt.Errorf("write: %w", errno)
		}
		sent += n
	}
	return len(p), nil
}

func (s *socket) Close() error                     { return nil }
func (s *socket) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *socket) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*socket)(nil)

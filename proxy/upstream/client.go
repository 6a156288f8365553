package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// New makes a client. Its owner closes it.
func New(cfg Config) Client {
	return &client{cfg: cfg, pool: newPool(cfg.Keepalive.complete()), h2: newH2(cfg)}
}

type client struct {
	cfg    Config
	pool   *pool
	h2     *h2
	closed atomic.Bool
}

func (c *client) Close() {
	if !c.closed.Swap(true) {
		c.pool.close()
		c.h2.close()
	}
}

// Keep implements Client. HTTP/1.1 connections grow old by themselves.
func (c *client) Keep(wanted func(Target) bool) { c.h2.keep(wanted) }

// Do implements Client. A further try follows
//   - a connection that could not be made, Retries times;
//   - a kept connection that failed before the answer began, once and on a new
//     connection, if the body can be sent again and the request either has not
//     left or is idempotent (RFC 9110, section 9.2.2).
//
// Unlike nginx it does not follow a timeout or a failure on a new connection
// once the request has left: that would do its work up to six times over.
func (c *client) Do(ctx context.Context, req *Request) (*Response, error) {
	if err := Check(req); err != nil {
		return nil, err
	}
	if req.HTTP2 {
		return c.h2.do(ctx, req)
	}
	var stale error // why a kept connection was no use
	for failed := 0; ; {
		if c.closed.Load() {
			return nil, ErrClosed
		}
		var cn *conn
		if stale == nil {
			cn = c.pool.get(req.Target)
		}
		if cn == nil {
			var err error
			if cn, err = c.dial(ctx, req); err != nil {
				if failed++; failed > req.Retries || ctx.Err() != nil || errors.Is(err, ErrResolve) {
					return nil, err
				}
				continue
			}
		}
		resp, touched, err := c.exchange(ctx, cn, req)
		if err == nil {
			return resp, nil
		}
		again := req.Again(Progress{Kept: cn.kept, Sent: cn.sent, BodyRead: touched, Answered: cn.answered})
		if !again || ctx.Err() != nil {
			return nil, err
		}
		stale = err
	}
}

// Idempotent says whether doing a request twice does what doing it once does
// (RFC 9110, section 9.2.2).
func Idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// dial makes a connection within the connect timeout, TLS included.
func (c *client) dial(ctx context.Context, req *Request) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, req.Connect)
	defer cancel()
	tcp, err := dialTCP(ctx, req.Target)
	if err != nil {
		return nil, dialError(err, req)
	}
	cn := &conn{Conn: tcp, tcp: tcp, alive: aliveness(tcp), target: req.Target}
	if req.TLS {
		secure := tls.Client(tcp, c.tlsConfig(req.Target))
		if err := secure.HandshakeContext(ctx); err != nil {
			cn.cut()
			return nil, dialError(err, req)
		}
		cn.Conn = secure
	}
	cn.setReader()
	return cn, nil
}

func dialTCP(ctx context.Context, t Target) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(t.Host, strconv.Itoa(t.Port)))
}

func (c *client) tlsConfig(t Target) *tls.Config {
	if t.Config != nil {
		return t.Config
	}
	return &tls.Config{
		ServerName:         t.Host,
		RootCAs:            c.cfg.RootCAs,
		InsecureSkipVerify: !t.Verify, // Kong's default: tls_verify is off
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
	}
}

func dialError(err error, req *Request) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && !dns.IsTimeout:
		return fmt.Errorf("%w: %w", ErrResolve, err)
	case errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: not connected within %v: %w", ErrTimeout, req.Connect, err)
	}
	return fmt.Errorf("connect to upstream: %w", err)
}

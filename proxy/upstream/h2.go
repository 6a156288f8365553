package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/proxy/http1"
)

// h2 speaks HTTP/2 to gRPC services, through net/http: it shares connections
// between requests, and repeats what a service has refused unprocessed
// (REFUSED_STREAM, or streams above the last of a GOAWAY).
type h2 struct {
	clear, secure, verified *http.Transport

	mu sync.Mutex
	// byConfig is for targets with a TLS configuration of their own.
	byConfig map[*tls.Config]configured
	conns    map[*h2Conn]struct{}
	active   int // exchanges
	idle     time.Duration
	closed   bool
}

// h2Conn is a connection to a service, below TLS. net/http counts one as in use
// for a while after a stream was given up, and closes only idle ones.
type h2Conn struct {
	net.Conn
	h *h2
}

// Close implements net.Conn.
func (c *h2Conn) Close() error {
	c.h.mu.Lock()
	delete(c.h.conns, c)
	c.h.mu.Unlock()
	return c.Conn.Close()
}

// h2Window is how much of one answer is kept that the client has not taken yet;
// the service has to wait then. Windows of connections stay at net/http's
// gigabyte, or one slow client would hold up all that share the connection.
const h2Window = 256 << 10

func newH2(cfg Config) *h2 {
	h := &h2{conns: map[*h2Conn]struct{}{}, byConfig: map[*tls.Config]configured{}, idle: cfg.Keepalive.complete().IdleTimeout}
	encrypted := func(verify bool) *http.Transport {
		return h.newTransport(&tls.Config{RootCAs: cfg.RootCAs, InsecureSkipVerify: !verify,
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}})
	}
	h.clear, h.secure, h.verified = h.newTransport(nil), encrypted(false), encrypted(true)
	return h
}

// newTransport makes the transport of a TLS configuration, nil for none.
func (h *h2) newTransport(secure *tls.Config) *http.Transport {
	t := &http.Transport{
		DisableCompression:     true, // what the service sends goes through as it is
		ExpectContinueTimeout:  continueTimeout,
		IdleConnTimeout:        h.idle,
		MaxResponseHeaderBytes: maxHead,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: h2Window},
	}
	t.Protocols.SetHTTP2(secure != nil)
	t.Protocols.SetUnencryptedHTTP2(secure == nil)
	t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return h.dial(ctx, addr, nil) }
	t.DialTLSContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return h.dial(ctx, addr, secure.Clone()) }
	return t
}

// transport gives the transport of a target.
func (h *h2) transport(t Target) *http.Transport {
	switch {
	case !t.TLS:
		return h.clear
	case t.Config == nil && t.Verify:
		return h.verified
	case t.Config == nil:
		return h.secure
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c, known := h.byConfig[t.Config]
	if !known {
		c = configured{t, h.newTransport(t.Config)}
		h.byConfig[t.Config] = c
	}
	return c.transport
}

// configured is the transport of a TLS configuration, with the target that it
// was made for.
type configured struct {
	target    Target
	transport *http.Transport
}

// keep forgets the transports of targets that are not wanted any more.
func (h *h2) keep(wanted func(Target) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for config, c := range h.byConfig {
		if !wanted(c.target) {
			delete(h.byConfig, config)
			c.transport.CloseIdleConnections()
		}
	}
}

// close closes every connection once no exchange is left.
func (h *h2) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.closeUnused()
}

func (h *h2) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.active++
	return nil
}

func (h *h2) done() {
	h.mu.Lock()
	h.active--
	h.mu.Unlock()
	h.closeUnused()
}

func (h *h2) closeUnused() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed || h.active > 0 {
		return
	}
	for c := range h.conns {
		_ = c.Conn.Close() // there is nothing to do about one that cannot be closed
	}
}

// add takes a connection that was made; false: it comes too late.
func (h *h2) add(c *h2Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	late := h.closed && h.active == 0
	if !late {
		h.conns[c] = struct{}{}
	}
	return !late
}

// dialKey finds the *h2Exchange that a connection is made for.
type dialKey struct{}

// dialFailure is an error of making a connection.
type dialFailure struct{ error }

func (e dialFailure) Unwrap() error { return e.error }

var errNoH2 = errors.New("service does not speak HTTP/2 over TLS")

// dial makes a connection within the connect timeout of the request that
// needs it, TLS included. It may outlast the request: others can use it.
func (h *h2) dial(ctx context.Context, addr string, secure *tls.Config) (net.Conn, error) {
	x, ok := ctx.Value(dialKey{}).(*h2Exchange)
	if !ok {
		return nil, dialFailure{fmt.Errorf("%w: connection for nobody", ErrRequest)}
	}
	x.watch.allow(x.connect + x.watch.timeout)
	defer x.watch.moved()
	ctx, cancel := context.WithTimeout(ctx, x.connect)
	defer cancel()
	std, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, dialFailure{err}
	}
	tcp := &h2Conn{std, h}
	if !h.add(tcp) {
		return nil, dialFailure{errors.Join(ErrClosed, std.Close())}
	}
	if secure == nil {
		return tcp, nil
	}
	if secure.ServerName == "" {
		secure.ServerName, _, err = net.SplitHostPort(addr)
	}
	if err == nil {
		conn := tls.Client(tcp, secure)
		if err = conn.HandshakeContext(ctx); err == nil {
			if conn.ConnectionState().NegotiatedProtocol == "h2" {
				return conn, nil
			}
			err = errNoH2
		}
	}
	return nil, dialFailure{errors.Join(err, ignoreClosedConn(tcp.Close()))}
}

func ignoreClosedConn(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// h2Exchange is one request, with all its tries, up to Response.Close.
type h2Exchange struct {
	h2      *h2
	req     *Request // not for dial, which may come after the exchange
	connect time.Duration
	watch   watch
	body    *replayBody  // nil without a streamed body
	trailer *lateTrailer // nil without one
	cancel  context.CancelCauseFunc
}

// do is Client.Do. Further tries after a connection could not be made are its
// own, the others are net/http's; both need the body again, and its first 64
// KiB are kept for that until the answer begins.
func (h *h2) do(ctx context.Context, req *Request) (*Response, error) {
	if err := h.begin(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	x := &h2Exchange{h2: h, req: req, connect: req.Connect, cancel: cancel}
	if req.Whole == nil && req.Body != nil {
		x.body = &replayBody{source: req.Body, watch: &x.watch}
		if req.Trailer != nil {
			x.trailer = newLateTrailer(req)
			x.body.trailer = x.trailer
		}
	}
	x.watch.start(req.Read, func() { cancel(fmt.Errorf("%w: nothing moved for %v", ErrTimeout, req.Read)) })
	answer, err := x.roundTrips(context.WithValue(ctx, dialKey{}, x), h.transport(req.Target))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		x.end()
		return nil, err
	}
	x.watch.rest()
	if x.body != nil {
		x.body.forget()
	}
	answer.Header.Del("Transfer-Encoding")
	if names := slices.Sorted(maps.Keys(answer.Trailer)); len(names) > 0 { // net/http has taken it out
		answer.Header.Set("Trailer", strings.Join(names, ", "))
	}
	return &Response{
		Status: answer.StatusCode, Header: answer.Header, ContentLength: answer.ContentLength,
		Body:    &watchedReader{Reader: answer.Body, watch: &x.watch},
		Trailer: func() http.Header { return answer.Trailer },
		close: func() {
			// Closing waits for the end of the request, whose body the client may
			// never send.
			x.cancel(context.Canceled)
			// An error in closing what is given up means nothing.
			_ = answer.Body.Close()
			x.end()
		},
	}, nil
}

// end makes sure that nothing reads the request's body any more.
func (x *h2Exchange) end() {
	x.watch.stop()
	x.cancel(context.Canceled)
	if x.body != nil {
		x.body.end(x.req.StopBody)
	}
	x.h2.done()
}

func (x *h2Exchange) roundTrips(ctx context.Context, t *http.Transport) (*http.Response, error) {
	told := newInterims()
	ctx = told.traced(ctx, &x.watch)
	for failed := 0; ; {
		answer, err := told.roundTrip(t, x.request(ctx), x.interim)
		var dial dialFailure
		switch {
		case err == nil:
			return answer, nil
		case !errors.As(err, &dial):
			return nil, fmt.Errorf("exchange over HTTP/2: %w", err)
		}
		err = dialError(dial.error, x.req)
		if failed++; failed > x.req.Retries || ctx.Err() != nil || errors.Is(err, ErrResolve) || errors.Is(err, ErrRequest) {
			return nil, err
		}
	}
}

// interim passes on an interim answer. A client that is slow to take it is not
// the service's fault.
func (x *h2Exchange) interim(status int, header http.Header) {
	if x.req.Interim != nil {
		x.watch.rest()
		x.req.Interim(status, header)
		x.watch.wait()
	}
}

func (x *h2Exchange) request(ctx context.Context) *http.Request {
	req, scheme := x.req, "http"
	if req.TLS {
		scheme = "https"
	}
	out := (&http.Request{
		Method: strings.Clone(req.Method), Host: strings.Clone(req.Authority), Header: ownHeader(req.Header),
		URL: &url.URL{Scheme: scheme, Host: net.JoinHostPort(req.Host, strconv.Itoa(req.Port)), Opaque: strings.Clone(req.URI)},
	}).WithContext(ctx)
	switch {
	case req.Whole != nil:
		out.ContentLength = int64(len(req.Whole))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Whole)), nil }
	case x.body != nil:
		out.ContentLength, out.GetBody = req.ContentLength, x.body.again
		if x.trailer != nil {
			out.Trailer = x.trailer.fields
		}
	default:
		return out
	}
	// Neither fails: nothing of the body has been read yet that is not kept.
	out.Body, _ = out.GetBody()
	return out
}

// ownHeader gives a request's fields in net/http's form, in memory of their
// own: the transport may still look at them when the exchange has ended and the
// client's buffers serve another.
func ownHeader(fields *http1.Fields) http.Header {
	var all strings.Builder
	all.Grow(int(fields.Size()))
	for i := range fields.Len() {
		all.WriteString(fields.At(i).Name)
		all.WriteString(fields.At(i).Value)
	}
	rest := all.String()
	take := func(n int) (s string) {
		s, rest = rest[:n], rest[n:]
		return s
	}
	header := make(http.Header, fields.Len()+1)
	for i := range fields.Len() {
		f := fields.At(i)
		if name, value := take(len(f.Name)), take(len(f.Value)); !isFraming(name) {
			header.Add(name, value)
		}
	}
	delete(header, "Trailer") // net/http makes it from the trailer itself
	if len(header["User-Agent"]) == 0 {
		header["User-Agent"] = []string{""} // or else net/http names itself
	}
	return header
}

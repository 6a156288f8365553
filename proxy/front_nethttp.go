package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/http1"
)

// httpFront serves one listener with net/http: HTTP/1.1, and HTTP/2 where it is
// on. Nothing outside the front_nethttp files knows net/http's server.
type httpFront struct {
	proxy    *Proxy
	listener net.Listener
	server   *http.Server
	scheme   string
	port     uint16
	portStr  string
	serving  sync.WaitGroup
	// serve is how the server serves the listener.
	serve func(net.Listener) error
	h2    *h2Server // of a front whose connections are handed to it
}

func newHTTPFront(p *Proxy, l Listener, ln net.Listener) *httpFront {
	f := &httpFront{proxy: p, scheme: "http"}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		f.port = uint16(addr.Port)
	}
	f.portStr = strconv.Itoa(int(f.port))
	f.listener = &countingListener{Listener: ln, counts: &p.conns}
	f.server = &http.Server{
		Handler:                      f,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            p.cfg.ReadHeaderTimeout,
		IdleTimeout:                  p.cfg.IdleTimeout,
		MaxHeaderBytes:               p.cfg.MaxHeadBytes,
		BaseContext:                  func(net.Listener) context.Context { return p.ctx },
		ConnState:                    connState,
		ConnContext:                  connContext,
		ErrorLog:                     debugLog(p.log),
		Protocols:                    new(http.Protocols),
		HTTP2:                        http2Config(p.cfg.SendTimeout),
	}
	f.server.Protocols.SetHTTP1(true)
	f.serve = f.server.Serve
	if l.TLS {
		f.scheme = "https"
		f.server.Protocols.SetHTTP2(l.HTTP2)
		f.server.TLSConfig = p.serverTLS(l)
		f.serve = func(ln net.Listener) error { return f.server.ServeTLS(ln, "", "") }
	} else {
		f.server.Protocols.SetUnencryptedHTTP2(l.HTTP2)
	}
	return f
}

// debugLog takes what net/http says about broken connections: clients' doing,
// and too much for any other level.
func debugLog(logger *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(logger, zap.DebugLevel)
	if err != nil { // only for a level that zap does not know
		return log.New(io.Discard, "", 0)
	}
	return std
}

// newHandedFront serves connections that are handed over because they speak
// HTTP/2, and that are counted already; TLS has shaken hands on them.
func newHandedFront(p *Proxy, l Listener, ln net.Listener) *httpFront {
	f := newHTTPFront(p, l, ln)
	f.h2 = newH2Server(p, f.server)
	f.listener, f.serve = ln, f.h2.serve
	return f
}

func (f *httpFront) addr() net.Addr { return f.listener.Addr() }

// start serves in a goroutine that ends with drain or close.
func (f *httpFront) start() error {
	if f.h2 != nil {
		if err := f.h2.configure(); err != nil {
			return fmt.Errorf("serve HTTP/2 on %s: %w", f.listener.Addr(), err)
		}
	}
	f.serving.Go(func() {
		err := f.serve(f.listener)
		if !errors.Is(err, http.ErrServerClosed) {
			f.proxy.log.Error("listener has failed", zap.String("address", f.listener.Addr().String()), zap.Error(err))
		}
	})
	return nil
}

// drain takes no more connections and waits for the requests in flight.
func (f *httpFront) drain(ctx context.Context) error {
	drain := f.server.Shutdown
	if f.h2 != nil {
		// Nobody hands over any more; what is on its way is refused.
		if err := f.listener.Close(); err != nil {
			return fmt.Errorf("drain %s: %w", f.listener.Addr(), err)
		}
		drain = f.h2.drain
	}
	if err := drain(ctx); err != nil {
		return fmt.Errorf("drain %s: %w", f.listener.Addr(), err)
	}
	return nil
}

// close closes what drain has left.
func (f *httpFront) close() error {
	err := f.server.Close()
	if f.h2 != nil {
		err = errors.Join(err, f.listener.Close())
		f.h2.close()
	}
	f.serving.Wait()
	if err != nil {
		return fmt.Errorf("close %s: %w", f.listener.Addr(), err)
	}
	return nil
}

// ServeHTTP makes an exchange of one request.
func (f *httpFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rawPath, query, hasQuery, ok := splitTarget(r.RequestURI)
	switch {
	case r.Method == http.MethodConnect:
		http.Error(w, "", http.StatusMethodNotAllowed) // nginx: this is no forward proxy
		return
	case !ok, r.ProtoMajor > 1 && malformed(r):
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	x := f.proxy.exchanges.Get().(*exchange)
	h := &httpExchange{front: f, w: w, r: r, control: http.NewResponseController(w)}
	x.front = h
	x.SetContext(r.Context())
	q := &x.Request
	q.Method, q.Scheme, q.Host, q.TLS = r.Method, f.scheme, r.Host, r.TLS
	q.RawPath, q.Query, q.HasQuery = rawPath, query, hasQuery
	q.ProtoMajor, q.ProtoMinor = r.ProtoMajor, r.ProtoMinor
	x.Listener = f.port
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.Peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
		x.peerText = x.Peer.Addr().String()
		x.proxied, _ = r.Context().Value(proxiedKey{}).(netip.AddrPort)
	}
	addHTTP(&x.received, r.Header)
	announce(&x.received, r.Trailer)
	x.requestFields.CopyFrom(&x.received)
	x.requestSize = int64(len(r.Method)+len(r.RequestURI)+len("  HTTP/1.1\r\n\r\n")) + x.received.Size()
	if r.Body != http.NoBody && r.ContentLength != 0 {
		h.body = &clientBody{exchange: h, limit: f.proxy.cfg.MaxBodyBytes, timeout: f.proxy.cfg.BodyTimeout}
		q.Body, q.ContentLength = h.body, r.ContentLength
	}
	f.proxy.serve(x)
	h.end()
	x.reset()
	f.proxy.exchanges.Put(x)
	if h.aborted {
		panic(http.ErrAbortHandler) // net/http's way to break off an answer
	}
}

// malformed says whether a request of HTTP/2 is one that x/net's server lets pass
// and that must not go on (RFC 9113, sections 8.1.1 and 8.3.1): with parts that no
// request of HTTP/1.1 can have, or with a length that is none or is not the
// body's. x/net's server looks at the first length only, and takes what is no
// number for 0.
func malformed(r *http.Request) bool {
	for _, v := range r.Header["Content-Length"] {
		if n, err := strconv.ParseUint(v, 10, 63); err != nil || int64(n) != r.ContentLength {
			return true
		}
	}
	return http1.CheckParts(r.Method, r.RequestURI, r.Host) != nil
}

// splitTarget splits a request target in origin form or absolute form (RFC
// 9112, section 3.2).
func splitTarget(target string) (path, query string, hasQuery, ok bool) {
	if !strings.HasPrefix(target, "/") {
		_, rest, absolute := strings.Cut(target, "://")
		if !absolute {
			return "", "", false, false
		}
		i := strings.IndexAny(rest, "/?")
		switch {
		case i < 0:
			target = "/"
		case rest[i] == '?':
			target = "/" + rest[i:]
		default:
			target = rest[i:]
		}
	}
	target, _, _ = strings.Cut(target, "#")
	path, query, hasQuery = strings.Cut(target, "?")
	return path, query, hasQuery, true
}

// httpExchange is the front of one exchange on net/http.
type httpExchange struct {
	front   *httpFront
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	body    *clientBody // nil without one
	// duplex says that the body may be read after the answer has begun.
	duplex  bool
	aborted bool
	// writeUntil is the deadline in force for writes to the client.
	writeUntil time.Time
}

var _ front = (*httpExchange)(nil)

// interim sends a 1xx answer, which HTTP/1.0 does not know.
func (h *httpExchange) interim(status int, fields *http1.Fields) {
	if !h.r.ProtoAtLeast(1, 1) {
		return
	}
	removeHopByHop(fields)
	fields.Del("Content-Length")
	h.extendWrite()
	out := h.w.Header()
	putHTTP(out, "", fields)
	h.w.WriteHeader(status)
	clear(out)
}

// putHTTP adds fields to net/http's form, spelled as they are. prefix comes
// before each name.
func putHTTP(out http.Header, prefix string, fields *http1.Fields) {
	values := make([]string, fields.Len())
	for i := range values {
		f := fields.At(i)
		name := prefix + f.Name
		if have := out[name]; have != nil {
			out[name] = append(have, f.Value)
			continue
		}
		values[i] = f.Value
		out[name] = values[i : i+1 : i+1]
	}
}

func (h *httpExchange) sendHead(status int, fields *http1.Fields, length int64) {
	out := h.w.Header()
	putHTTP(out, "", fields)
	if fields.Has("Trailer") {
		// A field of the head that has the name of an announced one would be
		// sent again after the body.
		defer clear(out)
	}
	if length >= 0 && status != http.StatusNoContent { // RFC 9110, section 8.6
		out["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if !fields.Has("Content-Type") {
		out["Content-Type"] = nil // or else net/http guesses one
	}
	if h.r.ProtoMajor == 1 && h.duplex && !h.body.ended.Load() {
		// What is left of the body must not be taken for the next request.
		out["Connection"] = []string{"close"}
	}
	h.w.WriteHeader(status)
}

func (h *httpExchange) write(p []byte) error {
	h.extendWrite()
	_, err := h.w.Write(p)
	return err
}

func (h *httpExchange) flush() error {
	h.extendWrite()
	return h.control.Flush()
}

// deadlineStep is how exact the deadlines of single reads and writes are:
// moving one costs more than reading the clock.
func deadlineStep(timeout time.Duration) time.Duration { return timeout / 60 }

// extendWrite gives the next write the whole send timeout.
func (h *httpExchange) extendWrite() {
	timeout := h.front.proxy.cfg.SendTimeout
	until := time.Now().Add(timeout)
	if until.Sub(h.writeUntil) < deadlineStep(timeout) {
		return
	}
	h.writeUntil = until
	// A connection without deadlines, as in tests, does without.
	_ = h.control.SetWriteDeadline(until)
}

func (h *httpExchange) sendTrailer(fields *http1.Fields) {
	putHTTP(h.w.Header(), http.TrailerPrefix, fields)
}

func (h *httpExchange) abort()           { h.aborted = true }
func (h *httpExchange) heldBody() []byte { return nil }

func (h *httpExchange) streamBody() {
	h.duplex = true
	// HTTP/2 is always so, and says that it cannot be switched.
	_ = h.control.EnableFullDuplex()
}

func (h *httpExchange) stopBody() {
	if h.body != nil {
		h.body.stop()
	}
}

func (h *httpExchange) bodyRead() int64 {
	if h.body == nil {
		return 0
	}
	return h.body.read.Load()
}

func (h *httpExchange) bodyFailure() error {
	if h.body == nil {
		return nil
	}
	return h.body.failure
}

func (h *httpExchange) portText() string { return h.front.portStr }

func (h *httpExchange) trailer() *http1.Fields {
	fields := fromHTTP(h.r.Trailer)
	fields.KeepTrailer()
	return fields
}

// lingering is how long the rest of a request is awaited that nobody wants, so
// that the client has read the answer when the connection closes.
const lingering = 2 * time.Second

// end leaves the connection to net/http, which reads the rest of the body, or
// some of it, before it goes on.
func (h *httpExchange) end() {
	if h.body != nil && !h.body.ended.Load() {
		_ = h.control.SetReadDeadline(time.Now().Add(lingering))
	}
}

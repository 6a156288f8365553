package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/config/ciphers"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/tlsconf"
	"github.com/sluicegate/sluice/proxy/upstream"
	"github.com/sluicegate/sluice/vault"
)

// Errors of the package, found with errors.Is.
var (
	// ErrConfig is wrapped by every refusal of New.
	ErrConfig = errors.New("proxy configuration")
	// ErrStopped is answered to who waits for a configuration of a proxy that
	// has been shut down.
	ErrStopped = errors.New("proxy is shut down")
)

// Defaults of Config's limits. They are nginx's, as Kong ships it, except for
// the size of a head, where nginx has 4 buffers of 8 KiB.
const (
	DefaultMaxHeadBytes      = 64 << 10
	DefaultReadHeaderTimeout = 60 * time.Second
	DefaultIdleTimeout       = 75 * time.Second
	DefaultBodyTimeout       = 60 * time.Second
	DefaultSendTimeout       = 60 * time.Second
	DefaultKeepaliveRequests = 10000
	DefaultVersion           = "3.9.1"
)

// Machine is the part of the state machine that the proxy reads.
type Machine interface {
	// View gives the newest configuration, which never changes.
	View() *fsm.View
	// Changed is closed at the next change; taken before View, no change is
	// missed.
	Changed() <-chan struct{}
	// Empty gives a configuration that has nothing.
	Empty() *fsm.View
}

// Listener is one address that clients connect to (an item of Kong's
// proxy_listen).
type Listener struct {
	// Address is host:port; port 0 picks a free one, see Proxy.Addrs.
	Address string
	// TLS makes it an HTTPS listener.
	TLS bool
	// HTTP2 offers HTTP/2: by ALPN with TLS, with prior knowledge (h2c) without.
	HTTP2 bool
	// ProxyProtocol has every connection begin with a header of the PROXY
	// protocol, version 1 or 2; one without is closed. Linux only.
	ProxyProtocol bool
}

// Config is what a proxy is made of. Zero values mean the defaults named here.
type Config struct {
	// Listen has at least one listener.
	Listen []Listener
	// Certificate picks the certificate of a TLS handshake whose name no SNI
	// entity is for; required when a listener has TLS.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// Machine is where the configuration comes from; required.
	Machine Machine
	// Settled is closed when Machine has the newest configuration of its cluster. Until
	// then Begin is served, so that no request is served by what the configuration
	// once was on its way there, without the plugins that came later; if that is nil,
	// requests are answered with 503. A nil Settled: Machine has it.
	Settled <-chan struct{}
	Begin   *fsm.View
	// Env is what plugin instances are given; required.
	Env *plugin.Env

	// TrustedIPs are the peers whose X-Forwarded-* fields are believed (Kong's
	// trusted_ips). None: nobody's.
	TrustedIPs []netip.Prefix
	// RealIPHeader is the field in which a trusted peer names the client (Kong's
	// real_ip_header, default X-Real-IP); proxy_protocol: in the PROXY header of
	// its connection.
	RealIPHeader string
	// RealIPRecursive takes the last address in the field that is not trusted
	// itself, instead of the last one (Kong's real_ip_recursive).
	RealIPRecursive bool

	// Headers lists the fields added to answers (Kong's headers): the groups
	// server_tokens and latency_tokens, single names, or off. nil means
	// server_tokens, latency_tokens and X-Kong-Request-Id.
	Headers []string
	// HeadersUpstream lists the fields added to requests (Kong's
	// headers_upstream): X-Kong-Request-Id, the default for nil, or off.
	HeadersUpstream []string
	// Version is what Server and Via name, as kong/<Version>; default
	// DefaultVersion.
	Version string

	// AccessLog gets one line for each request. It is written by one goroutine,
	// in batches of whole lines. nil: no access log.
	AccessLog io.Writer
	// AccessLogFormat is what the lines look like; default AccessLogKong.
	AccessLogFormat AccessLogFormat
	// Logger gets what goes wrong; nil: nothing is logged.
	Logger *zap.Logger
	// Metrics is where the proxy's own metrics are registered; nil: nowhere.
	Metrics prometheus.Registerer

	// MaxHeadBytes bounds a request's line and header, default 64 KiB; more is
	// answered with 431. MaxBodyBytes bounds a request's body (nginx's
	// client_max_body_size), more is 413; 0 is no bound, as in Kong.
	MaxHeadBytes int
	MaxBodyBytes int64
	// ReadHeaderTimeout is for a whole head, IdleTimeout for the next request
	// on a connection, BodyTimeout and SendTimeout are between two reads of a
	// request's body and two writes of an answer. Defaults: 60, 75, 60, 60 s.
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration
	BodyTimeout       time.Duration
	SendTimeout       time.Duration

	// KeepaliveRequests is how many requests a client's connection carries
	// (nginx's keepalive_requests), default 10000.
	KeepaliveRequests int
	// Keepalive bounds the connections to services that are kept.
	Keepalive upstream.Keepalive

	// Loops is how many event loops serve HTTP/1.1, default GOMAXPROCS. Hold is
	// how long a loop keeps its processor when it has nothing to do, see
	// evloop.Config; default 0.
	Loops int
	Hold  time.Duration
	// EventLoop is how they wait and receive: EventLoopEpoll, EventLoopRing, which
	// fails where io_uring is not to be had, or EventLoopAuto, the default: the
	// latter if it is to be had.
	EventLoop string

	// TLSProfile is what TLS listeners offer (Kong's ssl_cipher_suite, ssl_ciphers,
	// ssl_protocols); the zero value is TLS 1.2 and 1.3 with Go's ciphers.
	TLSProfile ciphers.Profile
	// SessionTimeout is how long clients may resume a TLS session by a ticket
	// (ssl_session_timeout); 0: never (ssl_session_tickets off).
	SessionTimeout time.Duration
	// Stapler keeps OCSP staples of certificates; nil: none are sent. The proxy
	// runs it.
	Stapler *tlsconf.Stapler
	// Vaults resolve the references of certificates and plugins; nil: there is
	// the node's environment.
	Vaults *vault.Vaults
	// UpstreamTLS is how services are spoken to that do not say otherwise.
	UpstreamTLS tlsconf.Defaults

	lingering time.Duration // another for tests; default lingering
}

// Values of Config.EventLoop.
const (
	EventLoopAuto  = "auto"
	EventLoopEpoll = "epoll"
	EventLoopRing  = "io_uring"
)

// complete gives the configuration with its defaults, or why it cannot be used.
func (c Config) complete() (Config, error) {
	switch {
	case c.Machine == nil:
		return c, fmt.Errorf("%w: no state machine", ErrConfig)
	case c.Env == nil:
		return c, fmt.Errorf("%w: no plugin environment", ErrConfig)
	case len(c.Listen) == 0:
		return c, fmt.Errorf("%w: no address to listen on", ErrConfig)
	case !c.AccessLogFormat.known():
		return c, fmt.Errorf("%w: access log format %q is not known", ErrConfig, c.AccessLogFormat)
	case c.EventLoop != "" && c.EventLoop != EventLoopAuto && c.EventLoop != EventLoopEpoll && c.EventLoop != EventLoopRing:
		return c, fmt.Errorf("%w: event loop %q is not known", ErrConfig, c.EventLoop)
	}
	for _, l := range c.Listen {
		if _, _, err := net.SplitHostPort(l.Address); err != nil {
			return c, fmt.Errorf("%w: listen address %q: %w", ErrConfig, l.Address, err)
		}
		if l.TLS && c.Certificate == nil {
			return c, fmt.Errorf("%w: listener %s has TLS, but there is no certificate", ErrConfig, l.Address)
		}
	}
	if c.Settled == nil {
		c.Settled = closed()
	}
	setDefault(&c.RealIPHeader, "X-Real-IP")
	setDefault(&c.Version, DefaultVersion)
	setDefault(&c.MaxHeadBytes, DefaultMaxHeadBytes)
	setDefault(&c.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	setDefault(&c.IdleTimeout, DefaultIdleTimeout)
	setDefault(&c.BodyTimeout, DefaultBodyTimeout)
	setDefault(&c.SendTimeout, DefaultSendTimeout)
	setDefault(&c.KeepaliveRequests, DefaultKeepaliveRequests)
	setDefault(&c.Loops, runtime.GOMAXPROCS(0))
	setDefault(&c.lingering, lingering)
	if c.Vaults == nil {
		c.Vaults = vault.New(vault.Config{})
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c, nil
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

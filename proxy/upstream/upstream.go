// Package upstream sends requests to services and reads their answers: HTTP/1.1
// on connections it keeps, HTTP/2 for gRPC.
//
// It has a client of its own instead of net/http's Transport because a gateway
// needs to know what Transport hides: whether a byte of the request was sent,
// whether a connection was a kept one, how long each single read and write may
// take. A request without a streamed body costs no goroutine.
//
// What it does not do: balance, look at the meaning of a request, follow
// redirects, decompress, use a proxy, or bound the total time.
package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/proxy/http1"
)

// Errors of Do, found with errors.Is. What is none of them is a service that
// could not be reached or that closed the connection: Kong's 502.
var (
	// ErrResolve: the host name has no address. Kong's 503.
	ErrResolve = errors.New("name resolution failed")
	// ErrTimeout: connecting, writing or reading took longer than the service
	// allows. Kong's 504.
	ErrTimeout = errors.New("upstream timed out")
	// ErrInvalid: what the service answered is not HTTP, or its head is larger
	// than 64 KiB.
	ErrInvalid = errors.New("invalid response from upstream")
	// ErrRequest: the request itself cannot be sent (a control character in
	// its target).
	ErrRequest = errors.New("request cannot be sent upstream")
	// ErrBody wraps an error of the request's body: the client has gone or
	// sent too little.
	ErrBody = errors.New("request body cannot be read")
	// ErrClosed: the client has been closed.
	ErrClosed = errors.New("upstream client is closed")
)

// Bounds of the client.
const (
	maxHead    = 64 << 10
	bufferSize = 4 << 10
	pieceSize  = 32 << 10 // of a streamed request body
)

// Target is where a request goes. Requests to equal targets share connections.
type Target struct {
	// Host is a name or an address without brackets.
	Host string
	Port int
	// TLS encrypts the connection, with Host as server name; Verify checks the
	// certificate against Host.
	TLS    bool
	Verify bool
	// Config, if not nil, is how TLS is spoken in place of what Verify says. It is
	// part of the identity of a target: connections are shared only under the
	// same one.
	Config *tls.Config
	// HTTP2 speaks HTTP/2, without TLS with prior knowledge; for gRPC.
	HTTP2 bool
}

// Timeouts are per try, and Read and Write between two operations.
type Timeouts struct {
	Connect, Write, Read time.Duration
}

// Request is one request to a service.
type Request struct {
	Target
	Timeouts
	// Retries is how many further connections are tried after one could not be
	// made (Kong's retries).
	Retries int

	Method string
	// URI is the path, escaped, with its query.
	URI string
	// Authority is the Host field.
	Authority string
	// Header are the fields. Host, Connection, Upgrade, Content-Length and
	// Transfer-Encoding among them are not sent: framing is decided here.
	Header *http1.Fields
	// Body streams the request's body, nil for none; ContentLength is -1 when
	// it is not known. Whole, when not nil, is a body that was read already and
	// goes with the head; Body is nil then.
	Body          io.Reader
	ContentLength int64
	Whole         []byte
	// StopBody makes reads of Body fail, the pending one too; it is called when
	// the rest of the body is of no use. Required with Body.
	StopBody func()
	// Trailer gives the request's trailer fields once Body has ended, without
	// any that must not come in a trailer; nil if there will be none. What of them
	// is known before stands in the field Trailer of Header.
	Trailer func() *http1.Fields
	// Upgrade is the protocol to switch to, "" for none (RFC 9110, section 7.8).
	Upgrade string
	// Expect waits for the service's 100 before Body is read, for one second at
	// most (RFC 9110, section 10.1.1).
	Expect bool
	// Interim is given 1xx answers other than 100 and 101; may be nil.
	Interim func(status int, header http.Header)
}

// Response is a service's answer. Its header and trailer belong to the caller.
type Response struct {
	Status int
	Header http.Header
	// ContentLength is -1 when it is not known.
	ContentLength int64
	// Body is never nil. An error other than io.EOF means the answer is cut.
	Body io.Reader
	// Trailer gives the trailer fields once Body has ended; nil for none.
	Trailer func() http.Header
	// Tunnel is the connection after a 101 that the request asked for.
	Tunnel *Tunnel

	ready func() bool
	close func()
}

// Ready says whether a piece of Body is there already, so that reading it does
// not wait. False means only that this is not known.
func (r *Response) Ready() bool { return r.ready != nil && r.ready() }

// Close ends the exchange: the connection is kept if the answer was read to
// its end and the request was sent to its end, and closed otherwise. When it
// returns nothing reads the request's body any more. It must be called once.
func (r *Response) Close() { r.close() }

// Client sends requests. Safe for concurrent use.
type Client interface {
	// Do sends a request and gives the head of the answer. When ctx is done the
	// exchange is cut at once, during Do as well as after it until Close; Do's
	// error wraps the context's then. After an error nothing reads the
	// request's body any more.
	Do(ctx context.Context, req *Request) (*Response, error)
	// Keep forgets the targets that are not wanted any more, as far as they cost
	// something when idle.
	Keep(wanted func(Target) bool)
	// Close closes the idle connections; exchanges go on to their end.
	Close()
}

// Config is what a client is made of.
type Config struct {
	// RootCAs verify services whose target asks for it; nil: the system's.
	RootCAs *x509.CertPool
	// Keepalive bounds the connections that are kept.
	Keepalive Keepalive
}

// Keepalive bounds the connections that are kept. Zero values mean the defaults,
// which are Kong's.
type Keepalive struct {
	// PoolSize is how many idle connections a target has, for each event loop
	// (Kong's upstream_keepalive_pool_size, for each worker), default 512.
	// Negative: none are kept.
	PoolSize int
	// MaxRequests is how many requests a connection carries
	// (upstream_keepalive_max_requests), default 10000. Negative: no bound.
	MaxRequests int
	// IdleTimeout is how long one may be idle (upstream_keepalive_idle_timeout),
	// default 60 s. Negative: no bound.
	IdleTimeout time.Duration
}

// complete puts defaults for zeros, and numbers for negatives.
func (k Keepalive) complete() Keepalive {
	k.PoolSize = max(0, cmp.Or(k.PoolSize, 512))
	if k.MaxRequests = cmp.Or(k.MaxRequests, 10000); k.MaxRequests < 0 {
		k.MaxRequests = math.MaxInt
	}
	if k.IdleTimeout = cmp.Or(k.IdleTimeout, 60*time.Second); k.IdleTimeout < 0 {
		k.IdleTimeout = 100 * 365 * 24 * time.Hour
	}
	return k
}

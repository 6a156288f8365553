// Package plugin holds what the request path and the plugins share: the
// Exchange, the phases, and the registry of plugins. It knows no front (net/http,
// HTTP/1.1 engine) and no plugin.
package plugin

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

// Exchange is one request and its answer, from the first byte read to the log
// phase. It belongs to one goroutine at a time; a plugin must not keep it, or
// any string or slice of it, after its phase has returned.
type Exchange struct {
	Request  Request
	Upstream Upstream
	Response Response

	// Client is the peer that sent the request, after trusted_ips and
	// real_ip_header have been applied; Peer is the other end of the connection.
	Client netip.AddrPort
	Peer   netip.AddrPort
	// Listener is the local port the request came in on.
	Listener uint16

	// Route and Service are what the router found. Service is nil for a route
	// without one. Both are nil when nothing matched.
	Route   *fsm.Route
	Service *fsm.Service
	// Consumer, Credential: set by Authenticate. Credential is the id that
	// X-Credential-Identifier carries.
	Consumer   *fsm.Consumer
	Credential Credential
	// Groups are those that an auth plugin found the client in without knowing
	// it as a consumer (Kong's authenticated groups); nil if it found none.
	Groups *Groups
	// Directory finds consumers and credentials in the configuration that this
	// request is served with, which never changes during the request.
	Directory Directory
	// Captures are the groups of the route's regular expression that matched; nil
	// when no route did.
	Captures Captures

	Times Times
	// Shard is a small number by which counters may be spread over cache lines: the
	// same processor sees the same one most of the time. Reset keeps it.
	Shard uint32

	ctx    context.Context
	values []value
}

// Request is what the client asked.
type Request struct {
	// ID is 32 hex digits, new for every request (X-Kong-Request-Id).
	ID     string
	Method string
	// Scheme is "http" or "https", Host the Host field or :authority with its
	// port if it has one.
	Scheme, Host string
	// RawPath is the path as sent; Path is the same normalised (RFC 3986, 6.2.2)
	// and is what routes match. Query is without its "?"; HasQuery tells "/a?"
	// from "/a".
	RawPath, Path, Query string
	HasQuery             bool
	ProtoMajor           int
	ProtoMinor           int
	// Header is what goes upstream: edits by plugins are sent, not seen by the
	// client.
	Header Header
	// Received is what the client sent, for logs. It must not be changed.
	Received Header
	// Body streams from the client; nil when there is none. ContentLength is -1
	// when the length is not known.
	Body          io.Reader
	ContentLength int64
	// TLS is nil for a plain connection.
	TLS *tls.ConnectionState
}

// Upstream is where the request is sent; the access phase may change it.
type Upstream struct {
	// Scheme is "http" or "https".
	Scheme string
	// Host and Port are the target's; HostHeader is the Host field sent to it.
	Host       string
	Port       int
	HostHeader string
	// Path and Query are of the request sent; Path is escaped as it goes on the
	// wire.
	Path, Query string
	HasQuery    bool
	Method      string
	// Addr is the address that the request was sent to last, zero if it was not
	// sent or the address is not known; Kept says that the connection had carried
	// requests before. Both are final in the log phase.
	Addr netip.AddrPort
	Kept bool
}

// Source says who made the answer.
type Source string

// The sources of an answer, in the words of Kong's log and metrics.
const (
	FromService Source = "service"
	FromKong    Source = "kong"
)

// Response is the answer to the client.
type Response struct {
	Status int
	// Header is sent after the header filter phase.
	Header Header
	Source Source
	// UpstreamStatus is what the service answered, 0 if it was not asked or did
	// not answer.
	UpstreamStatus int
	// Body is the whole body of an answer made here; nil for a streamed one.
	Body []byte
	// Sent counts the bytes of head and body written to the client, Received
	// those read from it; both are final in the log phase.
	Sent, Received int64
}

// Times are taken from a monotonic clock. A zero time means the step was not
// reached.
type Times struct {
	Started          time.Time // first byte of the request
	UpstreamStarted  time.Time // about to connect or to send
	UpstreamAnswered time.Time // head of the answer read
	Finished         time.Time // last byte written
}

// Credential says how the consumer was found.
type Credential struct {
	// ID is the credential entity's id, "" when none was used (anonymous).
	ID string
	// Identifier goes upstream as X-Credential-Identifier.
	Identifier string
}

// Directory is the part of a configuration that plugins look things up in.
// Safe for concurrent use.
type Directory interface {
	// Credential finds a live credential entity of a kind ("jwt_secrets",
	// "keyauth_credentials") by its unique key. Its Value is the typed view.
	Credential(kind, key string) (*fsm.Entity, bool)
	// Consumer finds a consumer by id or by username.
	Consumer(idOrName string) (*fsm.Consumer, bool)
	// Groups gives the groups that a consumer belongs to (Kong's acls), by the
	// consumer's id.
	Groups(consumerID string) *Groups
	// Entity finds an entity of any kind by its id.
	Entity(kind, id string) (*fsm.Entity, bool)
}

// Captures gives the groups of a regular expression that matched.
type Captures interface {
	// Captures gives them by number and by name; nil if there are none. Each call
	// may compute them anew.
	Captures() map[string]string
}

// Context is done when the client has gone or the node stops.
func (ex *Exchange) Context() context.Context {
	if ex.ctx == nil {
		return context.Background()
	}
	return ex.ctx
}

// SetContext is for fronts.
func (ex *Exchange) SetContext(ctx context.Context) { ex.ctx = ctx }

type value struct{ key, val any }

// Put keeps a plugin's value for its later phases of the same exchange. The
// key should be of a type that only the plugin has.
func (ex *Exchange) Put(key, val any) {
	for i := range ex.values {
		if ex.values[i].key == key {
			ex.values[i].val = val
			return
		}
	}
	ex.values = append(ex.values, value{key, val})
}

// Value gives what Put kept under key, or nil.
func (ex *Exchange) Value(key any) any {
	for i := range ex.values {
		if ex.values[i].key == key {
			return ex.values[i].val
		}
	}
	return nil
}

// sharedName is the key of a value that Share keeps.
type sharedName string

// Share keeps a text for other plugins of the same exchange and for templates
// (Kong's kong.ctx.shared). It is valid until the exchange ends.
func (ex *Exchange) Share(name, text string) { ex.Put(sharedName(name), text) }

// SharedText gives what Share kept under a name.
func (ex *Exchange) SharedText(name string) (text string, ok bool) {
	for i := range ex.values {
		if key, is := ex.values[i].key.(sharedName); is && string(key) == name {
			text, ok = ex.values[i].val.(string)
			return text, ok
		}
	}
	return "", false
}

// Reset makes the exchange ready for the next request, keeping its buffers.
func (ex *Exchange) Reset() {
	values := ex.values
	clear(values)
	*ex = Exchange{Shard: ex.Shard}
	ex.values = values[:0]
}

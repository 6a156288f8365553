package proxy

import (
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/proxy/http1"
)

// The fields that the headers settings may name.
const (
	fieldServer          = "Server"
	fieldVia             = "Via"
	fieldProxyLatency    = "X-Kong-Proxy-Latency"
	fieldUpstreamLatency = "X-Kong-Upstream-Latency"
	fieldResponseLatency = "X-Kong-Response-Latency"
	fieldUpstreamStatus  = "X-Kong-Upstream-Status"
	fieldRequestID       = "X-Kong-Request-Id"
)

// What every message is searched for.
var (
	nameServer          = http1.NameOf(fieldServer)
	nameVia             = http1.NameOf(fieldVia)
	nameProxyLatency    = http1.NameOf(fieldProxyLatency)
	nameUpstreamLatency = http1.NameOf(fieldUpstreamLatency)
	nameResponseLatency = http1.NameOf(fieldResponseLatency)
	nameUpstreamStatus  = http1.NameOf(fieldUpstreamStatus)
	nameRequestID       = http1.NameOf(fieldRequestID)

	nameForwardedFor    = http1.NameOf("X-Forwarded-For")
	nameForwardedProto  = http1.NameOf("X-Forwarded-Proto")
	nameForwardedHost   = http1.NameOf("X-Forwarded-Host")
	nameForwardedPort   = http1.NameOf("X-Forwarded-Port")
	nameForwardedPath   = http1.NameOf("X-Forwarded-Path")
	nameForwardedPrefix = http1.NameOf("X-Forwarded-Prefix")
	nameRealIP          = http1.NameOf("X-Real-IP")

	nameDate    = http1.NameOf("Date")
	nameExpect  = http1.NameOf("Expect")
	nameTrailer = http1.NameOf("Trailer")
)

// headerPolicy is which fields are added to answers and requests (Kong's
// headers and headers_upstream).
type headerPolicy struct {
	server, via                                    bool
	proxyLatency, upstreamLatency, responseLatency bool
	upstreamStatus, requestID                      bool
	requestIDUpstream                              bool

	product string // kong/3.9.1
	via11   string // 1.1 kong/3.9.1
	via2    string // 2 kong/3.9.1
}

func newHeaderPolicy(names, upstream []string, version string) (headerPolicy, error) {
	if names == nil {
		names = []string{"server_tokens", "latency_tokens", fieldRequestID}
	}
	if upstream == nil {
		upstream = []string{fieldRequestID}
	}
	product := "kong/" + version
	h := headerPolicy{product: product, via11: "1.1 " + product, via2: "2 " + product}
	for _, name := range names {
		if err := h.enable(name); err != nil {
			return h, err
		}
	}
	for _, name := range upstream {
		switch {
		case strings.EqualFold(name, fieldRequestID):
			h.requestIDUpstream = true
		case strings.EqualFold(name, "off"):
		default:
			return h, fmt.Errorf("%w: headers_upstream: %q is not known", ErrConfig, name)
		}
	}
	return h, nil
}

func (h *headerPolicy) enable(name string) error {
	switch strings.ToLower(name) {
	case "server_tokens":
		h.server, h.via = true, true
		return nil
	case "latency_tokens":
		h.proxyLatency, h.upstreamLatency, h.responseLatency = true, true, true
		return nil
	case "off", "x-kong-admin-latency": // the Admin API's
		return nil
	}
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case fieldServer:
		h.server = true
	case fieldVia:
		h.via = true
	case fieldProxyLatency:
		h.proxyLatency = true
	case fieldUpstreamLatency:
		h.upstreamLatency = true
	case fieldResponseLatency:
		h.responseLatency = true
	case fieldUpstreamStatus:
		h.upstreamStatus = true
	case fieldRequestID:
		h.requestID = true
	default:
		return fmt.Errorf("%w: headers: %q is not known", ErrConfig, name)
	}
	return nil
}

// mark adds the enabled fields to an answer, after the plugins' header filters.
func (h *headerPolicy) mark(x *exchange, now time.Time) {
	out := &x.responseFields
	t := &x.Times
	if t.UpstreamStarted.IsZero() {
		if h.responseLatency {
			out.Put(nameResponseLatency, milliseconds(now.Sub(t.Started)))
		}
	} else {
		h.markForwarded(x, now)
	}
	if h.server && !x.streaming {
		out.Put(nameServer, h.product)
	}
	if h.requestID {
		out.Put(nameRequestID, x.Request.ID)
	}
}

// markForwarded adds what an answer has once the service was asked, also when
// it gave none.
func (h *headerPolicy) markForwarded(x *exchange, now time.Time) {
	out, t := &x.responseFields, &x.Times
	answered := t.UpstreamAnswered
	if answered.IsZero() {
		answered = now
	}
	if h.upstreamLatency {
		out.Put(nameUpstreamLatency, milliseconds(answered.Sub(t.UpstreamStarted)))
	}
	if h.proxyLatency {
		out.Put(nameProxyLatency, milliseconds(t.UpstreamStarted.Sub(t.Started)))
	}
	if h.via {
		out.PutText(nameVia, h.appendVia(out.Get(fieldVia), x.protoVia()))
	}
	if h.upstreamStatus && x.Response.UpstreamStatus != 0 {
		out.Put(nameUpstreamStatus, strconv.Itoa(x.Response.UpstreamStatus))
	}
}

// appendVia adds this proxy to a Via field (RFC 9110, section 7.6.3).
func (h *headerPolicy) appendVia(via, own string) string {
	if via == "" {
		return own
	}
	return via + ", " + own
}

// protoVia is this proxy's element of Via: the protocol is the one the message
// came in with, HTTP/1.1 but for gRPC.
func (x *exchange) protoVia() string {
	if x.outgoing.HTTP2 {
		return x.proxy.headers.via2
	}
	return x.proxy.headers.via11
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(0, d.Milliseconds()), 10)
}

// setForwarded sets the fields that tell a service about the client and this
// proxy, over whatever the client or a plugin has put there. A trusted peer's
// own X-Forwarded-* are kept, except for the list of addresses, which grows.
func (x *exchange) setForwarded() {
	h := &x.requestFields
	if list := x.requestFields.Joined("X-Forwarded-For"); list != "" {
		h.PutText(nameForwardedFor, list+", "+x.peerText)
	} else {
		h.Put(nameForwardedFor, x.clientAddr())
	}
	h.Put(nameRealIP, x.clientAddr())
	x.setUnlessTrusted(nameForwardedProto, x.Request.Scheme)
	x.setUnlessTrusted(nameForwardedHost, strings.ToLower(hostOnly(x.Request.Host)))
	x.setUnlessTrusted(nameForwardedPort, x.front.portText())
	x.setUnlessTrusted(nameForwardedPath, x.Request.RawPath)
	prefix := ""
	if x.route.entity.StripPath && x.match.Prefix != "/" {
		prefix = x.match.Prefix
	}
	x.setUnlessTrusted(nameForwardedPrefix, prefix)
	if p := &x.proxy.headers; p.requestIDUpstream {
		h.Put(nameRequestID, x.Request.ID)
	}
	h.PutText(nameVia, x.proxy.headers.appendVia(x.requestFields.Joined(fieldVia), x.protoVia()))
}

// setUnlessTrusted sets a field to a value, or removes it for "". What a
// trusted peer has sent stays.
func (x *exchange) setUnlessTrusted(name http1.Name, value string) {
	switch there := name.In(&x.requestFields); {
	case x.trusted && there:
	case value == "" && there:
		x.requestFields.Del(name.String())
	case value == "":
	default:
		x.requestFields.PutText(name, value)
	}
}

// clientAddr is the client's address as text, the same string for every field
// when client and peer are one.
func (x *exchange) clientAddr() string {
	if x.Client == x.Peer {
		return x.peerText
	}
	return x.Client.Addr().String()
}

// hostOnly is a Host field without its port, brackets kept.
func hostOnly(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

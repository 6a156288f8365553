package proxy

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
)

// statusClientGone is logged for a client that did not wait for its answer
// (nginx's 499); it is never sent.
const statusClientGone = 499

// errClientGone ends an exchange whose client cannot be answered any more.
var errClientGone = errors.New("client has gone")

// serve takes one request through its life; DESIGN.md has it as a chart. The
// front has filled Request (but for what begin fills), Peer and Listener.
func (p *Proxy) serve(x *exchange) {
	p.inFlight.add(x.Shard, 1)
	defer p.inFlight.add(x.Shard, -1)
	defer p.finish(x) // whatever happens
	defer x.recoverCore()
	if p.admit(x) == plugin.Continue {
		x.forward()
		return
	}
	x.answer()
}

// admit takes a request through routing and plugins. Stop: it is answered here.
func (p *Proxy) admit(x *exchange) plugin.Verdict {
	p.begin(x)
	if x.rewrite() == plugin.Stop || x.findRoute() == plugin.Stop {
		return plugin.Stop
	}
	return x.access()
}

// begin fills what does not depend on the front.
func (p *Proxy) begin(x *exchange) {
	if x.Times.Started.IsZero() {
		x.Times.Started = time.Now() // net/http tells of a request when its head is complete
	}
	x.snapshot = p.current.Load()
	x.Directory = x.snapshot.directory
	x.Request.ID = x.newRequestID()
	if x.Request.ProtoMajor > 1 {
		x.Request.ID = strings.Clone(x.Request.ID) // HTTP/2 remembers what it has sent
	}
	x.Request.Header, x.Request.Received, x.Response.Header = &x.requestFields, &x.received, &x.responseFields
	x.Response.Source = plugin.FromKong
	// HTTP/1.0 knows neither 100 nor upgrades (RFC 9110, sections 10.1.1 and 7.8).
	old := x.Request.ProtoMajor == 1 && x.Request.ProtoMinor == 0
	x.expect = !old && nameExpect.In(&x.requestFields) && strings.EqualFold(x.requestFields.Get("Expect"), "100-continue")
	x.upgrade = prepareRequest(&x.requestFields, x.Request.ProtoMajor == 1 && !old)
	if x.Request.Body != nil {
		x.upgrade = "" // the bytes after a 101 must not be taken for a body
	}
	x.Client, x.trusted = p.trust.resolve(x.Peer, x.proxied, &x.received)
	x.Request.Path = router.Normalize(x.Request.RawPath)
}

// rewrite runs the phase that comes before routing.
func (x *exchange) rewrite() plugin.Verdict {
	for _, in := range x.snapshot.rewriters {
		if x.runRewrite(in) == plugin.Stop {
			x.selectAll(x.snapshot.unmatched)
			return plugin.Stop
		}
	}
	return plugin.Continue
}

// findRoute gives Stop when the request cannot go on: it matches no route, or
// not the protocols of its route.
func (x *exchange) findRoute() plugin.Verdict {
	x.lookup = router.Request{
		Method: x.Request.Method, Host: x.Request.Host, Path: x.Request.Path,
		SNI: sni(x.Request.TLS), TLS: x.Request.TLS != nil, Port: int(x.Listener),
	}
	if table := x.snapshot.routes; table.router.NeedsHeader() {
		x.lookup.Header = &x.received
	}
	match, ok := x.snapshot.routes.router.Match(&x.lookup)
	if !ok {
		return x.noRoute()
	}
	x.match, x.Captures = match, &x.match
	x.route = x.snapshot.routes.compiled[match.Route.Value.(int)]
	x.Route, x.Service = x.route.entity, x.route.service
	if v := x.checkProtocol(); v == plugin.Stop {
		x.selectAll(x.route.chain)
		return v
	}
	x.setTarget()
	return plugin.Continue
}

// noRoute answers a request that no route matches.
func (x *exchange) noRoute() plugin.Verdict {
	if x.snapshot.pending {
		return x.Error(http.StatusServiceUnavailable, "this node has no configuration yet", plugin.Field{Name: "Retry-After", Value: "1"})
	}
	x.selectAll(x.snapshot.unmatched)
	return x.Error(http.StatusNotFound, "no Route matched with those values")
}

// checkProtocol answers requests that came in another protocol than their
// route's.
func (x *exchange) checkProtocol() plugin.Verdict {
	scheme := x.Request.Scheme
	if x.trusted {
		if said := x.received.Get("X-Forwarded-Proto"); said != "" {
			scheme = said
		}
	}
	speaks := x.route.speaks
	if speaks&(protoGRPC|protoGRPCS) != 0 {
		return x.checkGRPC(scheme)
	}
	if speaks&protoHTTP == 0 && scheme != "https" {
		return x.requireHTTPS()
	}
	return plugin.Continue
}

func (x *exchange) requireHTTPS() plugin.Verdict {
	status := x.route.entity.HTTPSRedirectStatusCode
	if status == http.StatusUpgradeRequired || status == 0 {
		return x.Error(http.StatusUpgradeRequired, "Please use HTTPS protocol",
			plugin.Field{Name: "Connection", Value: "Upgrade"},
			plugin.Field{Name: "Upgrade", Value: "TLS/1.2, HTTP/1.1"})
	}
	host := hostOnly(x.Request.Host)
	if said := x.received.Get("X-Forwarded-Host"); x.trusted && said != "" {
		host = said
	}
	x.Response.Status, x.Response.Body = status, []byte{}
	x.Response.Header.Set("Location", "https://"+host+x.uri())
	return plugin.Stop
}

func (x *exchange) checkGRPC(scheme string) plugin.Verdict {
	switch {
	case !strings.HasPrefix(x.received.Get("Content-Type"), "application/grpc"):
		return x.Error(http.StatusUnsupportedMediaType, "Non-gRPC request matched gRPC route")
	case x.Request.ProtoMajor != 2:
		// Error would answer in gRPC's own form, which HTTP/1.1 cannot carry.
		return x.Exit(http.StatusUpgradeRequired, "Please use HTTP2 protocol",
			plugin.Field{Name: "Connection", Value: "Upgrade"},
			plugin.Field{Name: "Upgrade", Value: "HTTP/2"})
	case x.route.speaks&protoGRPC == 0 && scheme != "https":
		x.Response.Status, x.Response.Body = http.StatusOK, []byte{}
		x.Response.Header.Set("Content-Type", "application/grpc")
		x.Response.Header.Set("Grpc-Status", "1")
		x.Response.Header.Set("Grpc-Message", "gRPC request matched gRPCs route")
		return plugin.Stop
	}
	return plugin.Continue
}

// setTarget says where the request goes, before plugins may change it.
func (x *exchange) setTarget() {
	u := &x.Upstream
	u.Method, u.Query, u.HasQuery = x.Request.Method, x.Request.Query, x.Request.HasQuery
	r := x.route
	if r.service == nil {
		u.Path = x.Request.Path
		return
	}
	u.Scheme, u.Host, u.Port, u.HostHeader = r.scheme, r.target.Host, r.target.Port, r.hostHeader
	if r.entity.PreserveHost {
		u.HostHeader = x.Request.Host
	}
	u.Path = router.UpstreamPath(r.service.Path, x.Request.Path, x.match.Prefix, r.entity.StripPath, r.entity.PathHandling)
}

// uri is the request's target as it was sent.
func (x *exchange) uri() string {
	if !x.Request.HasQuery {
		return x.Request.RawPath
	}
	return x.Request.RawPath + "?" + x.Request.Query
}

// recoverCore turns a panic of the core into an answer, or a cut one when the
// client has been given a status.
func (x *exchange) recoverCore() {
	v := recover()
	if v == nil {
		return
	}
	x.proxy.log.Error("panic in an exchange", zap.Any("panic", v), zap.String("request_id", x.Request.ID),
		zap.ByteString("stack", debug.Stack()))
	if x.headSent {
		x.front.abort()
		return
	}
	x.unexpected()
	x.answer()
}

// unexpected makes the answer to a fault of our own.
func (x *exchange) unexpected() plugin.Verdict {
	// Whatever went wrong may have taken these away.
	x.Request.Header, x.Response.Header = &x.requestFields, &x.responseFields
	return x.Exit(http.StatusInternalServerError, "An unexpected error occurred")
}

// finish is the end of every exchange: log phase, access log, metrics.
func (p *Proxy) finish(x *exchange) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("panic while an exchange was logged", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
		}
	}()
	if x.Times.Finished.IsZero() {
		x.Times.Finished = time.Now()
	}
	x.Response.Received = x.requestSize + x.front.bodyRead()
	if x.headSent {
		x.Response.Sent = x.bodySent + int64(len("HTTP/1.1 200 OK\r\n\r\n")) + x.responseFields.Size()
	}
	for _, in := range x.chosen {
		if in.logger != nil {
			x.runLog(in)
		}
	}
	p.metrics.count(x)
	if p.access != nil {
		p.access.log(x)
	}
}

// gone says whether the client has left, or the node is being stopped.
func (x *exchange) gone() bool { return context.Cause(x.Context()) != nil }

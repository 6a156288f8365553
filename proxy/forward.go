package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/upstream"
)

// Errors of reading a request's body; fronts wrap them.
var (
	errBodyTooLarge = errors.New("request body is larger than allowed")
	errBodyTimeout  = errors.New("request body stalls")
)

// maxWhole is the largest body that is read before the service is asked: it
// can be sent with the head in one write, and a second time.
const maxWhole = 64 << 10

// forward asks the service and relays its answer.
func (x *exchange) forward() {
	if err := x.prepareUpstream(); err != nil {
		x.failed(err)
		return
	}
	x.ask(x.proxy.client.Do)
}

// ask sends the request that was prepared, with a client's Do, and waits for all
// of the answer.
func (x *exchange) ask(do func(context.Context, *upstream.Request) (*upstream.Response, error)) {
	x.outgoing.Interim = func(status int, h http.Header) { x.front.interim(status, fromHTTP(h)) }
	x.Times.UpstreamStarted = time.Now()
	resp, err := do(x.Context(), &x.outgoing)
	if err != nil {
		x.failed(err)
		return
	}
	defer resp.Close()
	x.Times.UpstreamAnswered = time.Now()
	x.Response.Status, x.Response.UpstreamStatus = resp.Status, resp.Status
	if resp.Tunnel != nil {
		x.tunnel(resp)
		return
	}
	x.relay(resp)
}

// prepareUpstream makes the request that is sent.
func (x *exchange) prepareUpstream() error {
	r, u := x.route, &x.Upstream
	q := &x.outgoing
	*q = upstream.Request{
		Target: r.target, Timeouts: r.timeouts, Retries: r.retries,
		Method: u.Method, URI: u.Path, Authority: u.HostHeader, Header: &x.requestFields,
		Upgrade: x.upgrade,
	}
	// A plugin may have chosen another target.
	q.Host, q.Port, q.TLS = u.Host, u.Port, u.Scheme == "https"
	if q.Host != r.target.Host || !q.TLS {
		q.Config = nil // it is for the name of the service
	}
	if u.HasQuery {
		x.target = append(append(append(x.target[:0], u.Path...), '?'), u.Query...)
		q.URI = unsafe.String(&x.target[0], len(x.target))
	}
	x.setForwarded()
	trailed := x.trailed()
	if x.Request.Body == nil {
		x.dropExpect()
		return nil
	}
	return x.prepareBody(q, trailed)
}

// dropExpect keeps an expectation from the service.
func (x *exchange) dropExpect() {
	if nameExpect.In(&x.requestFields) {
		x.requestFields.Del("Expect")
	}
}

// prepareBody reads a small body, unless the route wants it streamed, and
// arranges for a large one to be streamed, as is one that a trailer may follow.
func (x *exchange) prepareBody(q *upstream.Request, trailed bool) error {
	length := x.Request.ContentLength
	if x.route.entity.RequestBuffering && !trailed && 0 <= length && length <= maxWhole {
		x.dropExpect() // reading the body has answered it
		if q.Whole = x.front.heldBody(); q.Whole != nil {
			return nil
		}
		if err := x.readWhole(int(length)); err != nil {
			return fmt.Errorf("%w: %w", upstream.ErrBody, err)
		}
		q.Whole = x.whole
		return nil
	}
	x.front.streamBody()
	q.Body, q.ContentLength = x.Request.Body, length
	q.StopBody = x.front.stopBody
	if trailed {
		q.Trailer = x.front.trailer
		if !q.HTTP2 {
			q.ContentLength = -1 // HTTP/1.1 has trailers in chunked messages only
		}
	}
	if q.Expect = x.expect; !q.Expect {
		x.dropExpect()
	}
	return nil
}

// readWhole reads a small body. Memory is taken as the body comes: very many
// clients may announce one and send hardly anything of it.
func (x *exchange) readWhole(length int) error {
	const first = 4 << 10
	for at := 0; at < length; {
		end := min(length, max(2*at, first, cap(x.whole)))
		x.whole = slices.Grow(x.whole[:at], end-at)[:end]
		if _, err := io.ReadFull(x.Request.Body, x.whole[at:]); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// failed answers for a service that did not.
func (x *exchange) failed(err error) {
	status, message := http.StatusBadGateway, ""
	// A body that fails ends the exchange in several places at once, and err
	// tells of the fastest.
	if failure := x.front.bodyFailure(); failure != nil {
		err = failure
	}
	switch {
	case errors.Is(err, errBodyTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errBodyTimeout):
		status = http.StatusRequestTimeout
	case errors.Is(err, context.Canceled):
		x.Response.Status = statusClientGone
		x.front.abort()
		return
	case errors.Is(err, upstream.ErrBody):
		status = http.StatusBadRequest
	case errors.Is(err, upstream.ErrResolve):
		status, message = http.StatusServiceUnavailable, "name resolution failed"
	case errors.Is(err, upstream.ErrTimeout):
		status = http.StatusGatewayTimeout
	case errors.Is(err, upstream.ErrRequest):
		status = http.StatusInternalServerError
	}
	x.proxy.log.Warn("service did not answer", zap.String("request_id", x.Request.ID), zap.Int("status", status),
		zap.String("host", x.Upstream.Host), zap.Int("port", x.Upstream.Port), zap.Error(err))
	x.responseFields.Reset()
	if x.Request.Header.Get("Accept") == "" {
		// nginx's errors go by the request's own type then, and are plain text
		// without one. The request is not sent any more.
		kind := x.Request.Header.Get("Content-Type")
		if kind == "" {
			kind = "text/plain"
		}
		x.Request.Header.Set("Accept", kind)
	}
	x.Error(status, message)
	x.answer()
}

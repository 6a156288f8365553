package api

import (
	"net"
	"net/http"
	"net/netip"
)

// Kong's Status API, which health checks and scrapers are let reach, where the Admin API stays out of reach.

// StatusHandler gives the Status API as a handler: GET /status, GET /status/ready, GET /metrics, and POST /status
// with status=draining (kong drain), which is taken from this host only.
func (a *API) StatusHandler() http.Handler {
	rt := newRouter()
	rt.handle(http.MethodGet, "/status", a.status)
	rt.handle(http.MethodPost, "/status", a.drain)
	rt.handle(http.MethodGet, "/status/ready", a.ready)
	a.metricsRoute(rt)
	return a.handler(rt, false)
}

// ready answers GET /status/ready: 200 while requests should be sent here, or else 503 and why not.
func (a *API) ready(*request) (*reply, error) {
	if why := a.cfg.Unready(); why != "" {
		return messageReply(http.StatusServiceUnavailable, why), nil
	}
	return messageReply(http.StatusOK, "ready"), nil
}

// drain answers POST /status: from now on the node says that it is not ready, and goes on serving what comes.
func (a *API) drain(q *request) (*reply, error) {
	host, _, _ := net.SplitHostPort(q.RemoteAddr)
	if addr, err := netip.ParseAddr(host); err != nil || !addr.Unmap().IsLoopback() {
		return messageReply(http.StatusForbidden, "a node is drained from its own host only"), nil
	}
	if status, _ := q.body.fields["status"].(string); status != "draining" || len(q.body.fields) != 1 {
		return nil, badRequest("the only thing to say here is status=draining")
	}
	a.cfg.Drain()
	return &reply{status: http.StatusNoContent}, nil
}

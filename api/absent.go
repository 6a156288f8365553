package api

import (
	"net/http"
	"runtime"
)

// Paths of what Sluice does not have, or needs no Admin API for. Kong's clients ask for them, so they are
// answered as Kong does where the thing is turned off or empty.

var (
	errNoWasm         = &statusError{http.StatusBadRequest, "this endpoint is only available when wasm is enabled"}
	errNoControlPlane = &statusError{http.StatusBadRequest,
		"this endpoint is only available when Kong is configured to run as Control Plane for the cluster"}
	errNoDNSStatus = &statusError{http.StatusNotImplemented, "not implemented with the legacy DNS client"}
)

func (a *API) absentRoutes(rt *router) {
	fail := func(err error) handler { return func(*request) (*reply, error) { return nil, err } }
	done := func(*request) (*reply, error) { return &reply{status: http.StatusNoContent}, nil }
	a.filterChainRoutes(rt, fail(errNoWasm))
	for _, path := range []string{"/clustering/data-planes", "/clustering/status"} {
		rt.handle(http.MethodGet, path, fail(errNoControlPlane))
	}
	rt.handle(http.MethodGet, "/status/dns", fail(errNoDNSStatus))
	rt.handle(http.MethodGet, "/timers", timers)
	// what nodes keep of the configuration is never older than the configuration
	rt.handle(http.MethodDelete, "/cache", done)
	rt.handle(http.MethodGet, "/cache/{key}", fail(errNotFound))
	rt.handle(http.MethodDelete, "/cache/{key}", done)
	// the plugin proxy-cache has kept nothing
	rt.handle(http.MethodDelete, "/proxy-cache", done)
	for _, path := range []string{"/proxy-cache/{cache_key}", "/proxy-cache/{plugin_id}/caches/{cache_key}"} {
		rt.handle(http.MethodGet, path, fail(errNotFound))
		rt.handle(http.MethodDelete, path, fail(errNotFound))
	}
}

// filterChainRoutes adds the paths that a collection of filter chains would have.
func (a *API) filterChainRoutes(rt *router, h handler) {
	for _, all := range []string{"/filter-chains", "/services/{services}/filter-chains", "/routes/{routes}/filter-chains"} {
		rt.handle(http.MethodGet, all, h)
		rt.handle(http.MethodPost, all, h)
		a.everyMethod(rt, all+"/{filter_chains}", h)
	}
	a.everyMethod(rt, "/filter-chains/{filter_chains}/service", h)
	a.everyMethod(rt, "/filter-chains/{filter_chains}/route", h)
}

func (a *API) everyMethod(rt *router, pattern string, h handler) {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rt.handle(method, pattern, h)
	}
}

// timers answers GET /timers. Kong's timers are coroutines of its workers; what comes closest are goroutines.
func timers(*request) (*reply, error) {
	running := runtime.NumGoroutine()
	return jsonReply(http.StatusOK, map[string]any{
		"worker": map[string]any{"id": 0, "count": 1},
		"stats": map[string]any{
			"flamegraph": map[string]any{"running": "", "pending": "", "elapsed_time": ""},
			"sys":        map[string]any{"total": running, "runs": running, "running": running, "pending": 0, "waiting": 0},
			"timers":     map[string]any{},
		},
	})
}

package api

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// Info is what GET / tells about a node beyond what the API knows itself.
type Info struct {
	// Version is the Kong version reported to clients. Default 3.9.1.
	Version string
	// SluiceVersion is this build's own.
	SluiceVersion string
	Hostname      string
	// ProxyListeners and AdminListeners are the addresses that the node listens on.
	ProxyListeners, AdminListeners []Listener
	// Configuration holds the node's settings under Kong's names, with secrets masked. The entries that
	// clients depend on are set by the API.
	Configuration map[string]any
}

// Listener is one address, as Kong shows it.
type Listener struct {
	Listener      string `json:"listener"` // "0.0.0.0:8443 ssl"
	IP            string `json:"ip"`
	Port          int    `json:"port"`
	SSL           bool   `json:"ssl"`
	HTTP2         bool   `json:"http2"`
	ProxyProtocol bool   `json:"proxy_protocol"`
	Deferred      bool   `json:"deferred"`
	Bind          bool   `json:"bind"`
	Reuseport     bool   `json:"reuseport"`
	Backlog       bool   `json:"backlog=%d+"` // Kong's key, to the letter
}

// Connections are the proxy's counts in GET /status, since the node started. Active, Reading, Waiting and
// Writing are of now.
type Connections struct {
	Accepted int64 `json:"connections_accepted"`
	Active   int64 `json:"connections_active"`
	Handled  int64 `json:"connections_handled"`
	Reading  int64 `json:"connections_reading"`
	Waiting  int64 `json:"connections_waiting"`
	Writing  int64 `json:"connections_writing"`
	Requests int64 `json:"total_requests"`
}

func (a *API) nodeRoutes(rt *router) {
	rt.handle(http.MethodGet, "/", a.root)
	rt.handle(http.MethodGet, "/status", a.status)
	rt.handle(http.MethodGet, "/endpoints", func(*request) (*reply, error) {
		return jsonReply(http.StatusOK, map[string]any{"data": a.router.patterns()})
	})
	rt.handle(http.MethodGet, "/plugins/enabled", a.enabledPlugins)
	rt.handle(http.MethodGet, "/tags", a.allTags)
	rt.handle(http.MethodGet, "/tags/{tags}", a.entitiesOfTag)
	rt.handle(http.MethodGet, "/cluster", func(*request) (*reply, error) {
		return jsonReply(http.StatusOK, a.cfg.Cluster.Status())
	})
	a.metricsRoute(rt)
}

func (a *API) metricsRoute(rt *router) {
	if a.cfg.Metrics != nil {
		rt.handle(http.MethodGet, "/metrics", func(*request) (*reply, error) { return &reply{stream: a.cfg.Metrics}, nil })
	}
}

// root answers GET /, from which clients learn what they talk to.
func (a *API) root(q *request) (*reply, error) {
	v := q.view()
	available := make(map[string]any)
	for _, p := range a.runningPlugins() {
		available[p.Name] = map[string]any{"version": p.Version, "priority": p.Priority}
	}
	pid := os.Getpid()
	body, err := encodeJSON(map[string]any{
		"tagline":        "Welcome to kong",
		"version":        a.cfg.Info.Version,
		"sluice_version": a.cfg.Info.SluiceVersion,
		"edition":        "community",
		"hostname":       a.cfg.Info.Hostname,
		"node_id":        a.cfg.Cluster.ID(),
		"lua_version":    runtime.Version(),
		"timers":         map[string]any{"running": 0, "pending": 0},
		"pids":           map[string]any{"master": pid, "workers": []int{pid}},
		"configuration":  a.configuration(),
		"plugins": map[string]any{
			"available_on_server": available,
			"enabled_in_cluster":  pluginsInUse(v),
		},
	})
	if err != nil {
		return nil, err
	}
	return readReply(v, body), nil
}

// configuration is the node's, with what Kong's clients decide by: any other database than postgres makes
// them treat the node as read-only, a missing router flavour and missing listeners make them give up.
func (a *API) configuration() map[string]any {
	c := maps.Clone(a.cfg.Info.Configuration)
	if c == nil {
		c = make(map[string]any)
	}
	c["database"] = "postgres"
	c["router_flavor"] = "traditional_compatible"
	c["proxy_listeners"] = nonNil(a.cfg.Info.ProxyListeners)
	c["admin_listeners"] = nonNil(a.cfg.Info.AdminListeners)
	c["stream_listeners"] = []Listener{}
	return c
}

func nonNil(listeners []Listener) []Listener {
	if listeners == nil {
		return []Listener{}
	}
	return listeners
}

// pluginsInUse lists the names of all configured plugins.
func pluginsInUse(v *fsm.View) []string {
	names := make(map[string]bool)
	for e := range v.All("plugins") {
		if p, ok := e.Value.(*fsm.Plugin); ok {
			names[p.Name] = true
		}
	}
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(names))))
}

func (a *API) enabledPlugins(*request) (*reply, error) {
	names := []string{}
	for _, p := range a.runningPlugins() {
		names = append(names, p.Name)
	}
	return jsonReply(http.StatusOK, map[string]any{"enabled_plugins": names})
}

// runningPlugins gives the plugins that can be configured.
func (a *API) runningPlugins() []*plugin.Definition {
	return slices.DeleteFunc(slices.Clone(a.cfg.Plugins()), func(p *plugin.Definition) bool { return !p.Runs() })
}

// status answers GET /status. What Kong calls the database is this node's own copy of the configuration,
// which is always within reach; GET /cluster tells whether writes are possible. Where Kong shows the memory
// of Lua, there is Go's.
func (a *API) status(q *request) (*reply, error) {
	size, err := byteFormat(q)
	if err != nil {
		return nil, err
	}
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	used, total := samples[0].Value.Uint64(), samples[1].Value.Uint64()
	body := map[string]any{
		"database": map[string]any{"reachable": true},
		"server":   a.cfg.Status(),
		"memory": map[string]any{
			"workers_lua_vms": []any{map[string]any{"pid": os.Getpid(), "http_allocated_gc": size(used)}},
			"lua_shared_dicts": map[string]any{
				"go_runtime": map[string]any{"allocated_slabs": size(used), "capacity": size(total)},
			},
		},
	}
	if a.cfg.Problems != nil {
		body["problems"] = a.cfg.Problems()
	}
	return jsonReply(http.StatusOK, body)
}

// byteFormat reads the arguments unit (b, k, m, g; default m) and scale (digits behind the point, default 2).
func byteFormat(q *request) (func(uint64) any, error) {
	unit, scale := "m", 2
	if q.query.Has("unit") {
		unit = strings.ToLower(q.query.Get("unit"))
	}
	if q.query.Has("scale") {
		n, err := strconv.Atoi(q.query.Get("scale"))
		if err != nil || n < 0 || n > 9 {
			return nil, badRequest("invalid scale '%s' (expected an integer between 0 and 9)", q.query.Get("scale"))
		}
		scale = n
	}
	units := map[string]struct {
		bytes float64
		name  string
	}{"k": {1 << 10, "KiB"}, "m": {1 << 20, "MiB"}, "g": {1 << 30, "GiB"}}
	if unit == "b" {
		return func(n uint64) any { return n }, nil
	}
	u, ok := units[unit]
	if !ok {
		return nil, badRequest("invalid unit '%s' (expected 'b/B', 'k/K', 'm/M', or 'g/G')", q.query.Get("unit"))
	}
	return func(n uint64) any { return fmt.Sprintf("%.*f %s", scale, float64(n)/u.bytes, u.name) }, nil
}

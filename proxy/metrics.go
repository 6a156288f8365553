package proxy

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counterShards is how many cache lines a counter is spread over.
const counterShards = 8

// shardedCounter counts without processors fighting for a cache line.
type shardedCounter [counterShards]struct {
	n atomic.Uint64
	_ [56]byte // the rest of a cache line
}

func (c *shardedCounter) add(shard uint32) { c[shard%counterShards].n.Add(1) }

func (c *shardedCounter) sum() uint64 {
	var total uint64
	for i := range c {
		total += c[i].n.Load()
	}
	return total
}

// shardedGauge is a shardedCounter that goes up and down.
type shardedGauge [counterShards]struct {
	n atomic.Int64
	_ [56]byte // the rest of a cache line
}

func (g *shardedGauge) add(shard uint32, n int64) { g[shard%counterShards].n.Add(n) }

func (g *shardedGauge) sum() (total int64) {
	for i := range g {
		total += g[i].n.Load()
	}
	return total
}

// routeCounters counts the answers of one route by status.
type routeCounters struct {
	service, route string
	users          int // routes with these names; guarded by metrics.mu
	// codes is replaced as a whole when a new status appears: a route has few.
	codes atomic.Pointer[[]codeCounter]
	mu    sync.Mutex // held to replace codes
}

type codeCounter struct {
	code int
	n    *shardedCounter
}

func (r *routeCounters) count(code int, shard uint32) {
	if c := r.find(code); c != nil {
		c.add(shard)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.find(code)
	if c == nil {
		c = new(shardedCounter)
		var codes []codeCounter
		if old := r.codes.Load(); old != nil {
			codes = append(codes, *old...)
		}
		codes = append(codes, codeCounter{code, c})
		r.codes.Store(&codes)
	}
	c.add(shard)
}

func (r *routeCounters) find(code int) *shardedCounter {
	codes := r.codes.Load()
	if codes == nil {
		return nil
	}
	for i := range *codes {
		if (*codes)[i].code == code {
			return (*codes)[i].n
		}
	}
	return nil
}

// metrics is what the proxy tells Prometheus, whether or not the prometheus
// plugin is on. Counting is safe for concurrent use; the series of routes that
// are no longer configured are dropped, so their number is bounded by the
// configuration.
type metrics struct {
	proxy     *Proxy
	requests  shardedCounter
	unmatched *routeCounters

	mu     sync.Mutex
	routes map[[2]string]*routeCounters // by service and route

	descRequests, descConnections, descTotal, descNode *prometheus.Desc
	descIndex, descBuild, descAge, descDropped         *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(p *Proxy) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &metrics{
		proxy: p, unmatched: &routeCounters{}, routes: map[[2]string]*routeCounters{},
		descRequests: desc("sluice_http_requests_total", "Requests by service, route and status; empty labels: no route matched.", "service", "route", "code"),
		descConnections: desc("kong_nginx_connections_total", "Number of client connections by state, and accepted, handled and total since the start.",
			"node_id", "subsystem", "state"),
		descTotal:   desc("kong_nginx_requests_total", "Total number of requests.", "node_id", "subsystem"),
		descNode:    desc("kong_node_info", "Id and version of this node, always 1.", "node_id", "version"),
		descIndex:   desc("sluice_config_index", "Log index of the configuration that requests are served with."),
		descBuild:   desc("sluice_config_build_seconds", "Time it took to compile the served configuration."),
		descAge:     desc("sluice_config_age_seconds", "Time since the served configuration was compiled."),
		descDropped: desc("sluice_access_log_dropped_total", "Access log lines that were dropped because the writer fell behind."),
	}
}

// route gives the counters of a route by its names. They live on until release
// was called as often.
func (m *metrics) route(service, route string) *routeCounters {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{service, route}
	r := m.routes[key]
	if r == nil {
		r = &routeCounters{service: service, route: route}
		m.routes[key] = r
	}
	r.users++
	return r
}

// release says that a route that had counters is no longer configured.
func (m *metrics) release(r *routeCounters) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.users--; r.users == 0 {
		delete(m.routes, [2]string{r.service, r.route})
	}
}

// count counts an exchange that has ended.
func (m *metrics) count(x *exchange) {
	m.requests.add(x.Shard)
	counters := m.unmatched
	if x.route != nil {
		counters = x.route.counters
	}
	counters.count(x.Response.Status, x.Shard)
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	if err := r.Register(m); err != nil {
		return fmt.Errorf("register the proxy's metrics: %w", err)
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r != nil {
		r.Unregister(m)
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.descRequests, m.descConnections, m.descTotal, m.descNode,
		m.descIndex, m.descBuild, m.descAge, m.descDropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	p := m.proxy
	node := p.cfg.Env.NodeID
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	stats := p.Stats()
	for state, n := range map[string]int64{
		"accepted": stats.ConnectionsAccepted, "handled": stats.ConnectionsHandled, "active": stats.ConnectionsActive,
		"reading": stats.ConnectionsReading, "writing": stats.ConnectionsWriting, "waiting": stats.ConnectionsWaiting,
		"total": stats.TotalRequests,
	} {
		gauge(m.descConnections, float64(n), node, "http", state)
	}
	gauge(m.descTotal, float64(stats.TotalRequests), node, "http")
	gauge(m.descNode, 1, node, p.cfg.Version)
	s := p.current.Load()
	gauge(m.descIndex, float64(s.index))
	gauge(m.descBuild, s.took.Seconds())
	gauge(m.descAge, time.Since(s.built).Seconds())
	if p.access != nil {
		ch <- prometheus.MustNewConstMetric(m.descDropped, prometheus.CounterValue, float64(p.access.dropped()))
	}
	m.collectRoutes(ch)
}

func (m *metrics) collectRoutes(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	routes := make([]*routeCounters, 0, len(m.routes)+1)
	for _, r := range m.routes {
		routes = append(routes, r)
	}
	m.mu.Unlock()
	for _, r := range append(routes, m.unmatched) {
		codes := r.codes.Load()
		if codes == nil {
			continue
		}
		for _, c := range *codes {
			ch <- prometheus.MustNewConstMetric(m.descRequests, prometheus.CounterValue, float64(c.n.sum()),
				r.service, r.route, strconv.Itoa(c.code))
		}
	}
}

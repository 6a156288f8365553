// Package prometheus is the plugin prometheus: it counts requests by service and
// route under Kong's names, so that dashboards and alerts made for Kong work.
//
// # Config
//
// All fields are false by default, and the plugin then counts nothing.
//
//   - status_code_metrics: kong_http_requests_total {service, route, code,
//     source, workspace, consumer}.
//   - latency_metrics, all in milliseconds {service, route, workspace}:
//     kong_request_latency_ms (first byte read to last byte written),
//     kong_upstream_latency_ms (until the head of the upstream's answer; only if
//     there was one) and kong_kong_latency_ms (until the upstream was asked, or
//     until the end if it was not).
//   - bandwidth_metrics: kong_bandwidth_bytes {service, route, direction,
//     workspace, consumer}; head and body, ingress from and egress to the
//     client.
//   - per_consumer: fills the label consumer with the consumer's username. It
//     is empty otherwise.
//   - upstream_health_metrics: no effect yet. kong_upstream_target_health needs
//     upstreams with targets.
//   - ai_metrics, wasm_metrics: no effect; there is nothing to count.
//
// The label service is the service's name, or its host if it has none; route
// is the route's name or id; workspace is always "default". Requests without a
// route are not counted, as in Kong.
//
// Counters belong to the node and survive changes of the configuration. The
// number of label sets is bounded, see maxSeries. What concerns the node as a
// whole (kong_nginx_connections_total, kong_node_info) is not this plugin's.
package prometheus

import (
	"time"

	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "prometheus"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 13
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New,
	})
}

// Config is the plugin's config, described in the package's comment. The fields
// that have no effect are not here.
type Config struct {
	PerConsumer       bool `json:"per_consumer"`
	StatusCodeMetrics bool `json:"status_code_metrics"`
	LatencyMetrics    bool `json:"latency_metrics"`
	BandwidthMetrics  bool `json:"bandwidth_metrics"`
}

// Plugin is one configured prometheus. Safe for concurrent use.
type Plugin struct {
	Config
	metrics *metrics
}

var _ plugin.Logger = (*Plugin)(nil)

// New makes an instance; see plugin.Definition. The first one of a node
// registers the metrics.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	p.metrics = env.Shared(name, func() any { return newMetrics(env.Metrics) }).(*metrics)
	if p.metrics.err != nil {
		return nil, p.metrics.err
	}
	return p, nil
}

// Log implements plugin.Logger. It allocates only for label sets that are new.
func (p *Plugin) Log(ex *plugin.Exchange) {
	if ex.Route == nil {
		return
	}
	k := p.kindOf(ex)
	p.metrics.count(&k, p.metrics.find(k, ex.Times.Finished), &ex.Response, latenciesOf(&ex.Times))
}

// kindOf says in which series an exchange is counted.
func (p *Plugin) kindOf(ex *plugin.Exchange) kind {
	k := kind{statuses: p.StatusCodeMetrics, accounts: p.BandwidthMetrics, places: p.LatencyMetrics}
	k.place = placeOf(ex)
	if p.PerConsumer && ex.Consumer != nil {
		k.consumer = ex.Consumer.Username
	}
	if p.StatusCodeMetrics {
		k.code, k.source = ex.Response.Status, plugin.FromKong // also where nobody answered
		if ex.Response.Source == plugin.FromService {
			k.source = plugin.FromService
		}
	}
	return k
}

func placeOf(ex *plugin.Exchange) place {
	at := place{route: ex.Route.Name}
	if at.route == "" {
		at.route = ex.Route.ID
	}
	if s := ex.Service; s != nil {
		at.service = s.Name
		if at.service == "" {
			at.service = s.Host
		}
	}
	return at
}

// latencies are in milliseconds; a negative one was not measured.
type latencies struct{ request, upstream, kong float64 }

func latenciesOf(t *plugin.Times) latencies {
	l := latencies{request: between(t.Started, t.Finished), upstream: between(t.UpstreamStarted, t.UpstreamAnswered)}
	asked := t.UpstreamStarted
	if asked.IsZero() {
		asked = t.Finished
	}
	l.kong = between(t.Started, asked)
	return l
}

// between gives a time span in milliseconds, or -1 if an end is missing.
func between(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return max(0, float64(to.Sub(from))/float64(time.Millisecond))
}

package prometheus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/proxy/plugin"
)

const workspace = "default"

var errNoRegisterer = errors.New("prometheus needs a registry of metrics")

// place is what all series are about.
type place struct{ service, route string }

// status is a label set of kong_http_requests_total.
type status struct {
	place
	consumer string
	code     int
	source   plugin.Source
}

// account is a label set of kong_bandwidth_bytes, but for the direction.
type account struct {
	place
	consumer string
}

type bandwidth struct{ ingress, egress prometheus.Counter }

type histograms struct{ request, upstream, kong prometheus.Observer }

// kind is what those exchanges have in common that are counted in the same series.
type kind struct {
	status
	statuses, accounts, places bool // which series are on
}

// counters are the series of one kind. One is nil that is off, or has no room.
type counters struct {
	status  *entry[prometheus.Counter]
	account *entry[bandwidth]
	place   *entry[histograms]
}

// maxKinds bounds how many kinds are remembered. All are forgotten when there are
// more, and are put together again from the series.
const maxKinds = 2 * maxSeries

// metrics are the series of one node. Safe for concurrent use.
type metrics struct {
	err      error // why they could not be registered
	statuses *series[status, prometheus.Counter]
	accounts *series[account, bandwidth]
	places   *series[place, histograms]
	refused  prometheus.Counter

	// kinds spares an exchange two of three look-ups.
	mu    sync.RWMutex
	kinds map[kind]*counters
}

func newMetrics(registry prometheus.Registerer) *metrics {
	requests := counter("http_requests_total", "Requests, by service, route, status code and who answered.",
		"service", "route", "code", "source", "workspace", "consumer")
	bytes := counter("bandwidth_bytes", "Bytes of requests (ingress) and answers (egress), heads included.",
		"service", "route", "direction", "workspace", "consumer")
	request := histogram("request_latency_ms", "Time from the first byte of the request to the last of the answer.",
		25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
	upstream := histogram("upstream_latency_ms", "Time the upstream took to begin its answer.",
		25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
	own := histogram("kong_latency_ms", "Time the request spent in the gateway and its plugins.",
		1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kong_nginx_metric_errors_total",
		Help: "Observations that were not counted because there are too many label sets.",
	})
	m := &metrics{refused: refused, kinds: map[kind]*counters{}}
	if registry == nil {
		m.err = errNoRegisterer
		return m
	}
	for _, c := range []prometheus.Collector{requests, bytes, request, upstream, own, refused} {
		if err := registry.Register(c); err != nil {
			m.err = fmt.Errorf("registering metrics: %w", err)
			return m
		}
	}
	m.statuses, m.accounts, m.places = newStatuses(requests), newAccounts(bytes), newPlaces(request, upstream, own)
	return m
}

func newStatuses(requests *prometheus.CounterVec) *series[status, prometheus.Counter] {
	return newSeries(
		func(s status) prometheus.Counter { return requests.WithLabelValues(s.labels()...) },
		func(s status) { requests.DeleteLabelValues(s.labels()...) },
	)
}

func newAccounts(bytes *prometheus.CounterVec) *series[account, bandwidth] {
	return newSeries(
		func(a account) bandwidth {
			return bandwidth{
				ingress: bytes.WithLabelValues(a.labels("ingress")...),
				egress:  bytes.WithLabelValues(a.labels("egress")...),
			}
		},
		func(a account) {
			bytes.DeleteLabelValues(a.labels("ingress")...)
			bytes.DeleteLabelValues(a.labels("egress")...)
		},
	)
}

func newPlaces(request, upstream, own *prometheus.HistogramVec) *series[place, histograms] {
	return newSeries(
		func(p place) histograms {
			return histograms{
				request:  request.WithLabelValues(p.labels()...),
				upstream: upstream.WithLabelValues(p.labels()...),
				kong:     own.WithLabelValues(p.labels()...),
			}
		},
		func(p place) {
			for _, h := range []*prometheus.HistogramVec{request, upstream, own} {
				h.DeleteLabelValues(p.labels()...)
			}
		},
	)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kong_" + name, Help: help}, labels)
}

func histogram(name, help string, buckets ...float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Name: "kong_" + name, Help: help, Buckets: buckets},
		[]string{"service", "route", "workspace"})
}

func (s *status) labels() []string {
	return valid(s.service, s.route, strconv.Itoa(s.code), string(s.source), workspace, s.consumer)
}

func (a *account) labels(direction string) []string {
	return valid(a.service, a.route, direction, workspace, a.consumer)
}

func (p *place) labels() []string { return valid(p.service, p.route, workspace) }

// valid makes names fit for labels, which have to be UTF-8: the metrics panic
// over others.
func valid(labels ...string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\ufffd")
	}
	return labels
}

// find gives the series of a kind of exchange, of which one is counted now.
func (m *metrics) find(k kind, now time.Time) *counters {
	m.mu.RLock()
	c := m.kinds[k]
	m.mu.RUnlock()
	if c == nil || !c.use(now.Unix()) {
		c = m.gather(k, now)
	}
	return c
}

// gather finds the series of a kind one by one. They are remembered if all have room.
func (m *metrics) gather(k kind, now time.Time) *counters {
	c := &counters{}
	if k.statuses {
		c.status = m.statuses.get(k.status, now)
	}
	if k.accounts {
		c.account = m.accounts.get(account{k.place, k.consumer}, now)
	}
	if k.places {
		c.place = m.places.get(k.place, now)
	}
	if k.statuses == (c.status != nil) && k.accounts == (c.account != nil) && k.places == (c.place != nil) {
		m.remember(k, c)
	}
	return c
}

func (m *metrics) remember(k kind, c *counters) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kinds) >= maxKinds {
		clear(m.kinds)
	}
	m.kinds[k] = c
}

// use notes that all series of a kind are used. False: one of them is gone.
func (c *counters) use(now int64) bool {
	return (c.status == nil || c.status.use(now)) && (c.account == nil || c.account.use(now)) && (c.place == nil || c.place.use(now))
}

// count counts one exchange in the series that are on for its kind.
func (m *metrics) count(k *kind, c *counters, r *plugin.Response, l latencies) {
	if k.statuses {
		if c.status == nil {
			m.refused.Inc()
		} else {
			c.status.metric.Inc()
		}
	}
	if k.accounts {
		if c.account == nil {
			m.refused.Inc()
		} else {
			c.account.metric.add(r.Received, r.Sent)
		}
	}
	if k.places {
		if c.place == nil {
			m.refused.Inc()
		} else {
			c.place.metric.observe(l)
		}
	}
}

func (b *bandwidth) add(received, sent int64) {
	b.ingress.Add(float64(max(0, received)))
	b.egress.Add(float64(max(0, sent)))
}

func (h *histograms) observe(l latencies) {
	for _, o := range [...]struct {
		histogram prometheus.Observer
		ms        float64
	}{{h.request, l.request}, {h.upstream, l.upstream}, {h.kong, l.kong}} {
		if o.ms >= 0 {
			o.histogram.Observe(o.ms)
		}
	}
}

package prometheus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// metrics are the series of one node. Safe for concurrent use.
type metrics struct {
	err      error // why they could not be registered
	now      func() time.Time
	statuses *series[status, prometheus.Counter]
	accounts *series[account, bandwidth]
	places   *series[place, histograms]
	refused  prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, now func() time.Time) *metrics {
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
	m := &metrics{now: now, refused: refused}
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

func (m *metrics) count(s status) {
	if s.source != plugin.FromService {
		s.source = plugin.FromKong // also for an exchange that nobody answered
	}
	c, ok := m.statuses.get(s, m.now())
	if !ok {
		m.refused.Inc()
		return
	}
	c.Inc()
}

func (m *metrics) transfer(a account, received, sent int64) {
	b, ok := m.accounts.get(a, m.now())
	if !ok {
		m.refused.Inc()
		return
	}
	b.ingress.Add(float64(max(0, received)))
	b.egress.Add(float64(max(0, sent)))
}

func (m *metrics) observe(at place, l latencies) {
	h, ok := m.places.get(at, m.now())
	if !ok {
		m.refused.Inc()
		return
	}
	for _, o := range [...]struct {
		histogram prometheus.Observer
		ms        float64
	}{{h.request, l.request}, {h.upstream, l.upstream}, {h.kong, l.kong}} {
		if o.ms >= 0 {
			o.histogram.Observe(o.ms)
		}
	}
}

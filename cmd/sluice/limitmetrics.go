package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/limiter"
)

// limitMetrics exports limiter.Stats at every scrape. What requests were decided
// is counted by the plugins that limit (plugin.Decisions).
type limitMetrics struct {
	limiter *limiter.Limiter
	mode    *prometheus.Desc
	values  []limitValue
}

type limitValue struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*limiter.Stats) float64
}

func newLimitMetrics(l *limiter.Limiter) *limitMetrics {
	m := &limitMetrics{limiter: l, mode: prometheus.NewDesc("sluice_limit_mode", "1 for how this node decides: starting, quorum, or degraded (no leader).", []string{"mode"}, nil)}
	add := func(kind prometheus.ValueType, name, help string, value func(*limiter.Stats) float64) {
		m.values = append(m.values, limitValue{prometheus.NewDesc("sluice_limit_"+name, help, nil, nil), kind, value})
	}
	count := func(name, help string, value func(*limiter.Stats) uint64) {
		add(prometheus.CounterValue, name, help, func(s *limiter.Stats) float64 { return float64(value(s)) })
	}
	gauge := func(name, help string, value func(*limiter.Stats) float64) {
		add(prometheus.GaugeValue, name, help, value)
	}

	count("transfers_asked_total", "Times that this node asked another one for tokens of a budget.", func(s *limiter.Stats) uint64 { return s.TransfersAsked })
	count("transfers_served_total", "Times that another node asked this one.", func(s *limiter.Stats) uint64 { return s.TransfersServed })
	count("tokens_received_total", "Tokens that other nodes gave to this one.", func(s *limiter.Stats) uint64 { return s.TokensReceived })
	count("tokens_given_total", "Tokens that this node gave to other nodes.", func(s *limiter.Stats) uint64 { return s.TokensGiven })
	count("pool_asks_total", "Times that this node asked the replicated log for tokens of a budget.", func(s *limiter.Stats) uint64 { return s.PoolAsks })
	count("pool_tokens_total", "Tokens that the replicated log granted to this node.", func(s *limiter.Stats) uint64 { return s.TokensGranted })
	count("waits_total", "Requests that had to wait for a token.", func(s *limiter.Stats) uint64 { return s.Waited })
	count("waits_vain_total", "Requests that gave up waiting.", func(s *limiter.Stats) uint64 { return s.Vain })
	count("closed_total", "Windows that this node learned to be used up everywhere.", func(s *limiter.Stats) uint64 { return s.Closed })
	count("overflow_total", "Tokens taken for keys that had no cell of their own because the table was full.", func(s *limiter.Stats) uint64 { return s.Overflow })
	count("no_room_total", "Times that a key found no room for a cell.", func(s *limiter.Stats) uint64 { return s.NoRoom })
	count("degraded_shares_total", "Shares of windows that were taken without a quorum.", func(s *limiter.Stats) uint64 { return s.DegradedShares })

	gauge("waiting", "Requests that wait for a token now.", func(s *limiter.Stats) float64 { return float64(s.Waiting) })
	gauge("clock_uncertainty_seconds", "How far off this node's knowledge of the cluster's time may be; -1 if it knows nothing of it.", func(s *limiter.Stats) float64 {
		if !s.Timed {
			return -1
		}
		return float64(s.Uncertainty) / 1e6
	})
	gauge("cells", "Cells in use, one for each key and window length; those of windows that are over are used again.", func(s *limiter.Stats) float64 { return float64(s.Cells) })
	gauge("cells_max", "Cells that there is room for.", func(s *limiter.Stats) float64 { return float64(s.MaxCells) })
	gauge("cells_bytes", "Memory of the cells and their index.", func(s *limiter.Stats) float64 { return float64(s.Bytes) })
	gauge("pools", "Budgets of which the replicated log keeps a pool.", func(s *limiter.Stats) float64 { return float64(s.Pools) })
	return m
}

// Describe is for prometheus.Collector.
func (m *limitMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.mode
	for i := range m.values {
		ch <- m.values[i].desc
	}
}

// Collect is for prometheus.Collector.
func (m *limitMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.limiter.Stats()
	for _, mode := range limiter.Modes() {
		value := 0.0
		if mode == s.Mode {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(m.mode, prometheus.GaugeValue, value, string(mode))
	}
	for i := range m.values {
		v := &m.values[i]
		ch <- prometheus.MustNewConstMetric(v.desc, v.kind, v.value(&s))
	}
}

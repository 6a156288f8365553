package plugin

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/limiter"
)

// Decisions counts what the plugins that limit requests decide, by instance. Its
// series are bounded: an instance that is no longer configured loses its own some
// time after, and where there are more than maxDecided instances, those that come
// late are counted together, with an empty limit. Safe for concurrent use.
type Decisions struct {
	desc *prometheus.Desc

	mu     sync.Mutex
	counts map[decider]weak.Pointer[DecisionCount]
	rest   map[string]*DecisionCount // by plugin: of instances that came late
}

// maxDecided is how many instances have series of their own.
const maxDecided = 1000

// decider is an instance by its plugin's name and its id.
type decider struct{ plugin, limit string }

// DecisionCount is the counters of one instance. They are counted on as long as an
// instance has them; versions of one instance share them.
type DecisionCount struct {
	admitted, refused, failed shardedCount
}

// shardedCount counts without processors fighting for a cache line.
type shardedCount [countShards]struct {
	n atomic.Uint64
	_ [56]byte // the rest of a cache line
}

const countShards = 8

func (c *shardedCount) add(shard uint32) { c[shard%countShards].n.Add(1) }

func (c *shardedCount) sum() (total float64) {
	for i := range c {
		total += float64(c[i].n.Load())
	}
	return total
}

// Count counts one decision about an exchange. That nothing was decided because
// the client has gone is none.
func (c *DecisionCount) Count(ex *Exchange, d *limiter.Decision) {
	switch {
	case d.Admitted:
		c.admitted.add(ex.Shard)
	case d.Err == nil:
		c.refused.add(ex.Shard)
	case ex.Context().Err() == nil:
		c.failed.add(ex.Shard)
	}
}

// Decisions gives the node's. The first call registers it; that this fails is no
// reason not to limit.
func (e *Env) Decisions() *Decisions {
	return e.Shared("decisions of limits", func() any {
		d := newDecisions()
		if e.Metrics == nil {
			return d
		}
		if err := e.Metrics.Register(d); err != nil && e.Logger != nil {
			e.Logger.Warn("decisions of limits are not in the metrics", zap.Error(err))
		}
		return d
	}).(*Decisions)
}

func newDecisions() *Decisions {
	return &Decisions{
		desc: prometheus.NewDesc("sluice_limit_decisions_total",
			"Requests by what a limit decided: admitted, refused, or error if nothing could be decided. limit is the plugin's id, empty for instances beyond the first 1000.",
			[]string{"plugin", "limit", "decision"}, nil),
		counts: map[decider]weak.Pointer[DecisionCount]{}, rest: map[string]*DecisionCount{},
	}
}

// Of gives the counters of an instance, to be kept by it.
func (d *Decisions) Of(plugin, limit string) *DecisionCount {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := decider{plugin, limit}
	if c := d.counts[key].Value(); c != nil {
		return c
	}
	if len(d.counts) >= maxDecided {
		d.forget()
	}
	if len(d.counts) >= maxDecided {
		if d.rest[plugin] == nil {
			d.rest[plugin] = new(DecisionCount)
		}
		return d.rest[plugin]
	}
	c := new(DecisionCount)
	d.counts[key] = weak.Make(c)
	return c
}

// forget drops what nobody counts on any more.
func (d *Decisions) forget() {
	for key, c := range d.counts {
		if c.Value() == nil {
			delete(d.counts, key)
		}
	}
}

var _ prometheus.Collector = (*Decisions)(nil)

// Describe implements prometheus.Collector.
func (d *Decisions) Describe(ch chan<- *prometheus.Desc) { ch <- d.desc }

// Collect implements prometheus.Collector.
func (d *Decisions) Collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget()
	keys := make([]decider, 0, len(d.counts))
	for key := range d.counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b decider) int { return cmp.Or(cmp.Compare(a.plugin, b.plugin), cmp.Compare(a.limit, b.limit)) })
	for _, key := range keys {
		if c := d.counts[key].Value(); c != nil {
			d.collect(ch, key, c)
		}
	}
	for plugin, c := range d.rest {
		d.collect(ch, decider{plugin: plugin}, c)
	}
}

func (d *Decisions) collect(ch chan<- prometheus.Metric, key decider, c *DecisionCount) {
	for _, of := range []struct {
		decision string
		n        *shardedCount
	}{{"admitted", &c.admitted}, {"refused", &c.refused}, {"error", &c.failed}} {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.CounterValue, of.n.sum(), key.plugin, key.limit, of.decision)
	}
}

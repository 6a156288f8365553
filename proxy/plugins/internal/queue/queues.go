package queue

import (
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// outcome is what became of an entry.
type outcome int

const (
	sent     outcome = iota
	noRoom           // dropped for newer ones
	tooLarge         // for the queue
	unsent           // given up after tries
	stopped          // the node did not wait for it
	outcomes
)

// names are the outcomes as metrics show them.
var names = [outcomes]string{"sent", "no_room", "too_large", "failed", "stopped"}

// Queues are those of a node. Safe for concurrent use.
type Queues struct {
	env     *plugin.Env
	entries *prometheus.Desc
	waiting *prometheus.Desc

	mu     sync.Mutex
	queues map[identity]weak.Pointer[Queue]
	counts map[string]*[outcomes]atomic.Uint64 // by plugin
}

// identity is what makes two queues one.
type identity struct {
	cfg Config
	key string
}

// queuesOf gives the node's. The first call registers their metrics; that this
// fails is no reason not to send.
func queuesOf(env *plugin.Env) *Queues {
	return env.Shared("queues", func() any {
		s := &Queues{
			env: env,
			entries: prometheus.NewDesc("sluice_plugin_queue_entries_total",
				"Entries that plugins had to send elsewhere, by what became of them: sent, no_room (dropped for newer ones), too_large, failed (given up after tries), stopped (with the node).",
				[]string{"plugin", "outcome"}, nil),
			waiting: prometheus.NewDesc("sluice_plugin_queue_waiting",
				"Entries of plugins that wait to be sent.", []string{"plugin"}, nil),
			queues: map[identity]weak.Pointer[Queue]{}, counts: map[string]*[outcomes]atomic.Uint64{},
		}
		env.AtEnd(s.end)
		if env.Metrics == nil {
			return s
		}
		if err := env.Metrics.Register(s); err != nil && env.Logger != nil {
			env.Logger.Warn("queues of plugins are not in the metrics", zap.Error(err))
		}
		return s
	}).(*Queues)
}

// Of gives the queue of a config and a key, which says where and how its entries
// are sent: the one that another instance has, or one that make makes the sending
// of. close is called when the node stops; it may be nil.
func Of(env *plugin.Env, cfg Config, key string, make func() (send Send, close func())) *Queue {
	s := queuesOf(env)
	s.mu.Lock()
	defer s.mu.Unlock()
	id := identity{cfg, key}
	if q := s.queues[id].Value(); q != nil {
		return q
	}
	for old, q := range s.queues {
		if q.Value() == nil {
			delete(s.queues, old)
		}
	}
	if s.counts[cfg.Plugin] == nil {
		s.counts[cfg.Plugin] = new([outcomes]atomic.Uint64)
	}
	q := &Queue{cfg: cfg, env: env, counts: s.counts[cfg.Plugin], full: newSignal()}
	q.send, q.close = make()
	s.queues[id] = weak.Make(q)
	return q
}

func newSignal() chan struct{} { return make(chan struct{}, 1) }

// each gives the queues that are in use.
func (s *Queues) each(f func(*Queue)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.queues {
		if q := p.Value(); q != nil {
			f(q)
		}
	}
}

// end closes what the queues have open.
func (s *Queues) end() {
	s.each(func(q *Queue) {
		if q.close != nil {
			q.close()
		}
	})
}

// tellEvery is how often the log tells of entries of a queue that are lost.
const tellEvery = time.Minute

// note counts entries, and tells the log of the first that is lost in a while, and
// why.
func (q *Queue) note(o outcome, n int, why error) {
	if n == 0 {
		return
	}
	total := q.counts[o].Add(uint64(n))
	if o == sent {
		return
	}
	last, now := q.told.Load(), time.Now().UnixNano()
	if last != 0 && now-last < int64(tellEvery) || !q.told.CompareAndSwap(last, now) {
		return
	}
	q.log().Warn("entries are lost", zap.String("why", names[o]), zap.Uint64("since_start", total), zap.Error(why))
}

var _ prometheus.Collector = (*Queues)(nil)

// Describe implements prometheus.Collector.
func (s *Queues) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.entries
	ch <- s.waiting
}

// Collect implements prometheus.Collector.
func (s *Queues) Collect(ch chan<- prometheus.Metric) {
	waiting := map[string]int{}
	s.each(func(q *Queue) {
		q.mu.Lock()
		defer q.mu.Unlock()
		waiting[q.cfg.Plugin] += q.count()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for plugin, counts := range s.counts {
		for o := range counts {
			ch <- prometheus.MustNewConstMetric(s.entries, prometheus.CounterValue, float64(counts[o].Load()), plugin, names[o])
		}
		ch <- prometheus.MustNewConstMetric(s.waiting, prometheus.GaugeValue, float64(waiting[plugin]), plugin)
	}
}

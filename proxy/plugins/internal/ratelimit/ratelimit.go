// Package ratelimit is what the rate limiting plugins have in common: what a
// request is counted under, how the quota is asked, and what the client is told
// of the answer.
package ratelimit

import (
	"errors"
	"fmt"
	"sync"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// ErrNoQuota is wrapped by New's error for a node without a quota.
var ErrNoQuota = errors.New("rate limiting needs a quota")

// maxLimit is the largest budget of a window; larger ones are the same to
// everyone, and the limiter's sums stay within 64 bits.
const maxLimit = 1 << 50

// Shared is what all instances of a node share, of whichever plugin. Safe for
// concurrent use.
type Shared struct {
	addresses addressKeys
	numbers   *numbers
	decisions sync.Pool // of *limiter.Decision, from access to header filter
}

// SharedBy gives what the instances of a node share.
func SharedBy(env *plugin.Env) *Shared {
	return env.Shared("ratelimit", func() any {
		s := &Shared{numbers: newNumbers()}
		s.decisions.New = func() any { return new(limiter.Decision) }
		return s
	}).(*Shared)
}

// Config is what a Gate enforces and says.
type Config struct {
	// Plugin is the plugin's name.
	Plugin string
	// Limit is the limit without its Rates, which follow from Windows.
	Limit   limiter.Limit
	Windows []Window
	// HideHeaders leaves the rate limit fields out of answers.
	HideHeaders bool
	// Refuse answers a request that found no room.
	Refuse func(*plugin.Exchange) plugin.Verdict
	// Jitter, if set, gives the seconds by which a refused client is told to wait
	// longer than it has to.
	Jitter func() int64
}

// Window is one of a limit's windows.
type Window struct {
	Period limiter.Period
	// Max is how many requests it admits. A fraction admits its ceiling.
	Max float64
	// Burst is, of a bucket, how many requests it admits when it is full; Max come
	// back in the period's time.
	Burst float64
	// Title is the end of its fields' names, such as Minute.
	Title string
}

// Gate lets the requests of one plugin instance through or refuses them. Safe
// for concurrent use.
type Gate struct {
	Config
	shared *Shared
	quota  plugin.Quota
	says   []says // of Windows
	count  *plugin.DecisionCount
}

// New makes the gate of an instance.
func New(env *plugin.Env, in *plugin.Instance, cfg Config) (*Gate, error) {
	if env.Quota == nil {
		return nil, fmt.Errorf("plugin %s: %w", in.ID, ErrNoQuota)
	}
	g := &Gate{Config: cfg, shared: SharedBy(env), quota: env.Quota, count: env.Decisions().Of(cfg.Plugin, in.ID)}
	g.Limit.Rates = make([]limiter.Rate, 0, len(cfg.Windows))
	for _, w := range cfg.Windows {
		w.Max = min(w.Max, maxLimit)
		g.Limit.Rates = append(g.Limit.Rates, limiter.Rate{Period: w.Period, Max: roundUp(w.Max), Burst: roundUp(w.Burst)})
		g.says = append(g.says, newSays(w))
	}
	g.Limit.Prepare()
	return g, nil
}

// Access takes a token for the request, which is counted under key, or answers
// it.
//
// An admission allocates nothing once the pools are warm, but for the texts of
// numbers above 4095 (what is left, and the reset of a day or longer), and of
// what is left of a fractional limit.
func (g *Gate) Access(ex *plugin.Exchange, key string) plugin.Verdict {
	d := g.quota.Take(ex.Context(), &g.Limit, key)
	g.count.Count(ex, &d)
	if d.Err != nil {
		return Undecided(ex, g.Limit.FaultTolerant)
	}
	if !g.HideHeaders {
		kept := g.shared.decisions.Get().(*limiter.Decision)
		*kept = d
		ex.Put(g, kept)
	}
	if d.Admitted {
		return plugin.Continue
	}
	return g.Refuse(ex)
}

// Undecided handles a request for which no token could be had or refused.
func Undecided(ex *plugin.Exchange, tolerant bool) plugin.Verdict {
	if ex.Context().Err() != nil {
		// The client has gone or the node stops: this is no failure of the
		// cluster to be tolerant of, and the request has no token.
		return ex.Error(503, "")
	}
	if tolerant {
		return plugin.Continue
	}
	return ex.Exit(500, "An unexpected error occurred")
}

// FilterHeader tells the client what is left.
func (g *Gate) FilterHeader(ex *plugin.Exchange) {
	d, ok := ex.Value(g).(*limiter.Decision)
	if !ok {
		return
	}
	ex.Put(g, nil)
	g.describe(ex.Response.Header, d)
	g.shared.decisions.Put(d)
}

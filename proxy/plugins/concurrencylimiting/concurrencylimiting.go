// Package concurrencylimiting is the plugin concurrency-limiting: it lets so
// many requests of each client be answered at the same time, counted over the
// whole cluster. It is not one of Kong's; its fields are named as those of
// rate-limiting are.
//
// # Config
//
//   - limit: how many requests may be in flight, from when they are routed until
//     the last byte of their answer is sent; WebSockets and other tunnels until
//     they end. Required, from 1 to 2,147,483,647.
//   - limit_by (default consumer), header_name, path: what has a limit of its own,
//     as of rate-limiting.
//   - policy (cluster): with cluster, all nodes count together; with node, each
//     lets as many through.
//   - hide_client_headers (false): answers carry no X-Concurrency-Limit and
//     X-Concurrency-Remaining.
//   - error_code (429), error_message ("Too many requests in flight"): the refusal,
//     with Retry-After: 1. A request waits up to 100 ms for another to be done
//     before it is refused, unless some have just waited in vain.
//   - fault_tolerant (true): without a quorum, nodes go on with what they held; a
//     request about which nothing can be decided is let through. If false, such
//     requests are answered 500.
//
// What a node has in flight when the others have lost it for three seconds is not
// counted any more; it ends as it would. Each plugin instance counts for itself,
// whatever its scope.
package concurrencylimiting

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

const (
	name    = "concurrency-limiting"
	version = "1.0.0"
	// priority has it run after the rate limits (910): who is refused by those is
	// never in flight.
	priority   = 905
	policyNode = "node"
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Budget: plugin.OwnBudget,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	Limit             float64 `json:"limit"`
	LimitBy           string  `json:"limit_by"`
	HeaderName        string  `json:"header_name"`
	Path              string  `json:"path"`
	Policy            string  `json:"policy"`
	HideClientHeaders bool    `json:"hide_client_headers"`
	ErrorCode         float64 `json:"error_code"`
	ErrorMessage      string  `json:"error_message"`
	FaultTolerant     bool    `json:"fault_tolerant"`
}

// Plugin is one configured concurrency-limiting. Safe for concurrent use.
type Plugin struct {
	Config
	quota    plugin.Quota
	shared   *ratelimit.Shared
	identity ratelimit.Identity
	limit    limiter.Limit
	text     string // of the limit
	count    *plugin.DecisionCount
}

var (
	_ plugin.Accessor     = (*Plugin)(nil)
	_ plugin.HeaderFilter = (*Plugin)(nil)
	_ plugin.Logger       = (*Plugin)(nil)
	_ plugin.Counter      = (*Plugin)(nil)
)

// New makes an instance; see plugin.Definition.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	if env.Quota == nil {
		return nil, fmt.Errorf("plugin %s: %w", in.ID, ratelimit.ErrNoQuota)
	}
	p := &Plugin{quota: env.Quota, shared: ratelimit.SharedBy(env), count: env.Decisions().Of(name, in.ID)}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	p.identity = ratelimit.NewIdentity(p.LimitBy, p.HeaderName, p.Path)
	p.text = strconv.FormatInt(int64(p.Limit), 10)
	period := limiter.InFlight
	if p.Policy == policyNode {
		period = period.Local()
	}
	p.limit = limiter.Limit{
		ID: in.ID, Version: in.Version, Since: in.Since, FaultTolerant: p.FaultTolerant,
		Rates: []limiter.Rate{{Period: period, Max: int64(p.Limit)}},
	}
	p.limit.Prepare()
	return p, nil
}

// flight is an exchange that holds a token, or was refused one.
type flight struct {
	key       string
	held      bool
	remaining int64
}

// Access implements plugin.Accessor: it takes a token for the request, or
// answers it.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	key := p.shared.Key(ex, &p.identity)
	d := p.quota.Take(ex.Context(), &p.limit, key)
	p.count.Count(ex, &d)
	switch {
	case d.Err != nil:
		return ratelimit.Undecided(ex, p.FaultTolerant)
	case d.Admitted:
		// The key may be a piece of the request, which is gone when it is done.
		ex.Put(p, &flight{key: strings.Clone(key), held: true, remaining: d.Remaining[0]})
		return plugin.Continue
	}
	ex.Put(p, &flight{})
	return ex.Error(int(p.ErrorCode), p.ErrorMessage)
}

// CountedAs implements plugin.Counter.
func (p *Plugin) CountedAs(ex *plugin.Exchange) (*limiter.Limit, string) {
	return &p.limit, strings.Clone(p.shared.Key(ex, &p.identity))
}

// FilterHeader implements plugin.HeaderFilter: it tells the client what is left.
func (p *Plugin) FilterHeader(ex *plugin.Exchange) {
	f, ok := ex.Value(p).(*flight)
	if !ok {
		return
	}
	h := ex.Response.Header
	if !p.HideClientHeaders {
		h.Set("X-Concurrency-Limit", p.text)
		h.Set("X-Concurrency-Remaining", p.shared.Number(f.remaining))
	}
	if !f.held {
		h.Set("Retry-After", "1")
	}
}

// Log implements plugin.Logger: the request is done.
func (p *Plugin) Log(ex *plugin.Exchange) {
	if f, ok := ex.Value(p).(*flight); ok && f.held {
		ex.Put(p, nil)
		p.quota.Done(&p.limit, f.key)
	}
}

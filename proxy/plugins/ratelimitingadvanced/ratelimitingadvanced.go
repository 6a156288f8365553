// Package ratelimitingadvanced is the plugin rate-limiting-advanced: it admits
// so many requests in windows of any length, fixed or sliding, of each client,
// counted exactly over the whole cluster. Its fields are those of Kong's plugin
// of this name.
//
// # Config
//
//   - limit, window_size: two lists of the same length, at most eight. The nth
//     number of limit is how many requests a window of the nth number of seconds
//     admits; a request needs room in all. A fractional limit admits its ceiling.
//     Window sizes are whole seconds, each at most once, up to two years, and
//     above twelve days whole minutes.
//   - window_type (sliding): with fixed, windows of n seconds begin at multiples
//     of n of unix time. With sliding, the limit holds in every span of the
//     window's length: it is exact, not weighed as in Kong. A request's room
//     comes back when the window has passed, at most a sixtieth or so of the
//     window later.
//   - burst, which is not Kong's: a list as long as limit. Instead of a sliding
//     window there is a token bucket then: as many requests as the nth number of
//     burst are admitted at once, and room comes back one by one, the nth number of
//     limit in each window_size. So in no span of time are more than the burst and
//     what has come back in it admitted. The fields of answers tell of the burst: it
//     is RateLimit-Limit. A fractional burst admits its ceiling.
//   - identifier (consumer): what has a budget of its own: the consumer, or the
//     credential if there is no consumer; the credential; the ip; the service; the
//     route; the value of the header header_name; path: all requests for exactly
//     the given path together. A request without what is asked for is counted by
//     its client's address.
//   - compound_identifier: several of these, which together have a budget. It
//     takes the place of identifier.
//   - namespace: instances with the same one share their budgets, for each
//     identifier, length and type of window. Without one, an instance is alone. If
//     the limits of such instances differ, the configuration that was changed last
//     decides for all of them, in each window from the first request on that it
//     sees; so give them the same limits, or other namespaces.
//   - hide_client_headers (false): answers carry no rate limit fields.
//   - retry_after_jitter_max (0): Retry-After says up to so many seconds more,
//     at random, than RateLimit-Reset, so that refused clients do not all come
//     back at once.
//   - error_code (429), error_message ("API rate limit exceeded"): the refusal.
//   - strategy (local): local, cluster and redis are the same: the budget is
//     cluster-wide and exact. With node, which is not Kong's, each node counts by
//     itself and admits all of the limit.
//   - fault_tolerant (true), which is not Kong's: as of rate-limiting. When the
//     cluster has no quorum, nodes go on with equal shares of the limit, and a
//     request about which nothing can be decided is let through without rate limit
//     fields. If false, such requests are answered 500.
//   - disable_penalty: accepted and not used. A refused request takes no room
//     here, as with true in Kong.
//   - redis, sync_rate, dictionary_name, lock_dictionary_name: accepted and given
//     back as they are, and not used: nodes count together without a store.
//   - enforce_consumer_groups, throttling.enabled: only false, since there are no
//     consumer groups, and refused requests do not wait. consumer_groups is
//     accepted, and not used as in Kong without enforce_consumer_groups.
package ratelimitingadvanced

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

const (
	name = "rate-limiting-advanced"
	// version is the release of Kong whose fields this plugin has.
	version  = "3.9.1"
	priority = 910
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Warn: warn, Unused: []string{"redis"}, Budget: budgetID,
	})
}

// Config is the plugin's config, described in the package's comment. What is
// accepted only is not here.
type Config struct {
	Limit               []float64 `json:"limit"`
	WindowSize          []float64 `json:"window_size"`
	WindowType          string    `json:"window_type"`
	Burst               []float64 `json:"burst"`
	Identifier          string    `json:"identifier"`
	CompoundIdentifier  []string  `json:"compound_identifier"`
	HeaderName          string    `json:"header_name"`
	Path                string    `json:"path"`
	Namespace           string    `json:"namespace"`
	Strategy            string    `json:"strategy"`
	FaultTolerant       bool      `json:"fault_tolerant"`
	HideClientHeaders   bool      `json:"hide_client_headers"`
	RetryAfterJitterMax float64   `json:"retry_after_jitter_max"`
	ErrorCode           float64   `json:"error_code"`
	ErrorMessage        string    `json:"error_message"`
}

// Plugin is one configured rate-limiting-advanced. Safe for concurrent use.
type Plugin struct {
	Config
	gate       *ratelimit.Gate
	shared     *ratelimit.Shared
	identities []ratelimit.Identity // one, or those of compound_identifier
	random     func(n int64) int64  // from 0 to n-1
}

var (
	_ plugin.Accessor     = (*Plugin)(nil)
	_ plugin.HeaderFilter = (*Plugin)(nil)
	_ plugin.Counter      = (*Plugin)(nil)
)

// New makes an instance; see plugin.Definition.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{shared: ratelimit.SharedBy(env), random: rand.Int64N}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	windows, err := p.windows()
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", in.ID, err)
	}
	for _, by := range p.identifiers() {
		p.identities = append(p.identities, ratelimit.NewIdentity(by, p.HeaderName, p.Path))
	}
	cfg := ratelimit.Config{
		Plugin: name, Limit: p.budget(in), Windows: windows, HideHeaders: p.HideClientHeaders, Refuse: p.refuse,
	}
	if p.RetryAfterJitterMax >= 1 {
		cfg.Jitter = p.jitter
	}
	p.gate, err = ratelimit.New(env, in, cfg)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// budgetID implements plugin.Definition.Budget.
func budgetID(_ string, config map[string]any) string {
	namespace, _ := config["namespace"].(string)
	return limitID(namespace)
}

// limitID is what a namespace's budgets are counted under.
func limitID(namespace string) string { return name + ":" + namespace }

// budget is the limit that the instance shares with others of its namespace.
// What orders their versions is the index of the change, which is the whole
// cluster's.
func (p *Plugin) budget(in *plugin.Instance) limiter.Limit {
	l := limiter.Limit{ID: limitID(p.Namespace), Version: in.Version, FaultTolerant: p.FaultTolerant}
	if p.Namespace == ownNamespace(in.ID) {
		// Another namespace may have been in use before this instance was there.
		l.Since = in.Since
	}
	return l
}

// ownNamespace is the namespace of an instance that was given none. It follows
// from the id, so that a PUT of the same config goes on with the same budget.
func ownNamespace(id string) string { return strings.ReplaceAll(id, "-", "") }

// identifiers are what a request is counted by.
func (c *Config) identifiers() []string {
	if len(c.CompoundIdentifier) > 0 {
		return c.CompoundIdentifier
	}
	return []string{c.Identifier}
}

// Access implements plugin.Accessor: it takes a token for the request, or
// answers it. See ratelimit.Gate for what it costs; a compound_identifier
// allocates its key.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict { return p.gate.Access(ex, p.key(ex)) }

// CountedAs implements plugin.Counter.
func (p *Plugin) CountedAs(ex *plugin.Exchange) (*limiter.Limit, string) {
	return &p.gate.Limit, strings.Clone(p.key(ex))
}

// FilterHeader implements plugin.HeaderFilter: it tells the client what is left.
func (p *Plugin) FilterHeader(ex *plugin.Exchange) { p.gate.FilterHeader(ex) }

// key gives what the request is counted under. No part of a compound one has a
// line break in it.
func (p *Plugin) key(ex *plugin.Exchange) string {
	if len(p.identities) == 1 {
		return p.shared.Key(ex, &p.identities[0])
	}
	parts := make([]string, len(p.identities))
	for i := range p.identities {
		parts[i] = p.shared.Key(ex, &p.identities[i])
	}
	return strings.Join(parts, "\n")
}

func (p *Plugin) refuse(ex *plugin.Exchange) plugin.Verdict {
	return ex.Exit(int(p.ErrorCode), p.ErrorMessage)
}

func (p *Plugin) jitter() int64 {
	return p.random(int64(min(p.RetryAfterJitterMax, maxJitter)) + 1)
}

// maxJitter bounds retry_after_jitter_max, in seconds: a year.
const maxJitter = 365 * 86400

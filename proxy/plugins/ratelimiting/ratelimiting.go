// Package ratelimiting is the plugin rate-limiting: it admits so many requests
// a second, minute, hour, day, month or year of each client, counted exactly
// over the whole cluster.
//
// # Config
//
//   - second, minute, hour, day, month, year: how many requests a window of
//     this length admits. At least one is needed; a request needs room in all.
//     Windows are those of the calendar in UTC. A fractional limit admits its
//     ceiling.
//   - limit_by (default consumer): what has a budget of its own: the consumer,
//     or the credential if there is no consumer; the credential; the ip; the
//     service; the value of the header header_name; path: all requests for
//     exactly the given path together. A request without what is asked for is
//     counted by its client's address, with a budget apart from values that
//     only look like an address.
//   - hide_client_headers (false): answers carry no rate limit fields.
//   - error_code (429), error_message ("API rate limit exceeded"): the refusal.
//     A code outside 400 to 599 makes the refusal a 500, as in Kong.
//   - fault_tolerant (true): in windows that begin when the cluster has had no
//     quorum for a while, nodes go on with equal shares of the limit; a request
//     about which nothing can be decided is let through without rate limit fields. If
//     false, such requests are answered 500.
//   - policy (local): local, cluster and redis are the same, as are redis and
//     sync_rate whatever they say: all are accepted and given back as they are, so
//     that configurations of Kong work, and the budget is cluster-wide and exact.
//     node, which is not Kong's, is the way out: each node counts by itself and
//     admits all of the limit.
//
// Each plugin instance has budgets of its own, whatever its scope.
package ratelimiting

import (
	"strings"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

const (
	name = "rate-limiting"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 910
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Warn: warn, Unused: []string{"redis"}, Budget: plugin.OwnBudget,
	})
}

// warn tells who configures Redis that it is not asked.
func warn(config map[string]any) []string {
	redis, _ := config["redis"].(map[string]any)
	if config["policy"] != "redis" && redis["host"] == nil {
		return nil
	}
	return []string{"rate-limiting: redis is not used: the limit is enforced by the cluster itself"}
}

// policyNode has each node count by itself.
const policyNode = "node"

// Config is the plugin's config, described in the package's comment. What is
// not enforced (redis, sync_rate) is not here.
type Config struct {
	Second            float64 `json:"second"`
	Minute            float64 `json:"minute"`
	Hour              float64 `json:"hour"`
	Day               float64 `json:"day"`
	Month             float64 `json:"month"`
	Year              float64 `json:"year"`
	Policy            string  `json:"policy"`
	LimitBy           string  `json:"limit_by"`
	HeaderName        string  `json:"header_name"`
	Path              string  `json:"path"`
	FaultTolerant     bool    `json:"fault_tolerant"`
	HideClientHeaders bool    `json:"hide_client_headers"`
	ErrorCode         float64 `json:"error_code"`
	ErrorMessage      string  `json:"error_message"`
}

// Plugin is one configured rate-limiting. Safe for concurrent use.
type Plugin struct {
	Config
	gate     *ratelimit.Gate
	shared   *ratelimit.Shared
	identity ratelimit.Identity
}

var (
	_ plugin.Accessor     = (*Plugin)(nil)
	_ plugin.HeaderFilter = (*Plugin)(nil)
	_ plugin.Counter      = (*Plugin)(nil)
)

// New makes an instance; see plugin.Definition.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{shared: ratelimit.SharedBy(env)}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	if !p.refusable() && env.Logger != nil {
		env.Logger.Warn("rate-limiting: error_code is no status of an error: refused requests are answered with 500",
			zap.String("plugin", in.ID), zap.Float64("error_code", p.ErrorCode))
	}
	p.identity = ratelimit.NewIdentity(p.LimitBy, p.HeaderName, p.Path)
	gate, err := ratelimit.New(env, in, ratelimit.Config{
		Plugin:  name,
		Limit:   limiter.Limit{ID: in.ID, Version: in.Version, Since: in.Since, FaultTolerant: p.FaultTolerant},
		Windows: p.windows(), HideHeaders: p.HideClientHeaders, Refuse: p.refuse,
	})
	if err != nil {
		return nil, err
	}
	p.gate = gate
	return p, nil
}

// windows are those that are limited, shortest first.
func (c *Config) windows() []ratelimit.Window {
	titles := [limiter.Periods]string{"Second", "Minute", "Hour", "Day", "Month", "Year"}
	list := make([]ratelimit.Window, 0, limiter.Periods)
	for i, budget := range [limiter.Periods]float64{c.Second, c.Minute, c.Hour, c.Day, c.Month, c.Year} {
		if budget <= 0 {
			continue
		}
		period := limiter.Period(i)
		if c.Policy == policyNode {
			period = period.Local()
		}
		list = append(list, ratelimit.Window{Period: period, Max: budget, Title: titles[i]})
	}
	return list
}

// Access implements plugin.Accessor: it takes a token for the request, or
// answers it. See ratelimit.Gate for what it costs.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	return p.gate.Access(ex, p.shared.Key(ex, &p.identity))
}

// CountedAs implements plugin.Counter.
func (p *Plugin) CountedAs(ex *plugin.Exchange) (*limiter.Limit, string) {
	return &p.gate.Limit, strings.Clone(p.shared.Key(ex, &p.identity))
}

// FilterHeader implements plugin.HeaderFilter: it tells the client what is left.
func (p *Plugin) FilterHeader(ex *plugin.Exchange) { p.gate.FilterHeader(ex) }

func (p *Plugin) refuse(ex *plugin.Exchange) plugin.Verdict {
	if !p.refusable() {
		return ex.Exit(500, "An unexpected error occurred")
	}
	return ex.Error(int(p.ErrorCode), p.ErrorMessage)
}

// refusable says whether error_code is the status of an error. The schema takes
// any number above 0, as Kong's does; Kong then fails on each refusal.
func (c *Config) refusable() bool { return c.ErrorCode >= 400 && c.ErrorCode < 600 }

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
//   - policy (local), redis, sync_rate: accepted and given back as they are,
//     so that configurations of Kong work; the budget is cluster-wide and exact
//     with every policy.
//
// Each plugin instance has budgets of its own, whatever its scope.
package ratelimiting

import (
	"errors"
	"fmt"
	"net/textproto"
	"sync"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "rate-limiting"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 910
)

// The values of limit_by.
const (
	byConsumer   = "consumer"
	byCredential = "credential"
	byIP         = "ip"
	byService    = "service"
	byHeader     = "header"
	byPath       = "path"
)

// maxLimit is the largest budget of a window; larger ones are the same to
// everyone, and the limiter's sums stay within 64 bits.
const maxLimit = 1 << 50

var errNoQuota = errors.New("rate-limiting needs a quota")

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Warn: warn,
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

// Config is the plugin's config, described in the package's comment. What is
// not enforced (policy, redis, sync_rate) is not here.
type Config struct {
	Second            float64 `json:"second"`
	Minute            float64 `json:"minute"`
	Hour              float64 `json:"hour"`
	Day               float64 `json:"day"`
	Month             float64 `json:"month"`
	Year              float64 `json:"year"`
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
	quota     plugin.Quota
	limit     limiter.Limit
	windows   []window // of the limit's rates
	addresses *addressKeys
	numbers   *numbers
	pending   *sync.Pool // of *limiter.Decision, from access to header filter
}

var (
	_ plugin.Accessor     = (*Plugin)(nil)
	_ plugin.HeaderFilter = (*Plugin)(nil)
)

// common is what all instances of a node share.
type common struct {
	addresses *addressKeys
	numbers   *numbers
	pending   *sync.Pool
}

func newCommon() any {
	return &common{
		addresses: newAddressKeys(),
		numbers:   newNumbers(),
		pending:   &sync.Pool{New: func() any { return new(limiter.Decision) }},
	}
}

// New makes an instance; see plugin.Definition.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	if env.Quota == nil {
		return nil, fmt.Errorf("plugin %s: %w", in.ID, errNoQuota)
	}
	shared := env.Shared(name, newCommon).(*common)
	p := &Plugin{
		quota: env.Quota, addresses: shared.addresses, numbers: shared.numbers, pending: shared.pending,
	}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	if !p.refusable() && env.Logger != nil {
		env.Logger.Warn("rate-limiting: error_code is no status of an error: refused requests are answered with 500",
			zap.String("plugin", in.ID), zap.Float64("error_code", p.ErrorCode))
	}
	p.HeaderName = textproto.CanonicalMIMEHeaderKey(p.HeaderName)
	p.limit = limiter.Limit{ID: in.ID, Version: in.Version, Since: in.Since, FaultTolerant: p.FaultTolerant}
	budgets := [limiter.Periods]float64{p.Second, p.Minute, p.Hour, p.Day, p.Month, p.Year}
	for period, budget := range budgets {
		if budget <= 0 {
			continue
		}
		budget = min(budget, maxLimit)
		p.limit.Rates = append(p.limit.Rates, limiter.Rate{Period: limiter.Period(period), Max: roundUp(budget)})
		p.windows = append(p.windows, newWindow(limiter.Period(period), budget))
	}
	p.limit.Prepare()
	return p, nil
}

// Access implements plugin.Accessor: it takes a token for the request, or
// answers it.
//
// An admission allocates nothing once the pools are warm, but for the texts of
// numbers above 4095 (what is left, and the reset of a day or longer), of what
// is left of a fractional limit, and of a client address not seen lately.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	d := p.quota.Take(ex.Context(), &p.limit, p.key(ex))
	if d.Err != nil {
		return p.undecided(ex)
	}
	if !p.HideClientHeaders {
		kept := p.pending.Get().(*limiter.Decision)
		*kept = d
		ex.Put(decisionKey{}, kept)
	}
	if d.Admitted {
		return plugin.Continue
	}
	if !p.refusable() {
		return ex.Exit(500, "An unexpected error occurred")
	}
	return ex.Error(int(p.ErrorCode), p.ErrorMessage)
}

// refusable says whether error_code is the status of an error. The schema takes
// any number above 0, as Kong's does; Kong then fails on each refusal.
func (c *Config) refusable() bool { return c.ErrorCode >= 400 && c.ErrorCode < 600 }

// undecided handles a request for which no token could be had or refused.
func (p *Plugin) undecided(ex *plugin.Exchange) plugin.Verdict {
	if ex.Context().Err() != nil {
		// The client has gone or the node stops: this is no failure of the
		// cluster to be tolerant of, and the request has no token.
		return ex.Error(503, "")
	}
	if p.FaultTolerant {
		return plugin.Continue
	}
	return ex.Exit(500, "An unexpected error occurred")
}

// key gives what the request is counted under.
func (p *Plugin) key(ex *plugin.Exchange) string {
	switch p.LimitBy {
	case byConsumer:
		if ex.Consumer != nil {
			return ex.Consumer.ID
		}
		if ex.Credential.ID != "" {
			return ex.Credential.ID
		}
	case byCredential:
		if ex.Credential.ID != "" {
			return ex.Credential.ID
		}
	case byService:
		if ex.Service != nil {
			return ex.Service.ID
		}
	case byHeader:
		if ex.Request.Header.Has(p.HeaderName) {
			return ex.Request.Header.Get(p.HeaderName)
		}
	case byPath:
		if ex.Request.RawPath == p.Path {
			return p.Path
		}
	}
	return p.addresses.key(ex.Client.Addr())
}

// decisionKey is where the decision waits for the header filter.
type decisionKey struct{}

// FilterHeader implements plugin.HeaderFilter: it tells the client what is left.
func (p *Plugin) FilterHeader(ex *plugin.Exchange) {
	d, ok := ex.Value(decisionKey{}).(*limiter.Decision)
	if !ok {
		return
	}
	ex.Put(decisionKey{}, nil)
	p.describe(ex.Response.Header, d)
	p.pending.Put(d)
}

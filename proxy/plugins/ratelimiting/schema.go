package ratelimiting

import (
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

// realtime is the sync_rate that means "no periodic synchronisation".
const realtime = -1

// The messages of checkConfig, which are Kong's.
var (
	errSyncPolicy = errors.New("sync_rate can only be used with the redis policy")
	errSyncRate   = errors.New("sync_rate must be greater than 0.02, or -1 to disable")
)

// configSchema is rate-limiting's part of the plugins entity, as Kong publishes
// it but for the policy node.
func configSchema() *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.ProtocolsHTTP(),
			{
				Name: "config", Type: schema.Record, Required: true,
				Fields: configFields(), Shorthands: fields.RedisShorthands(name), Custom: checkConfig,
			},
		},
		Checks: []schema.Check{
			{AtLeastOneOf: []string{
				"config.second", "config.minute", "config.hour", "config.day", "config.month", "config.year",
			}},
			ratelimit.Needs("policy", schema.Field{Eq: "redis"}, "redis.host"),
			ratelimit.Needs("policy", schema.Field{Eq: "redis"}, "redis.port"),
			ratelimit.Needs("policy", schema.Field{Eq: "redis"}, "redis.timeout"),
			ratelimit.Needs("limit_by", schema.Field{Eq: "header", LenMin: new(1)}, "header_name"),
			ratelimit.Needs("limit_by", schema.Field{Eq: "path", LenMin: new(1)}, "path"),
		},
	}
}

func configFields() []schema.Field {
	list := make([]schema.Field, 0, limiter.Periods+10)
	for p := range limiter.Period(limiter.Periods) {
		list = append(list, schema.Field{Name: p.String(), Type: schema.Number, Gt: new(0.0)})
	}
	return append(list,
		schema.Field{
			Name: "limit_by", Type: schema.String, Default: ratelimit.ByConsumer,
			OneOf: schema.Strings(ratelimit.ByConsumer, ratelimit.ByCredential, ratelimit.ByIP, ratelimit.ByService,
				ratelimit.ByHeader, ratelimit.ByPath),
		},
		schema.HeaderName("header_name"),
		schema.Path("path"),
		schema.Field{
			Name: "policy", Type: schema.String, Default: "local", LenMin: new(0),
			OneOf: schema.Strings("local", "cluster", "redis", policyNode),
			Err:   "expected one of: local, cluster, redis", // Kong's words, which clients may look for
		},
		schema.Field{Name: "fault_tolerant", Type: schema.Boolean, Required: true, Default: true},
		fields.Redis(),
		schema.Field{Name: "hide_client_headers", Type: schema.Boolean, Required: true, Default: false},
		schema.Field{Name: "error_code", Type: schema.Number, Default: 429, Gt: new(0.0)},
		schema.Field{Name: "error_message", Type: schema.String, Default: "API rate limit exceeded"},
		schema.Field{Name: "sync_rate", Type: schema.Number, Required: true, Default: realtime},
	)
}

// checkConfig refuses a limit that a shorter period's makes pointless, and a
// sync_rate without a meaning. The messages are Kong's.
func checkConfig(value any) error {
	config, _ := value.(map[string]any)
	for shorter := range limiter.Period(limiter.Periods) {
		low, ok := config[shorter.String()].(float64)
		if !ok {
			continue
		}
		for longer := shorter + 1; longer < limiter.Periods; longer++ {
			if high, ok := config[longer.String()].(float64); ok && high < low {
				//lint:ignore ST1005 these are Kong's words
				return fmt.Errorf("The limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)",
					longer, high, shorter, low)
			}
		}
	}
	rate, _ := config["sync_rate"].(float64)
	switch isRedis := config["policy"] == "redis"; {
	case rate == realtime:
		return nil
	case !isRedis:
		return errSyncPolicy
	case rate < 0.02:
		return errSyncRate
	}
	return nil
}

package known

import (
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

// periods are those that a limit may have, shortest first.
func periods() []string { return []string{"second", "minute", "hour", "day", "month", "year"} }

func init() { register(900, "response-ratelimiting", responseRateLimiting) }

// responseRateLimiting counts what services say in their answers that requests
// cost.
func responseRateLimiting(name string) *schema.Schema {
	config := fields.Config(
		fields.Default(fields.String("header_name"), "x-kong-limit"),
		fields.Choice("limit_by", "consumer", "consumer", "credential", "ip"),
		fields.Choice("policy", "local", "local", "cluster", "redis"),
		fields.Flag("fault_tolerant", true),
		fields.Redis(),
		fields.Flag("block_on_first_violation", false),
		fields.Flag("hide_client_headers", false),
		namedLimits(),
	)
	config.Shorthands = fields.RedisShorthands(name)
	return &schema.Schema{
		Name:   name,
		Fields: []schema.Field{fields.HTTPProtocols(), config},
		Checks: []schema.Check{
			ratelimit.Needs("policy", schema.Field{Eq: "redis"}, "redis.host"),
			ratelimit.Needs("policy", schema.Field{Eq: "redis"}, "redis.port"),
			ratelimit.Needs("policy", schema.Field{Eq: "redis"}, "redis.timeout"),
		},
	}
}

// namedLimits are limits by the name of what is counted.
func namedLimits() schema.Field {
	limit := schema.Field{
		Type: schema.Record, Required: true, Custom: checkPeriods,
		Checks: []schema.Check{{AtLeastOneOf: periods()}},
	}
	for _, period := range periods() {
		limit.Fields = append(limit.Fields, schema.Field{Name: period, Type: schema.Number, Gt: new(0.0)})
	}
	return schema.Field{
		Name: "limits", Type: schema.Map, Required: true, LenMin: new(1),
		Keys: &schema.Field{Type: schema.String}, Values: &limit,
	}
}

// checkPeriods refuses a limit that a shorter period's makes pointless.
func checkPeriods(value any) error {
	limit, _ := value.(map[string]any)
	for i, shorter := range periods() {
		low, ok := limit[shorter].(float64)
		if !ok {
			continue
		}
		for _, longer := range periods()[i+1:] {
			if high, ok := limit[longer].(float64); ok && high < low {
				return fmt.Errorf("the limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)", longer, high, shorter, low)
			}
		}
	}
	return nil
}

package schema_test

import (
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

// plugins returns the plugins entity with a few plugins that between them use most of what schemas can say.
func plugins() *schema.Schema {
	return entities.Plugins().WithSubschemas(map[string]*schema.Schema{
		"rate-limiting": rateLimiting(), "jwt": jwt(), "acl": acl(),
	})
}

func rateLimiting() *schema.Schema {
	fields := []schema.Field{}
	for _, period := range []string{"second", "minute", "hour", "day", "month", "year"} {
		fields = append(fields, schema.Field{Name: period, Type: schema.Number, Gt: new(0.0)})
	}
	fields = append(fields,
		schema.Field{
			Name: "limit_by", Type: schema.String, Default: "consumer",
			OneOf: schema.Strings("consumer", "credential", "ip", "service", "header", "path"),
		},
		schema.HeaderName("header_name"),
		schema.Path("path"),
		schema.Field{
			Name: "policy", Type: schema.String, Default: "local", LenMin: new(0),
			OneOf: schema.Strings("local", "cluster", "redis"),
		},
		schema.Field{Name: "fault_tolerant", Type: schema.Boolean, Required: true, Default: true},
		schema.Field{Name: "redis", Type: schema.Record, Required: true, Fields: redisFields()},
		schema.Field{Name: "hide_client_headers", Type: schema.Boolean, Required: true, Default: false},
		schema.Field{Name: "error_code", Type: schema.Number, Default: 429, Gt: new(0.0)},
		schema.Field{Name: "error_message", Type: schema.String, Default: "API rate limit exceeded"},
		schema.Field{Name: "sync_rate", Type: schema.Number, Required: true, Default: -1},
	)
	redis := func(then string) schema.Check {
		return schema.Check{Conditional: &schema.Conditional{
			IfField: "config.policy", IfMatch: schema.Field{Eq: "redis"},
			ThenField: then, ThenMatch: schema.Field{Required: true},
		}}
	}
	limitBy := func(value, then string) schema.Check {
		return schema.Check{Conditional: &schema.Conditional{
			IfField: "config.limit_by", IfMatch: schema.Field{Eq: value, LenMin: new(1)},
			ThenField: then, ThenMatch: schema.Field{Required: true},
		}}
	}
	return &schema.Schema{
		Name: "rate-limiting",
		Fields: []schema.Field{
			schema.ProtocolsHTTP(),
			{
				Name: "config", Type: schema.Record, Required: true,
				Fields: fields, Shorthands: redisShorthands(), Custom: periodsInOrder,
			},
		},
		Checks: []schema.Check{
			{AtLeastOneOf: []string{
				"config.second", "config.minute", "config.hour", "config.day", "config.month", "config.year",
			}},
			redis("config.redis.host"), redis("config.redis.port"), redis("config.redis.timeout"),
			limitBy("header", "config.header_name"), limitBy("path", "config.path"),
		},
	}
}

func redisFields() []schema.Field {
	port := schema.Port("port")
	port.Default = 6379
	timeout := schema.Timeout("timeout")
	timeout.Default = 2000
	server := schema.SNI("server_name")
	server.Optional = true
	return []schema.Field{
		schema.Host("host"), port, timeout,
		{Name: "username", Type: schema.String, Referenceable: true},
		{Name: "password", Type: schema.String, Referenceable: true, Encrypted: true, LenMin: new(0)},
		{Name: "database", Type: schema.Integer, Default: 0},
		{Name: "ssl", Type: schema.Boolean, Optional: true, Default: false},
		{Name: "ssl_verify", Type: schema.Boolean, Optional: true, Default: false},
		server,
	}
}

func redisShorthands() []schema.Field {
	old := func(name string, t schema.Type) schema.Field {
		return schema.Field{Name: "redis_" + name, Type: t, Deprecation: &schema.Deprecation{
			Message: fmt.Sprintf("rate-limiting: config.redis_%s is deprecated, please use config.redis.%s instead",
				name, name),
			RemovalInVersion: "4.0",
			ReplacedWith:     [][]string{{"redis", name}},
		}}
	}
	password := old("password", schema.String)
	password.LenMin = new(0)
	return []schema.Field{
		old("host", schema.String), old("port", schema.Integer), password, old("username", schema.String),
		old("ssl", schema.Boolean), old("ssl_verify", schema.Boolean), old("server_name", schema.String),
		old("timeout", schema.Integer), old("database", schema.Integer),
	}
}

// periodsInOrder refuses a limit that a shorter period's makes pointless.
func periodsInOrder(value any) error {
	config, _ := value.(map[string]any)
	periods := []string{"second", "minute", "hour", "day", "month", "year"}
	for i, shorter := range periods {
		low, ok := config[shorter].(float64)
		for _, longer := range periods[i+1:] {
			if high, set := config[longer].(float64); ok && set && high < low {
				return fmt.Errorf("The limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)", //nolint:staticcheck // Kong's words
					longer, high, shorter, low)
			}
		}
	}
	return nil
}

func jwt() *schema.Schema {
	names := func(name string, values ...string) schema.Field {
		return schema.Field{
			Name: name, Type: schema.Set, Default: schema.Strings(values...), Elements: &schema.Field{Type: schema.String},
		}
	}
	return &schema.Schema{
		Name: "jwt",
		Fields: []schema.Field{
			schema.NoConsumer(),
			schema.ProtocolsHTTP(),
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				names("uri_param_names", "jwt"), names("cookie_names"),
				{Name: "key_claim_name", Type: schema.String, Default: "iss"},
				{Name: "secret_is_base64", Type: schema.Boolean, Required: true, Default: false},
				{Name: "claims_to_verify", Type: schema.Set, Elements: &schema.Field{
					Type: schema.String, OneOf: schema.Strings("exp", "nbf"),
				}},
				{Name: "anonymous", Type: schema.String},
				{Name: "run_on_preflight", Type: schema.Boolean, Required: true, Default: true},
				{Name: "maximum_expiration", Type: schema.Number, Default: 0, Between: &[2]float64{0, 31536000}},
				names("header_names", "authorization"),
				{Name: "realm", Type: schema.String},
			}},
		},
		Checks: []schema.Check{{Conditional: &schema.Conditional{
			IfField: "config.maximum_expiration", IfMatch: schema.Field{Gt: new(0.0)},
			ThenField: "config.claims_to_verify", ThenMatch: schema.Field{Contains: "exp"},
		}}},
	}
}

func acl() *schema.Schema {
	groups := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Array, Elements: &schema.Field{Type: schema.String}}
	}
	return &schema.Schema{
		Name: "acl",
		Fields: []schema.Field{
			schema.NoConsumer(),
			schema.ProtocolsHTTP(),
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				groups("allow"), groups("deny"),
			}},
		},
		Checks: []schema.Check{{ExactlyOneOf: []string{"config.allow", "config.deny"}}},
	}
}

package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(100, "proxy-cache", proxyCache) }

// proxyCache answers again what a service has answered before. Times are in
// seconds.
func proxyCache(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				schema.Field{
					Name: "response_code", Type: schema.Array, Required: true, Default: []any{200, 301, 404}, LenMin: new(1),
					Elements: &schema.Field{Type: schema.Integer, Between: &[2]float64{100, 900}},
				},
				schema.Field{
					Name: "request_method", Type: schema.Array, Required: true, Default: schema.Strings("GET", "HEAD"),
					Elements: &schema.Field{Type: schema.String, OneOf: schema.Strings("HEAD", "GET", "POST", "PATCH", "PUT")},
				},
				fields.Required(fields.Default(fields.Strings("content_type"), schema.Strings("text/plain", "application/json"))),
				schema.Field{Name: "cache_ttl", Type: schema.Integer, Default: 300, Gt: new(0.0)},
				schema.Field{Name: "strategy", Type: schema.String, Required: true, OneOf: schema.Strings("memory")},
				fields.Flag("cache_control", false),
				fields.Optional(fields.Switch("ignore_uri_case", false)),
				schema.Field{Name: "storage_ttl", Type: schema.Integer},
				fields.Record("memory", fields.Required(fields.Default(fields.String("dictionary_name"), "kong_db_cache"))),
				fields.Strings("vary_query_params"),
				fields.Strings("vary_headers"),
				fields.Record("response_headers",
					fields.Switch("age", true),
					fields.Switch("X-Cache-Status", true),
					fields.Switch("X-Cache-Key", true),
				),
			),
		},
		// Kong wants the name of one of nginx's shared memories, which Sluice does not have.
		Checks: []schema.Check{{Custom: &schema.CustomCheck{FieldSources: []string{"config"}}}},
	}
}

package prometheus

import "github.com/sluicegate/sluice/fsm/schema"

// configSchema is prometheus' part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	flag := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Boolean, Default: false}
	}
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			{
				Name: "protocols", Type: schema.Set, Required: true,
				Default:  schema.Strings(schema.HTTPProtocols()...),
				Elements: &schema.Field{Type: schema.String, OneOf: schema.Strings(schema.Protocols()...)},
			},
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				flag("per_consumer"),
				flag("status_code_metrics"),
				flag("ai_metrics"),
				flag("latency_metrics"),
				flag("bandwidth_metrics"),
				flag("upstream_health_metrics"),
				flag("wasm_metrics"),
			}},
		},
	}
}

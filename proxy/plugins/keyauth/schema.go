package keyauth

import "github.com/sluicegate/sluice/fsm/schema"

// configSchema is key-auth's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	protocols := schema.Strings(schema.HTTPProtocols()...)
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			{
				Name: "protocols", Type: schema.Set, Required: true, Default: protocols,
				Elements: &schema.Field{Type: schema.String, OneOf: protocols},
			},
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				{
					Name: "key_names", Type: schema.Array, Required: true, Default: schema.Strings("apikey"),
					// A name is looked for in the header too, so it must be one of a field.
					Elements: &schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidHeaderName)},
				},
				flag("hide_credentials", false),
				{Name: "anonymous", Type: schema.String},
				flag("key_in_header", true),
				flag("key_in_query", true),
				flag("key_in_body", false),
				flag("run_on_preflight", true),
				{Name: "realm", Type: schema.String, Optional: true},
			}},
		},
	}
}

func flag(name string, value bool) schema.Field {
	return schema.Field{Name: name, Type: schema.Boolean, Required: true, Default: value}
}

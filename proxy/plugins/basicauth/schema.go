package basicauth

import "github.com/sluicegate/sluice/fsm/schema"

// configSchema is basic-auth's part of the plugins entity, as Kong publishes it.
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
				{Name: "anonymous", Type: schema.String},
				{Name: "hide_credentials", Type: schema.Boolean, Required: true, Default: false},
				{Name: "realm", Type: schema.String, Required: true, Default: "service"},
			}},
		},
	}
}

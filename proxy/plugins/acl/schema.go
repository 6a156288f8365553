package acl

import "github.com/sluicegate/sluice/fsm/schema"

// configSchema is acl's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	protocols := schema.Strings(schema.HTTPProtocols()...)
	groups := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Array, Elements: &schema.Field{Type: schema.String}}
	}
	flag := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Boolean, Required: true, Default: false}
	}
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			{
				Name: "protocols", Type: schema.Set, Required: true, Default: protocols,
				Elements: &schema.Field{Type: schema.String, OneOf: protocols},
			},
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				groups("allow"),
				groups("deny"),
				flag("hide_groups_header"),
				flag("always_use_authenticated_groups"),
			}},
		},
		Checks: []schema.Check{
			{ExactlyOneOf: []string{"config.allow", "config.deny"}},
			{AtLeastOneOf: []string{"config.allow", "config.deny"}},
		},
	}
}

package cors

import "github.com/sluicegate/sluice/fsm/schema"

// configSchema is cors' part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	methods := schema.Strings("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")
	list := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Array, Elements: &schema.Field{Type: schema.String}}
	}
	flag := func(name string, value bool) schema.Field {
		return schema.Field{Name: name, Type: schema.Boolean, Required: true, Default: value}
	}
	origins := list("origins")
	origins.Elements.Custom = schema.Text(checkOrigin)
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			schema.ProtocolsHTTP(),
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				origins,
				list("headers"),
				list("exposed_headers"),
				{
					Name: "methods", Type: schema.Array, Default: methods,
					Elements: &schema.Field{Type: schema.String, OneOf: methods},
				},
				{Name: "max_age", Type: schema.Number},
				flag("credentials", false),
				flag("private_network", false),
				flag("preflight_continue", false),
				flag("allow_origin_absent", true),
			}},
		},
	}
}

func checkOrigin(entry string) error {
	if entry == "*" {
		return nil
	}
	_, err := anchored(entry)
	return err
}

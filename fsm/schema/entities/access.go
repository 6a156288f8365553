package entities

import "github.com/sluicegate/sluice/fsm/schema"

// AdminRoles describes what users of the Admin API may do. Kong's free edition has nothing like it.
func AdminRoles() *schema.Schema {
	some := func(name string, elements schema.Field) schema.Field {
		return schema.Field{Name: name, Type: schema.Set, Required: true, LenMin: new(1), Elements: &elements}
	}
	tags := schema.Tags()
	tags.LenMin = new(1) // an empty list must not be taken for no bound
	name := schema.UTF8Name("name")
	name.Required = true
	return schema.Must(&schema.Schema{
		Name: "admin_roles",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			schema.UpdatedAt(),
			name,
			{Name: "permissions", Type: schema.Array, Required: true, Elements: &schema.Field{
				Type: schema.Record, Required: true, Fields: []schema.Field{
					some("collections", schema.Field{Type: schema.String, Required: true, LenMin: new(1)}),
					some("actions", schema.Field{
						Type: schema.String, Required: true, OneOf: schema.Strings("read", "create", "update", "delete", "*"),
					}),
					tags,
				},
			}},
		},
	})
}

// AdminTokens describes who may use the Admin API. The token itself is no field: it is made up when the entity
// is, shown once, and kept as a hash that no client sees.
func AdminTokens() *schema.Schema {
	name := schema.UTF8Name("name")
	name.Required = true
	return schema.Must(&schema.Schema{
		Name: "admin_tokens",
		TTL:  true,
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			schema.UpdatedAt(),
			name,
			{Name: "roles", Type: schema.Set, Required: true, LenMin: new(1), Elements: &schema.Field{
				Type: schema.String, Required: true, LenMin: new(1),
			}},
			{Name: "subject", Type: schema.String, Unique: true, LenMin: new(1)},
		},
	})
}

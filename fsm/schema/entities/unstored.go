package entities

import "github.com/sluicegate/sluice/fsm/schema"

// The schemas of what is published and checked, and never stored.

// Tags describes a row of GET /tags.
func Tags() *schema.Schema {
	entity := schema.ID()
	entity.Name, entity.Required, entity.LenMin = "entity_id", true, nil
	return schema.Must(&schema.Schema{
		Name: "tags",
		Fields: []schema.Field{
			{Name: "tag", Type: schema.String, Required: true, LenMin: new(1), Custom: schema.Text(schema.ValidTag)},
			{Name: "entity_name", Type: schema.String, Required: true},
			entity,
		},
	})
}

// filterConfig is what a filter's config is checked against if the filter brings no schema of its own.
var filterConfig = map[string]any{
	"namespace": "proxy-wasm-filters", "parent_subschema_key": "name", "optional": true,
	"default": map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#", "type": []any{"string", "null"},
	},
}

// FilterChains describes chains of WebAssembly filters, of which there are none.
func FilterChains() *schema.Schema {
	scope := func(name, reference string) schema.Field {
		return schema.Field{
			Name: name, Type: schema.Foreign, Reference: reference, OnDelete: "cascade", Unique: true, HasNullDefault: true,
		}
	}
	name := schema.UTF8Name("name")
	name.LenMin = nil
	return schema.Must(&schema.Schema{
		Name: "filter_chains",
		Fields: []schema.Field{
			id(),
			name,
			{Name: "enabled", Type: schema.Boolean, Required: true, Default: true},
			scope("route", "routes"),
			scope("service", "services"),
			{Name: "filters", Type: schema.Array, Required: true, LenMin: new(1), Elements: &schema.Field{
				Type: schema.Record,
				Fields: []schema.Field{
					{Name: "name", Type: schema.String, Required: true, OneOf: []any{}, Err: "no such filter"},
					{Name: "enabled", Type: schema.Boolean, Required: true, Default: true},
					{Name: "config", Type: schema.JSON, Optional: true, JSONSchema: filterConfig},
				},
			}},
			schema.CreatedAt(),
			schema.UpdatedAt(),
			schema.Tags(),
		},
		Checks: []schema.Check{
			{MutuallyExclusive: []string{"service", "route"}},
			{AtLeastOneOf: []string{"service", "route"}},
			{Custom: &schema.CustomCheck{FieldSources: []string{"filters"}, RunWithInvalidFields: true}},
		},
	})
}

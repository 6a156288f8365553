package entities

import "github.com/sluicegate/sluice/fsm/schema"

// Vaults describes where {vault://prefix/...} references lead, as far as all vaults are alike. It knows none
// by name: lay them over it with WithSubschemas before it is asked to check anything.
func Vaults() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name:           "vaults",
		SubschemaKey:   "name",
		SubschemaError: "vault '%s' is not installed",
		Fields: []schema.Field{
			id(),
			{
				Name: "prefix", Type: schema.String, Required: true, Unique: true, UniqueAcrossWS: true,
				// "-" behind a set is Lua's lazy "*": a letter, anything, and no dash at the end
				Match: "^[a-z][a-z%d-]-[a-z%d]+$", NotOneOf: schema.Strings("env"),
			},
			{Name: "name", Type: schema.String, Required: true},
			{Name: "description", Type: schema.String},
			{Name: "config", Type: schema.Record, Abstract: true},
			schema.CreatedAt(),
			schema.UpdatedAt(),
			schema.Tags(),
		},
	})
}

package vault

import "github.com/sluicegate/sluice/fsm/schema"

// Kind is a kind of vault.
type Kind struct {
	// Name is the entity's name, and the prefix of references to it that need no
	// entity: {vault://env/...}.
	Name string
	// Schema is its part of the vaults entity: the field config.
	Schema *schema.Schema
}

// Kinds gives every kind there is, with new schemas.
func Kinds() []Kind {
	return []Kind{
		{Name: kindEnv, Schema: prefixed(kindEnv)},
		{Name: kindFile, Schema: prefixed(kindFile)},
	}
}

const (
	kindEnv  = "env"
	kindFile = "file"
)

// prefixed is a kind whose config is what all names begin with.
func prefixed(name string) *schema.Schema {
	return &schema.Schema{Name: name, Fields: []schema.Field{
		{Name: "config", Type: schema.Record, Fields: []schema.Field{
			{Name: "prefix", Type: schema.String, Match: "^[%a_-][%a%d_-]*$"},
		}},
	}}
}

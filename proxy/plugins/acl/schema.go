package acl

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

// configSchema is acl's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			fields.HTTPProtocols(),
			fields.Config(
				fields.Strings("allow"),
				fields.Strings("deny"),
				fields.Flag("hide_groups_header", false),
				fields.Flag("always_use_authenticated_groups", false),
			),
		},
		Checks: []schema.Check{
			{ExactlyOneOf: []string{"config.allow", "config.deny"}},
			{AtLeastOneOf: []string{"config.allow", "config.deny"}},
		},
	}
}

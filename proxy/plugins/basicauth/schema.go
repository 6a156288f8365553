package basicauth

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

// configSchema is basic-auth's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			fields.HTTPProtocols(),
			fields.Config(
				fields.String("anonymous"),
				fields.Flag("hide_credentials", false),
				fields.Required(fields.Default(fields.String("realm"), "service")),
			),
		},
	}
}

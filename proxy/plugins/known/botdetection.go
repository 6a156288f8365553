package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(2500, "bot-detection", botDetection) }

// botDetection tells robots by their User-Agent.
func botDetection(name string) *schema.Schema {
	patterns := func(name string) schema.Field {
		return fields.Default(fields.List(name, schema.Field{Type: schema.String, IsRegex: true}), []any{})
	}
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			fields.HTTPProtocols(),
			fields.Config(patterns("allow"), patterns("deny")),
		},
	}
}

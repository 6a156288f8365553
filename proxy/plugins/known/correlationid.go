package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(100_001, correlationID()) }

// correlationID gives requests an id to find them by in several logs.
func correlationID() *schema.Schema {
	return &schema.Schema{
		Name: "correlation-id",
		Fields: []schema.Field{
			fields.HTTPProtocols(),
			fields.Config(
				fields.Default(fields.String("header_name"), "Kong-Request-ID"),
				fields.Required(fields.Choice("generator", "uuid#counter", "uuid", "uuid#counter", "tracker")),
				fields.Flag("echo_downstream", false),
			),
		},
	}
}

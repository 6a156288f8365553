package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(100_001, "correlation-id", correlationID) }

// correlationID gives requests an id to find them by in several logs.
func correlationID(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
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

package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(951, "request-size-limiting", requestSizeLimiting) }

// requestSizeLimiting refuses requests whose body is too large.
func requestSizeLimiting(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.HTTPProtocols(),
			fields.Config(
				schema.Field{Name: "allowed_payload_size", Type: schema.Integer, Default: 128},
				fields.Required(fields.Choice("size_unit", "megabytes", "megabytes", "kilobytes", "bytes")),
				fields.Flag("require_content_length", false),
			),
		},
	}
}

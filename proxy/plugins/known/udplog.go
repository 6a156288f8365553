package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(8, "udp-log", udpLog) }

// udpLog sends each request's log over UDP. The timeout is in milliseconds.
func udpLog(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Required(schema.Host("host")),
				fields.Required(schema.Port("port")),
				fields.Number("timeout", 10_000),
				fields.CustomFieldsByLua(),
			),
		},
	}
}

package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(7, "tcp-log", tcpLog) }

// tcpLog sends each request's log over TCP. Timeouts are in milliseconds.
func tcpLog(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Required(schema.Host("host")),
				fields.Required(schema.Port("port")),
				fields.Number("timeout", 10_000),
				fields.Number("keepalive", 60_000),
				fields.Flag("tls", false),
				fields.String("tls_sni"),
				fields.CustomFieldsByLua(),
			),
		},
	}
}

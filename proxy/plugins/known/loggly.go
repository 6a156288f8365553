package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(6, "loggly", loggly) }

// loggly sends each request's log to Loggly. The timeout is in milliseconds.
func loggly(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Default(schema.Host("host"), "logs-01.loggly.com"),
				fields.Default(schema.Port("port"), 514),
				fields.Required(fields.Secret("key")),
				schema.Field{
					Name: "tags", Type: schema.Set, Default: schema.Strings("kong"),
					Elements: &schema.Field{Type: schema.String},
				},
				severity("log_level"),
				severity("successful_severity"),
				severity("client_errors_severity"),
				severity("server_errors_severity"),
				fields.Number("timeout", 10_000),
				fields.CustomFieldsByLua(),
			),
		},
	}
}

package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(4, "syslog", syslog) }

// syslog sends each request's log to the local syslog.
func syslog(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Required(severity("log_level")),
				fields.Required(severity("successful_severity")),
				fields.Required(severity("client_errors_severity")),
				fields.Required(severity("server_errors_severity")),
				fields.CustomFieldsByLua(),
				fields.Required(fields.Choice("facility", "user",
					"auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp",
					"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
				)),
			),
		},
	}
}

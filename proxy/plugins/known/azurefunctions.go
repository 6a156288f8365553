package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(749, "azure-functions", azureFunctions) }

// azureFunctions has an Azure function answer. Timeouts are in milliseconds.
func azureFunctions(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Number("timeout", 600_000),
				fields.Number("keepalive", 60_000),
				fields.Switch("https", true),
				fields.Switch("https_verify", false),
				fields.Secret("apikey"),
				fields.Secret("clientid"),
				fields.Required(fields.String("appname")),
				fields.Required(fields.Default(fields.String("hostdomain"), "azurewebsites.net")),
				fields.Default(fields.String("routeprefix"), "api"),
				fields.Required(fields.String("functionname")),
			),
		},
	}
}

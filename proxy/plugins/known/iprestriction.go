package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(990, "ip-restriction", ipRestriction) }

// ipRestriction lets requests in by the address that they come from.
func ipRestriction(name string) *schema.Schema {
	addresses := func(name string) schema.Field {
		return fields.List(name, schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidIPOrCIDR)})
	}
	protocols := schema.Strings("http", "https", "tcp", "tls", "grpc", "grpcs")
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.Default(fields.AnyProtocols(), protocols),
			fields.Config(
				addresses("allow"),
				addresses("deny"),
				schema.Field{Name: "status", Type: schema.Number, Optional: true},
				fields.Optional(fields.String("message")),
			),
		},
		Checks: []schema.Check{{AtLeastOneOf: []string{"config.allow", "config.deny"}}},
	}
}

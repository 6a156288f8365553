package cors

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

// configSchema is cors' part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	methods := schema.Strings("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			schema.ProtocolsHTTP(),
			fields.Config(
				fields.List("origins", schema.Field{Type: schema.String, Custom: schema.Text(checkOrigin)}),
				fields.Strings("headers"),
				fields.Strings("exposed_headers"),
				fields.Default(fields.List("methods", schema.Field{Type: schema.String, OneOf: methods}), methods),
				schema.Field{Name: "max_age", Type: schema.Number},
				fields.Flag("credentials", false),
				fields.Flag("private_network", false),
				fields.Flag("preflight_continue", false),
				fields.Flag("allow_origin_absent", true),
			),
		},
	}
}

func checkOrigin(entry string) error {
	if entry == "*" {
		return nil
	}
	_, err := anchored(entry)
	return err
}

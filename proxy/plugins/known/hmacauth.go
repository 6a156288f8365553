package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(1030, "hmac-auth", hmacAuth) }

// hmacAuth knows consumers by the signatures of their requests. The clock skew is
// in seconds.
func hmacAuth(name string) *schema.Schema {
	algorithms := schema.Strings("hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512")
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			fields.HTTPProtocols(),
			fields.Config(
				fields.Flag("hide_credentials", false),
				schema.Field{Name: "clock_skew", Type: schema.Number, Default: 300, Gt: new(0.0)},
				fields.String("anonymous"),
				fields.Flag("validate_request_body", false),
				fields.Default(fields.Strings("enforce_headers"), []any{}),
				fields.Default(fields.List("algorithms", schema.Field{Type: schema.String, OneOf: algorithms}), algorithms),
				fields.Optional(fields.String("realm")),
			),
		},
	}
}

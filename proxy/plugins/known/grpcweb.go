package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(3, "grpc-web", grpcWeb) }

// grpcWeb lets browsers make gRPC calls.
func grpcWeb(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Optional(fields.String("proto")),
				schema.Field{Name: "pass_stripped_path", Type: schema.Boolean, Optional: true},
				fields.Optional(fields.Default(fields.String("allow_origin_header"), "*")),
			),
		},
	}
}

package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(998, "grpc-gateway", grpcGateway) }

// grpcGateway makes gRPC calls of JSON requests, as the annotations of a file of
// protocol buffers say.
func grpcGateway(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(fields.Optional(fields.String("proto"))),
		},
	}
}

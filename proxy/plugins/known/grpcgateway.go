package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(998, grpcGateway()) }

// grpcGateway makes gRPC calls of JSON requests, as the annotations of a file of
// protocol buffers say.
func grpcGateway() *schema.Schema {
	return &schema.Schema{
		Name: "grpc-gateway",
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(fields.Optional(fields.String("proto"))),
		},
	}
}

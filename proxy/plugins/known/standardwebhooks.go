package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(760, "standard-webhooks", standardWebhooks) }

// standardWebhooks checks the signatures of webhooks (standardwebhooks.com).
func standardWebhooks(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			fields.HTTPProtocols(),
			fields.Config(
				fields.Required(fields.Secret("secret_v1")),
				schema.Field{Name: "tolerance_second", Type: schema.Integer, Required: true, Default: 300, Gt: new(-1.0)},
			),
		},
	}
}

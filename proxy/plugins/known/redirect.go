package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(779, "redirect", redirect) }

// redirect sends clients elsewhere.
func redirect(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.HTTPProtocols(),
			fields.Config(
				fields.Required(fields.Default(status("status_code"), 301)),
				fields.Required(schema.URL("location")),
				fields.Switch("keep_incoming_path", false),
			),
		},
	}
}

// status is the status of an answer that a plugin makes.
func status(name string) schema.Field {
	return schema.Field{Name: name, Type: schema.Integer, Between: &[2]float64{100, 599}}
}

package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() {
	register(1_000_000, "pre-function", function)
	register(-1000, "post-function", function)
}

// function runs Lua in the phases of a request, before all other plugins or after
// them. Sluice has no Lua: what Kong's parser would say of it is not said.
func function(name string) *schema.Schema {
	phases := []string{"certificate", "rewrite", "access", "header_filter", "body_filter", "log"}
	config, paths := make([]schema.Field, len(phases)), make([]string, len(phases))
	for i, phase := range phases {
		code := fields.List(phase, schema.Field{Type: schema.String, Optional: true})
		config[i] = fields.Required(fields.Default(code, []any{}))
		paths[i] = "config." + phase
	}
	return &schema.Schema{
		Name:   name,
		Fields: []schema.Field{schema.NoConsumer(), fields.AnyProtocols(), fields.Config(config...)},
		Checks: []schema.Check{{AtLeastOneOf: paths}},
	}
}

package fields

import "github.com/sluicegate/sluice/fsm/schema"

// Propagation is which headers of other tracers are read, removed and written.
// format is the one that is written if nothing else decides.
func Propagation(format string) schema.Field {
	extract := schema.Strings("gcp", "instana", "w3c", "b3", "jaeger", "ot", "datadog", "aws")
	write := []string{"gcp", "instana", "w3c", "b3", "b3-single", "jaeger", "ot", "datadog", "aws"}
	inject := schema.Strings(append([]string{"preserve"}, write...)...)
	return Default(Record("propagation",
		List("extract", schema.Field{Type: schema.String, OneOf: extract}),
		List("clear", schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidHeaderName)}),
		List("inject", schema.Field{Type: schema.String, OneOf: inject}),
		schema.Field{Name: "default_format", Type: schema.String, Required: true, OneOf: schema.Strings(write...)},
	), map[string]any{"default_format": format})
}

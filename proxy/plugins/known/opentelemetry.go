package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(14, "opentelemetry", openTelemetry) }

// openTelemetry sends traces and logs by OTLP over HTTP. Timeouts are in
// milliseconds.
func openTelemetry(name string) *schema.Schema {
	config := fields.Config(
		endpoint("traces_endpoint"),
		endpoint("logs_endpoint"),
		schema.Field{
			Name: "headers", Type: schema.Map,
			Keys:   &schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidHeaderName)},
			Values: &schema.Field{Type: schema.String, Referenceable: true},
		},
		schema.Field{
			Name: "resource_attributes", Type: schema.Map,
			Keys:   &schema.Field{Type: schema.String, Required: true},
			Values: &schema.Field{Type: schema.String, Required: true},
		},
		fields.Default(fields.Queue(), map[string]any{"max_batch_size": 200}),
		fields.Deprecated(name, schema.Field{Name: "batch_span_count", Type: schema.Integer}, "queue.max_batch_size", 200),
		fields.Deprecated(name, schema.Field{Name: "batch_flush_delay", Type: schema.Integer}, "queue.max_coalescing_delay", 3),
		fields.Default(schema.Timeout("connect_timeout"), 1000),
		fields.Default(schema.Timeout("send_timeout"), 5000),
		fields.Default(schema.Timeout("read_timeout"), 5000),
		fields.String("http_response_header_for_traceid"),
		fields.Optional(fields.Deprecated(name, fields.Choice("header_type", "preserve",
			"preserve", "ignore", "b3", "b3-single", "w3c", "jaeger", "ot", "aws", "gcp", "datadog", "instana",
		), "propagation options", "preserve")),
		schema.Field{Name: "sampling_rate", Type: schema.Number, Optional: true, Between: &[2]float64{0, 1}},
		fields.Propagation("w3c"),
	)
	config.Checks = []schema.Check{{AtLeastOneOf: []string{"traces_endpoint", "logs_endpoint"}}}
	config.Shorthands = []schema.Field{oldEndpoint()}
	return &schema.Schema{Name: name, Fields: []schema.Field{fields.HTTPProtocols(), config}}
}

func endpoint(name string) schema.Field {
	f := schema.URL(name)
	f.Referenceable = true
	return f
}

// oldEndpoint is what traces_endpoint was called before there was another one.
// Kong does not echo it, unlike other names of old.
func oldEndpoint() schema.Field {
	f := endpoint("endpoint")
	f.Deprecation = &schema.Deprecation{
		Message:          "OpenTelemetry: config.endpoint is deprecated, please use config.traces_endpoint instead",
		RemovalInVersion: "4.0",
	}
	f.Expand = func(value any) map[string]any { return map[string]any{"traces_endpoint": value} }
	return f
}

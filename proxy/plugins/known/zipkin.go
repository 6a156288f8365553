package known

import (
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(100_000, "zipkin", zipkin) }

// zipkin sends traces to a Zipkin server. Timeouts are in milliseconds.
func zipkin(name string) *schema.Schema {
	formats := []string{"b3", "b3-single", "w3c", "jaeger", "ot", "aws", "datadog", "gcp", "instana"}
	headerType := fields.Required(fields.Choice("header_type", "preserve", append([]string{"preserve", "ignore"}, formats...)...))
	otherType := fields.Required(fields.Choice("default_header_type", "b3", formats...))
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				fields.Required(fields.Default(fields.String("local_service_name"), "kong")),
				schema.URL("http_endpoint"),
				schema.Field{Name: "sample_ratio", Type: schema.Number, Default: 0.001, Between: &[2]float64{0, 1}},
				fields.String("default_service_name"),
				fields.Flag("include_credential", true),
				schema.Field{Name: "traceid_byte_count", Type: schema.Integer, Required: true, Default: 16, OneOf: []any{8, 16}},
				fields.Deprecated(name, headerType, "propagation options", "preserve"),
				fields.Deprecated(name, otherType, "propagation.default_format", "b3"),
				fields.Required(fields.Default(fields.String("tags_header"), "Zipkin-Tags")),
				staticTags(),
				fields.Required(fields.Choice("http_span_name", "method", "method", "method_path")),
				fields.Default(schema.Timeout("connect_timeout"), 2000),
				fields.Default(schema.Timeout("send_timeout"), 5000),
				fields.Default(schema.Timeout("read_timeout"), 5000),
				fields.String("http_response_header_for_traceid"),
				fields.Required(fields.Choice("phase_duration_flavor", "annotations", "annotations", "tags")),
				fields.Queue(),
				fields.Propagation("b3"),
			),
		},
	}
}

// staticTags are put on every span. The names of those that Kong makes itself are
// taken.
func staticTags() schema.Field {
	taken := schema.Strings("error", "http.method", "http.path", "http.status_code", "kong.balancer.state",
		"kong.balancer.try", "kong.consumer", "kong.credential", "kong.node.id", "kong.route", "kong.service",
		"lc", "peer.hostname")
	tags := fields.List("static_tags", schema.Field{Type: schema.Record, Fields: []schema.Field{
		{Name: "name", Type: schema.String, Required: true, NotOneOf: taken},
		fields.Required(fields.String("value")),
	}})
	tags.Custom = checkTags
	return tags
}

// checkTags refuses a name that comes twice.
func checkTags(value any) error {
	tags, _ := value.([]any)
	found := make(map[any]bool, len(tags))
	for _, element := range tags {
		tag, _ := element.(map[string]any)
		name := tag["name"]
		if found[name] {
			return fmt.Errorf("repeated tags are not allowed: %s", name)
		}
		found[name] = true
	}
	return nil
}

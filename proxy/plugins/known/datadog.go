package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(10, "datadog", datadog) }

// datadog sends metrics to a Datadog agent.
func datadog(name string) *schema.Schema {
	config := []schema.Field{
		{Name: "host", Type: schema.String, Default: "localhost", Referenceable: true, Custom: schema.Text(schema.ValidHost)},
		fields.Default(schema.Port("port"), 8125),
		fields.Default(fields.String("prefix"), "kong"),
		fields.Default(fields.String("service_name_tag"), "name"),
		fields.Default(fields.String("status_tag"), "status"),
		fields.Default(fields.String("consumer_tag"), "consumer"),
	}
	config = append(config, fields.OldQueue(name)...)
	config = append(config, fields.Queue(), datadogMetrics())
	return &schema.Schema{Name: name, Fields: []schema.Field{fields.AnyProtocols(), fields.Config(config...)}}
}

func datadogMetrics() schema.Field {
	element := metric(
		[]string{"kong_latency", "latency", "request_count", "request_size", "response_size", "upstream_latency"},
		append(statKinds(), "distribution"),
		fields.List("tags", schema.Field{Type: schema.String, Match: "^.*[^:]$"}),
		schema.Field{Name: "sample_rate", Type: schema.Number, Between: &[2]float64{0, 1}},
		identifier("consumer_identifier", consumerIdentifiers()),
	)
	timer := func(name string) map[string]any {
		return map[string]any{
			"name": name, "stat_type": "timer", "tags": schema.Strings("app:kong"), "consumer_identifier": "custom_id",
		}
	}
	requests := timer("request_count")
	requests["stat_type"], requests["sample_rate"] = "counter", 1
	return fields.Required(fields.Default(fields.List("metrics", element), []any{
		requests, timer("latency"), timer("request_size"), timer("response_size"), timer("upstream_latency"), timer("kong_latency"),
	}))
}

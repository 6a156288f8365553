package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(11, "statsd", statsd) }

// statsd sends metrics to a StatsD server.
func statsd(name string) *schema.Schema {
	config := []schema.Field{
		fields.Default(schema.Host("host"), "localhost"),
		fields.Default(schema.Port("port"), 8125),
		fields.Default(fields.String("prefix"), "kong"),
		statsdMetrics(),
		fields.List("allow_status_codes", schema.Field{Type: schema.String, Match: "^[0-9]+-[0-9]+$"}),
		{Name: "udp_packet_size", Type: schema.Number, Default: 0, Between: &[2]float64{0, 65_507}},
		fields.Switch("use_tcp", false),
		fields.Switch("hostname_in_prefix", false),
		fields.Required(fields.Choice("consumer_identifier_default", "custom_id", consumerIdentifiers()...)),
		fields.Required(fields.Choice("service_identifier_default", "service_name_or_host", serviceIdentifiers()...)),
		fields.Required(fields.Choice("workspace_identifier_default", "workspace_id", workspaceIdentifiers()...)),
	}
	config = append(config, fields.OldQueue(name)...)
	config = append(config,
		schema.Field{
			Name: "tag_style", Type: schema.String, Optional: true,
			OneOf: schema.Strings("dogstatsd", "influxdb", "librato", "signalfx"),
		},
		fields.Queue(),
	)
	return &schema.Schema{Name: name, Fields: []schema.Field{fields.AnyProtocols(), fields.Config(config...)}}
}

func serviceIdentifiers() []string {
	return []string{"service_id", "service_name", "service_host", "service_name_or_host"}
}

func workspaceIdentifiers() []string { return []string{"workspace_id", "workspace_name"} }

func statsdMetrics() schema.Field {
	element := metric(
		[]string{
			"kong_latency", "latency", "request_count", "request_per_user", "request_size", "response_size",
			"status_count", "status_count_per_user", "unique_users", "upstream_latency",
			"status_count_per_workspace", "status_count_per_user_per_route", "shdict_usage",
		},
		statKinds(),
		schema.Field{Name: "sample_rate", Type: schema.Number, Gt: new(0.0)},
		identifier("consumer_identifier", consumerIdentifiers()),
		identifier("service_identifier", serviceIdentifiers()),
		identifier("workspace_identifier", workspaceIdentifiers()),
	)
	of := func(kind, name string) map[string]any { return map[string]any{"name": name, "stat_type": kind} }
	sampled := func(kind, name string) map[string]any {
		return map[string]any{"name": name, "stat_type": kind, "sample_rate": 1}
	}
	return fields.Default(fields.List("metrics", element), []any{
		sampled("counter", "request_count"),
		of("timer", "latency"),
		sampled("counter", "request_size"),
		sampled("counter", "status_count"),
		sampled("counter", "response_size"),
		of("set", "unique_users"),
		sampled("counter", "request_per_user"),
		of("timer", "upstream_latency"),
		of("timer", "kong_latency"),
		sampled("counter", "status_count_per_user"),
		sampled("counter", "status_count_per_workspace"),
		sampled("counter", "status_count_per_user_per_route"),
		sampled("gauge", "shdict_usage"),
	})
}

package httplog

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/logentry"
)

// configSchema is http-log's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	text := func(name, initial string, values ...string) schema.Field {
		return schema.Field{Name: name, Type: schema.String, Default: initial, OneOf: schema.Strings(values...)}
	}
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			{
				Name: "protocols", Type: schema.Set, Required: true, Default: schema.Strings(schema.HTTPProtocols()...),
				Elements: &schema.Field{Type: schema.String, OneOf: schema.Strings(schema.Protocols()...)},
			},
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				{
					Name: "http_endpoint", Type: schema.String, Required: true, Encrypted: true, Referenceable: true,
					Custom: schema.Text(checkEndpoint),
				},
				text("method", "POST", "POST", "PUT", "PATCH"),
				text("content_type", "application/json", "application/json", "application/json; charset=utf-8"),
				{Name: "timeout", Type: schema.Number, Default: 10000},
				{Name: "keepalive", Type: schema.Number, Default: 60000},
				{Name: "retry_count", Type: schema.Integer, Deprecation: &schema.Deprecation{
					Message:    "http-log: config.retry_count no longer works, please use config.queue.max_retry_time instead",
					OldDefault: 10, RemovalInVersion: "4.0",
				}},
				{Name: "queue_size", Type: schema.Integer, Deprecation: &schema.Deprecation{
					Message:    "http-log: config.queue_size is deprecated, please use config.queue.max_batch_size instead",
					OldDefault: oldQueueSize, RemovalInVersion: "4.0",
				}},
				{Name: "flush_timeout", Type: schema.Number, Deprecation: &schema.Deprecation{
					Message:    "http-log: config.flush_timeout is deprecated, please use config.queue.max_coalescing_delay instead",
					OldDefault: oldFlushTimeout, RemovalInVersion: "4.0",
				}},
				headersField(),
				{Name: "queue", Type: schema.Record, Required: true, Fields: queueFields()},
				{
					Name: "custom_fields_by_lua", Type: schema.Map,
					Keys:   &schema.Field{Type: schema.String, LenMin: new(1)},
					Values: &schema.Field{Type: schema.String, LenMin: new(1), Custom: schema.Text(logentry.CheckCode)},
				},
			}},
		},
	}
}

// headersField has Kong's patterns, of which the second one lets some spellings
// pass that then have no effect.
func headersField() schema.Field {
	return schema.Field{
		Name: "headers", Type: schema.Map,
		Keys: &schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidHeaderName), MatchNone: []schema.Pattern{
			{Pattern: "^[Hh][Oo][Ss][Tt]$", Err: "cannot contain 'Host' header"},
			{Pattern: "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Ll][Ee][nn][Gg][Tt][Hh]$", Err: "cannot contain 'Content-Length' header"},
			{Pattern: "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Tt][Yy][Pp][Ee]$", Err: "cannot contain 'Content-Type' header"},
		}},
		Values: &schema.Field{Type: schema.String, Referenceable: true, Custom: schema.Text(checkValue)},
	}
}

// queueFields are those that all plugins with a queue have in Kong.
func queueFields() []schema.Field {
	entries, delay := &[2]float64{1, 1000000}, &[2]float64{0.001, 1000000}
	return []schema.Field{
		{Name: "max_batch_size", Type: schema.Integer, Default: 1, Between: entries},
		{Name: "max_coalescing_delay", Type: schema.Number, Default: 1, Between: &[2]float64{0, 3600}},
		{Name: "max_entries", Type: schema.Integer, Default: 10000, Between: entries},
		{Name: "max_bytes", Type: schema.Integer},
		{Name: "max_retry_time", Type: schema.Number, Default: 60},
		{Name: "initial_retry_delay", Type: schema.Number, Default: 0.01, Between: delay},
		{Name: "max_retry_delay", Type: schema.Number, Default: 60, Between: delay},
		{Name: "concurrency_limit", Type: schema.Integer, Default: 1, OneOf: []any{-1, 1}},
	}
}

func checkEndpoint(text string) error {
	if err := schema.ValidURL(text); err != nil {
		return err
	}
	_, err := parseEndpoint(text)
	return err
}

// checkValue refuses what could not be sent as a field's value.
func checkValue(value string) error {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return errControl
		}
	}
	return nil
}

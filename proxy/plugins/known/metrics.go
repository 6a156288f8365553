package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
)

// metric is an element of the lists of metrics of datadog and statsd; the fields
// come after its name and kind. A counter and a gauge need a sample rate.
func metric(names, kinds []string, list ...schema.Field) schema.Field {
	own := []schema.Field{
		{Name: "name", Type: schema.String, Required: true, OneOf: schema.Strings(names...)},
		{Name: "stat_type", Type: schema.String, Required: true, OneOf: schema.Strings(kinds...)},
	}
	return schema.Field{
		Type: schema.Record, Fields: append(own, list...),
		Checks: []schema.Check{{Conditional: &schema.Conditional{
			IfField: "stat_type", IfMatch: schema.Field{OneOf: schema.Strings("counter", "gauge")},
			ThenField: "sample_rate", ThenMatch: schema.Field{Required: true},
		}}},
	}
}

// identifier is by which of its fields an entity is named, one of the words.
func identifier(name string, words []string) schema.Field {
	return schema.Field{Name: name, Type: schema.String, OneOf: schema.Strings(words...)}
}

// consumerIdentifiers are the fields of a consumer that tell it from others.
func consumerIdentifiers() []string { return []string{"consumer_id", "custom_id", "username"} }

// statKinds are the kinds of metrics that StatsD has.
func statKinds() []string {
	return []string{"counter", "gauge", "histogram", "meter", "set", "timer"}
}

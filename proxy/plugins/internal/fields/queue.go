package fields

import (
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
)

// Queue is how a plugin that sends entries somewhere gathers, keeps and repeats
// them. Delays are in seconds.
func Queue() schema.Field {
	return Record("queue",
		schema.Field{Name: "max_batch_size", Type: schema.Integer, Default: 1, Between: &[2]float64{1, 1_000_000}},
		schema.Field{Name: "max_coalescing_delay", Type: schema.Number, Default: 1, Between: &[2]float64{0, 3600}},
		schema.Field{Name: "max_entries", Type: schema.Integer, Default: 10_000, Between: &[2]float64{1, 1_000_000}},
		schema.Field{Name: "max_bytes", Type: schema.Integer},
		Number("max_retry_time", 60),
		retryDelay("initial_retry_delay", 0.01),
		retryDelay("max_retry_delay", 60),
		schema.Field{Name: "concurrency_limit", Type: schema.Integer, Default: 1, OneOf: []any{-1, 1}},
	)
}

func retryDelay(name string, value float64) schema.Field {
	return schema.Field{Name: name, Type: schema.Number, Default: value, Between: &[2]float64{0.001, 1_000_000}}
}

// OldQueue are the fields that a plugin's queue had before it was a record. They
// are still stored, and the first of them has no effect in Kong either.
func OldQueue(plugin string) []schema.Field {
	return []schema.Field{
		Retired(plugin, schema.Field{Name: "retry_count", Type: schema.Integer}, "no longer works", "queue.max_retry_time", 10),
		Deprecated(plugin, schema.Field{Name: "queue_size", Type: schema.Integer}, "queue.max_batch_size", 1),
		Deprecated(plugin, schema.Field{Name: "flush_timeout", Type: schema.Number}, "queue.max_coalescing_delay", 2),
	}
}

// Deprecated says of a field of a plugin's config which one is to be used in its
// place, and what its default was.
func Deprecated(plugin string, f schema.Field, instead string, oldDefault any) schema.Field {
	return Retired(plugin, f, "is deprecated", instead, oldDefault)
}

// Retired is Deprecated with other words for what has become of the field.
func Retired(plugin string, f schema.Field, fate, instead string, oldDefault any) schema.Field {
	f.Deprecation = &schema.Deprecation{
		Message:          fmt.Sprintf("%s: config.%s %s, please use config.%s instead", plugin, f.Name, fate, instead),
		RemovalInVersion: "4.0",
		OldDefault:       oldDefault,
	}
	return f
}

package ratelimit

import "github.com/sluicegate/sluice/fsm/schema"

// Needs demands one field of the config when another one matches.
func Needs(field string, match schema.Field, needed string) schema.Check {
	return schema.Check{Conditional: &schema.Conditional{
		IfField: "config." + field, IfMatch: match,
		ThenField: "config." + needed, ThenMatch: schema.Field{Required: true},
	}}
}

// Number makes a field's check of one of a number.
func Number(check func(float64) error) func(any) error {
	return func(value any) error {
		v, _ := value.(float64)
		return check(v)
	}
}

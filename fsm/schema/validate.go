package schema

import (
	"maps"
	"math"
	"slices"
	"time"
)

// validator checks canonical values. Problems are trees that mirror the value: a message, an array with
// nil for the elements that are right, or an object by field name.
type validator struct {
	updating bool // words some messages of checks differently
	now      func() time.Time
}

// record checks all fields of a record, then its checks. It returns nil if there are no problems.
func (v validator) record(r *record, m map[string]any) map[string]any {
	errs := make(map[string]any)
	for name, value := range m {
		n := r.index[name]
		if n == nil {
			errs[name] = msgUnknown
			continue
		}
		if problem := v.value(n, value); problem != nil {
			errs[name] = problem
		}
	}
	for _, n := range r.fields {
		if _, given := m[n.Name]; n.Required && !given {
			errs[n.Name] = msgRequired
		}
	}
	for _, c := range r.checks {
		v.check(c, m, errs)
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// value checks one value. It returns nil if there is no problem.
func (v validator) value(n *node, value any) any {
	if value == nil {
		return n.null()
	}
	if n.Eq == Null {
		return n.word("value must be null")
	}
	if n.Abstract {
		return msgAbstract
	}
	if problem := v.typed(n, value); problem != nil {
		return problem
	}
	if reference, ok := value.(string); ok && n.Referenceable && IsReference(reference) {
		return nil
	}
	for _, r := range n.rules {
		if problem := r(value); problem != nil {
			return n.word(problem)
		}
	}
	return nil
}

// word replaces a problem by the field's own message, if it has one.
func (n *node) word(problem any) any {
	if n.Err != "" {
		return n.Err
	}
	return problem
}

// null checks a field that is null.
func (n *node) null() any {
	switch {
	case n.Ne == Null:
		return n.word("value must not be null")
	case n.Eq != nil && n.Eq != Null:
		return "value must be " + text(plain(n.Eq))
	case n.Required:
		return msgRequired
	}
	return nil
}

// typed checks the type of a value, and the parts of one that has any.
func (v validator) typed(n *node, value any) any {
	switch n.Type {
	case String:
		s, ok := value.(string)
		if !ok {
			return "expected a string"
		}
		// a form can carry any bytes; JSON, in which entities are stored and shown, cannot
		if err := ValidUTF8(s); err != nil {
			return err.Error()
		}
	case Boolean:
		if _, ok := value.(bool); !ok {
			return "expected a boolean"
		}
	case Number:
		if number, ok := value.(float64); !ok || math.IsNaN(number) || math.IsInf(number, 0) {
			return "expected a number"
		}
	case Integer:
		return n.integer(value)
	case Array:
		return v.elements(n, value, "expected an array")
	case Set:
		return v.elements(n, value, "expected a set")
	case Map:
		return v.entries(n, value)
	case Record:
		m, ok := value.(map[string]any)
		if !ok {
			return "expected a record"
		}
		if errs := v.record(n.record, m); errs != nil {
			return errs
		}
	case Foreign:
		return foreign(value)
	case JSON:
		return encodable(value)
	}
	return nil
}

// integer accepts int64. An integral number beyond its range is an integer to Kong too, so one with limits
// fails for them and not for its type.
func (n *node) integer(value any) any {
	if _, ok := value.(int64); ok {
		return nil
	}
	number, ok := value.(float64)
	if ok && n.Between != nil && number == math.Trunc(number) && !math.IsInf(number, 0) {
		return nil
	}
	return "expected an integer"
}

func (v validator) elements(n *node, value any, message string) any {
	list, ok := value.([]any)
	if !ok {
		return message
	}
	var errs []any
	for i, element := range list {
		if problem := v.value(n.elements, element); problem != nil {
			errs = append(errs, make([]any, i+1-len(errs))...)
			errs[i] = problem
		}
	}
	if errs == nil {
		return nil
	}
	return errs
}

// entries reports the first problem in the order of the keys, without the key: Kong does too, in no
// particular order.
func (v validator) entries(n *node, value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return "expected a map"
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if problem := v.value(n.keys, key); problem != nil {
			return problem
		}
		if problem := v.value(n.values, m[key]); problem != nil {
			return problem
		}
	}
	return nil
}

// foreign accepts an id, and anything that may turn out to be another unique key of the parent.
func foreign(value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return map[string]any{"id": msgMissingPK}
	}
	id, given := m["id"]
	switch {
	case given && id == nil:
		return map[string]any{"id": msgRequired}
	case given:
		s, ok := id.(string)
		if !ok {
			return map[string]any{"id": "expected a string"}
		}
		if !IsUUID(s) {
			return map[string]any{"id": msgUUID}
		}
	case !unresolved(m):
		return map[string]any{"id": msgMissingPK}
	}
	return nil
}

// encodable accepts what can be written as JSON and read again.
func encodable(v any) any {
	switch value := v.(type) {
	case float64:
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return "expected a number"
		}
	case string:
		if err := ValidUTF8(value); err != nil {
			return err.Error()
		}
	case []any:
		for _, element := range value {
			if problem := encodable(element); problem != nil {
				return problem
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if problem := encodable(key); problem != nil {
				return problem
			}
			if problem := encodable(value[key]); problem != nil {
				return problem
			}
		}
	}
	return nil
}

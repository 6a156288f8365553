package schema

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// Normalize returns a deep copy of decoded JSON (json.Number or Go numbers) in canonical Go values, with
// sets freed of duplicates, UUIDs in lower case, and foreign references reduced to their id. It checks
// nothing: a value that does not fit its field stays as it is, for Insert or Update to reject.
func (s *Schema) Normalize(v map[string]any) map[string]any {
	return canonicalRecord(s.For(v).compiled(), v)
}

func canonicalRecord(r *record, in map[string]any) map[string]any {
	out := make(map[string]any, len(r.fields))
	for name, value := range in {
		out[name] = canonical(r.index[name], value)
	}
	for _, shorthand := range r.shorthands {
		if value, ok := in[shorthand.Name]; ok {
			out[shorthand.Name] = canonical(shorthand, value)
		}
	}
	return out
}

// canonical copies a value. The node is nil for a value that no field describes.
func canonical(n *node, v any) any {
	switch value := v.(type) {
	case nil, nullValue, bool:
		if v == Null {
			return nil
		}
		return v
	case string:
		if n != nil && n.UUID && IsUUID(value) {
			return strings.ToLower(value)
		}
		return value
	case []string:
		return canonicalList(n, Strings(value...))
	case []any:
		return canonicalList(n, value)
	case map[string]any:
		return canonicalMap(n, value)
	}
	return canonicalNumber(n, v)
}

func canonicalList(n *node, in []any) any {
	if n != nil && len(in) == 0 && (n.Type == Map || n.Type == Record) {
		// Lua cannot tell an empty list from an empty object, so Kong takes either
		return canonicalMap(n, nil)
	}
	var elements *node
	if n != nil {
		elements = n.elements
	}
	out := make([]any, len(in))
	for i, element := range in {
		out[i] = canonical(elements, element)
	}
	if n != nil && n.Type == Set {
		return distinct(out)
	}
	return out
}

// distinct removes repeated scalars, keeping the first of each. Lists and objects are never the same.
func distinct(list []any) []any {
	seen := make(map[any]bool, len(list))
	out := list[:0]
	for _, element := range list {
		switch element.(type) {
		case nil, bool, string, int64, float64: // what can be a key of a map
			if seen[element] {
				continue
			}
			seen[element] = true
		}
		out = append(out, element)
	}
	return out
}

func canonicalMap(n *node, in map[string]any) any {
	var part *node
	if n != nil {
		switch n.Type {
		case Record:
			if n.record != nil {
				return canonicalRecord(n.record, in)
			}
		case Array, Set:
			if len(in) == 0 {
				return []any{}
			}
		case Foreign:
			return canonicalForeign(in)
		case Map:
			part = n.values
		}
	}
	out := make(map[string]any, len(in))
	for key, value := range in {
		out[key] = canonical(part, value)
	}
	return out
}

// canonicalForeign drops what stands next to a valid id; clients send the parent's name along.
func canonicalForeign(in map[string]any) map[string]any {
	if id, ok := in["id"].(string); ok && IsUUID(id) {
		return map[string]any{"id": strings.ToLower(id)}
	}
	out := make(map[string]any, len(in))
	for key, value := range in {
		out[key] = canonical(nil, value)
	}
	return out
}

// plain makes a scalar of a literal canonical without a field's help.
func plain(v any) any { return canonical(nil, v) }

// canonicalNumber turns any number into the type that its field has: float64 for Number, int64 for
// everything else where the value allows it. Values that are no numbers come back unchanged.
func canonicalNumber(n *node, v any) any {
	var number float64
	switch value := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(value.String(), 10, 64); err == nil {
			return canonicalInt(n, i)
		}
		number, _ = strconv.ParseFloat(value.String(), 64) // ±Inf when out of range, which no field accepts
	case int:
		return canonicalInt(n, int64(value))
	case int32:
		return canonicalInt(n, int64(value))
	case int64:
		return canonicalInt(n, value)
	case uint16:
		return canonicalInt(n, int64(value))
	case uint32:
		return canonicalInt(n, int64(value))
	case float32:
		number = float64(value)
	case float64:
		number = value
	default:
		return v
	}
	if n != nil && n.Type == Integer && isInt64(number) {
		return int64(number)
	}
	return number
}

func canonicalInt(n *node, i int64) any {
	if n != nil && n.Type == Number {
		return float64(i)
	}
	return i
}

// isInt64 reports whether a float has no fraction and fits. The upper bound is 2^63, which a float64 can
// hold exactly and an int64 cannot hold.
func isInt64(number float64) bool {
	return number == math.Trunc(number) && -1<<63 <= number && number < 1<<63
}

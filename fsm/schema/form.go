package schema

import (
	"math"
	"strconv"
	"strings"
)

// FromForm gives the strings of a form body the types of their fields. The tree is the body with its keys
// already split: strings, []string, []any and map[string]any. The result is as good as decoded JSON:
//
//   - "" is null;
//   - a single value for an array or a set is wrapped;
//   - numbers, true and false are converted where the field wants them, and stay strings where they
//     cannot be, for Insert or Update to reject;
//   - what no field describes stays as it is.
//
// With subschemas, the one that the tree itself picks applies; for a PATCH that leaves the key out, use
// For(stored).FromForm. The tree is not changed.
func (s *Schema) FromForm(tree map[string]any) map[string]any {
	variant := s.For(tree)
	out := inferRecord(variant.compiled(), tree)
	if ttl, ok := tree["ttl"]; ok && variant.TTL {
		out["ttl"] = inferNumber(ttl)
	}
	return out
}

func inferRecord(r *record, tree map[string]any) map[string]any {
	out := make(map[string]any, len(tree))
	for name, value := range tree {
		out[name] = infer(r.index[name], value)
	}
	for _, shorthand := range r.shorthands {
		if value, ok := tree[shorthand.Name]; ok {
			out[shorthand.Name] = infer(shorthand, value)
		}
	}
	return out
}

// infer types one value. The node is nil for a value that no field describes.
func infer(n *node, v any) any {
	if n == nil {
		return v
	}
	if v == "" {
		return nil
	}
	switch n.Type {
	case Number, Integer:
		return inferNumber(v)
	case Boolean:
		switch v {
		case "true":
			return true
		case "false":
			return false
		}
	case Array, Set:
		return inferElements(n, v)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	switch {
	case n.Type == Record && !n.Abstract:
		return inferRecord(n.record, m)
	case n.Type == Map || n.Type == Foreign:
		out := make(map[string]any, len(m))
		for key, value := range m {
			out[key] = inferPart(n, value)
		}
		return out
	}
	return v
}

// inferPart types a value of a map, or a key of a parent, all of which are strings.
func inferPart(n *node, v any) any {
	if n.values != nil {
		return infer(n.values, v)
	}
	if v == "" {
		return nil
	}
	return v
}

func inferElements(n *node, v any) any {
	if _, isMap := v.(map[string]any); isMap {
		return v // not a list, whichever way it is read
	}
	var list []any
	switch value := v.(type) {
	case []any:
		list = value
	case []string:
		list = Strings(value...)
	default:
		list = []any{v}
	}
	out := make([]any, len(list))
	for i, element := range list {
		out[i] = infer(n.elements, element)
	}
	return out
}

// inferNumber converts a decimal number, with spaces around it as Lua allows.
func inferNumber(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	if s == "" {
		return nil
	}
	s = strings.Trim(s, " \t\n\v\f\r")
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i
	}
	if strings.ContainsAny(s, "xXpP_iInN") { // no hexadecimals, no infinity, nothing that JSON could not say
		return v
	}
	number, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(number, 0) {
		return v
	}
	return number
}

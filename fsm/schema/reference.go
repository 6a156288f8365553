package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// IsReference recognises {vault://...}.
func IsReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}

// Dereference gives a record in which values take the place of the references to
// them, as resolve finds them, in fields that are Referenceable. The record is not
// changed; it is given back as it is if there is nothing to replace, and found is
// false. The error names the first field whose reference leads nowhere. Shorthands
// keep theirs: nothing reads them.
func Dereference(fields []Field, record map[string]any, resolve func(reference string) (string, error)) (out map[string]any, found bool, err error) {
	out = record
	for i := range fields {
		f := &fields[i]
		value, replaced, err := dereference(f, record[f.Name], resolve)
		if err != nil {
			return nil, true, fmt.Errorf("%s: %w", f.Name, err)
		}
		if !replaced {
			continue
		}
		if !found {
			out, found = maps.Clone(record), true
		}
		out[f.Name] = value
	}
	return out, found, nil
}

func dereference(f *Field, v any, resolve func(string) (string, error)) (out any, replaced bool, err error) {
	switch value := v.(type) {
	case string:
		if !f.Referenceable || !IsReference(value) {
			return v, false, nil
		}
		out, err = resolve(value)
		return out, true, err
	case map[string]any:
		if f.Type == Record {
			return Dereference(f.Fields, value, resolve)
		}
		return dereferenceMap(f.Values, value, resolve)
	case []any:
		return dereferenceList(f.Elements, value, resolve)
	}
	return v, false, nil
}

func dereferenceMap(values *Field, m map[string]any, resolve func(string) (string, error)) (any, bool, error) {
	if values == nil {
		return m, false, nil
	}
	out, found := m, false
	for _, key := range slices.Sorted(maps.Keys(m)) {
		value, replaced, err := dereference(values, m[key], resolve)
		if err != nil {
			return nil, true, fmt.Errorf("%s: %w", key, err)
		}
		if !replaced {
			continue
		}
		if !found {
			out, found = maps.Clone(m), true
		}
		out[key] = value
	}
	return out, found, nil
}

func dereferenceList(elements *Field, list []any, resolve func(string) (string, error)) (any, bool, error) {
	if elements == nil {
		return list, false, nil
	}
	out, found := list, false
	for i, element := range list {
		value, replaced, err := dereference(elements, element, resolve)
		if err != nil {
			return nil, true, fmt.Errorf("%d: %w", i+1, err)
		}
		if !replaced {
			continue
		}
		if !found {
			out, found = slices.Clone(list), true
		}
		out[i] = value
	}
	return out, found, nil
}

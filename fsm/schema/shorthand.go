package schema

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

const msgMismatch = "both deprecated and new field are used but their values mismatch: %s = %s vs %s = %s"

// expand replaces the shorthands in a record, and in the records within, by the fields they stand for. It
// returns the problems by field, nil if there are none.
func expand(r *record, m map[string]any) map[string]any {
	var errs map[string]any
	report := func(name string, problem any) {
		if errs == nil {
			errs = make(map[string]any)
		}
		errs[name] = problem
	}
	var v validator
	for _, s := range r.shorthands {
		value, given := m[s.Name]
		if !given {
			continue
		}
		if problem := v.value(s, value); problem != nil {
			report(s.Name, problem)
			continue
		}
		if problem := s.mismatch(m, value); problem != nil {
			report(s.Name, problem)
			continue
		}
		delete(m, s.Name)
		s.expandInto(r, m, value)
	}
	for _, n := range r.fields {
		if problem := expandWithin(n, m[n.Name]); problem != nil {
			report(n.Name, problem)
		}
	}
	return errs
}

// expandWithin expands the shorthands of the records within a value. Problems have the form that
// validation gives them: one per element of a list, the first one of a map.
func expandWithin(n *node, v any) any {
	switch value := v.(type) {
	case map[string]any:
		switch {
		case n.Type == Record && !n.Abstract:
			if errs := expand(n.record, value); errs != nil {
				return errs
			}
		case n.Type == Map:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				if problem := expandWithin(n.values, value[key]); problem != nil {
					return problem
				}
			}
		}
	case []any:
		if n.elements == nil {
			return nil
		}
		var errs []any
		for i, element := range value {
			if problem := expandWithin(n.elements, element); problem != nil {
				errs = append(errs, make([]any, i+1-len(errs))...)
				errs[i] = problem
			}
		}
		if errs != nil {
			return errs
		}
	}
	return nil
}

// mismatch compares a shorthand with the fields that took over from it.
func (n *node) mismatch(m map[string]any, value any) any {
	if value == nil || n.Deprecation == nil {
		return nil
	}
	for _, path := range n.Deprecation.ReplacedWith {
		current, _ := lookup(m, path)
		if current == nil || equal(current, value) || reflect.DeepEqual(current, value) {
			continue
		}
		return fmt.Sprintf(msgMismatch, n.Name, text(value), strings.Join(path, "."), text(current))
	}
	return nil
}

// expandInto sets the fields that a shorthand stands for. A deprecated shorthand gives way to a field that
// is set; another one overrides it.
func (n *node) expandInto(r *record, m map[string]any, value any) {
	var fields map[string]any
	if n.Expand != nil {
		fields = n.Expand(value)
	} else {
		fields = nest(n.Deprecation.ReplacedWith[0], value)
	}
	mergeShorthand(m, canonicalRecord(r, fields), n.Deprecation != nil)
}

func mergeShorthand(m, fields map[string]any, yield bool) {
	for name, value := range fields {
		table, isTable := value.(map[string]any)
		below, hasTable := m[name].(map[string]any)
		switch {
		case isTable && hasTable:
			mergeShorthand(below, table, yield)
		case !yield || m[name] == nil:
			m[name] = value
		}
	}
}

// show adds the echoes of shorthands to a complete record.
func show(r *record, m map[string]any) {
	for _, s := range r.shorthands {
		if s.echoed() {
			m[s.Name], _ = lookup(m, s.Deprecation.ReplacedWith[0])
		}
	}
	for _, n := range r.fields {
		eachRecord(n, m[n.Name], show)
	}
}

// hide removes the echoes of shorthands from a stored record.
func hide(r *record, m map[string]any) {
	for _, s := range r.shorthands {
		if s.echoed() {
			delete(m, s.Name)
		}
	}
	for _, n := range r.fields {
		eachRecord(n, m[n.Name], hide)
	}
}

func (n *node) echoed() bool { return n.Deprecation != nil && len(n.Deprecation.ReplacedWith) > 0 }

// eachRecord calls f for the outermost records within a value.
func eachRecord(n *node, v any, f func(*record, map[string]any)) {
	switch value := v.(type) {
	case map[string]any:
		switch {
		case n.Type == Record && !n.Abstract:
			f(n.record, value)
		case n.Type == Map:
			for _, part := range value {
				eachRecord(n.values, part, f)
			}
		}
	case []any:
		if n.elements != nil {
			for _, element := range value {
				eachRecord(n.elements, element, f)
			}
		}
	}
}

// lookup returns the value at a path, and whether there is one.
func lookup(m map[string]any, path []string) (any, bool) {
	for i, name := range path {
		value, ok := m[name]
		if !ok || i == len(path)-1 {
			return value, ok
		}
		if m, ok = value.(map[string]any); !ok {
			return nil, false
		}
	}
	return nil, false
}

// nest builds {a: {b: value}} from the path a, b.
func nest(path []string, value any) map[string]any {
	for i := len(path) - 1; i > 0; i-- {
		value = map[string]any{path[i]: value}
	}
	return map[string]any{path[0]: value}
}

package schema

import "encoding/json"

// MarshalJSON writes the schema as GET /schemas/{entity} publishes it: {"fields": [{name: {...}}, ...],
// "entity_checks": [...]}. For what a plugin specialises, that is GET /schemas/plugins/{name}. It does not
// need a compiled schema.
func (s *Schema) MarshalJSON() ([]byte, error) {
	s = s.described()
	return json.Marshal(map[string]any{
		"fields":        publishFields(s.Fields),
		"entity_checks": publishChecks(s.Checks),
	})
}

// MarshalJSON writes the attributes that are set, under the names that Kong gives them.
func (f *Field) MarshalJSON() ([]byte, error) {
	m := make(map[string]any)
	f.publishValue(m)
	f.publishConstraints(m)
	f.publishPatterns(m)
	f.publishParts(m)
	return json.Marshal(m)
}

// attribute is one member of a published object.
type attribute struct {
	name  string
	isSet bool
	value any
}

// put adds the attributes that are set.
func put(m map[string]any, attributes ...attribute) {
	for _, a := range attributes {
		if a.isSet {
			m[a.name] = a.value
		}
	}
}

// flag is an attribute that is only ever published as true.
func flag(name string, on bool) attribute { return attribute{name, on, true} }

func (f *Field) publishValue(m map[string]any) {
	put(m,
		attribute{"type", f.Type != "", f.Type},
		attribute{"required", f.Required || f.Optional, f.Required},
		attribute{"default", f.Default != nil || f.HasNullDefault, f.Default},
		attribute{"reference", f.Reference != "", f.Reference},
		attribute{"on_delete", f.OnDelete != "", f.OnDelete},
		attribute{"err", f.Err != "", f.Err},
		attribute{"json_schema", f.JSONSchema != nil, f.JSONSchema},
		flag("auto", f.Auto), flag("uuid", f.UUID), flag("timestamp", f.Timestamp),
		attribute{"unique", f.Unique || f.Repeatable, f.Unique}, flag("unique_across_ws", f.UniqueAcrossWS),
		flag("referenceable", f.Referenceable), flag("encrypted", f.Encrypted),
		flag("abstract", f.Abstract), flag("transient", f.Transient),
	)
	if d := f.Deprecation; d != nil {
		m["deprecation"] = d.publish()
	}
}

func (f *Field) publishConstraints(m map[string]any) {
	put(m,
		attribute{"len_min", f.LenMin != nil, f.LenMin},
		attribute{"len_max", f.LenMax != nil, f.LenMax},
		attribute{"len_eq", f.LenEq != nil, f.LenEq},
		attribute{"between", f.Between != nil, f.Between},
		attribute{"gt", f.Gt != nil, f.Gt},
		attribute{"eq", f.Eq != nil, f.Eq},
		attribute{"ne", f.Ne != nil, f.Ne},
		attribute{"one_of", f.OneOf != nil, f.OneOf},
		attribute{"not_one_of", f.NotOneOf != nil, f.NotOneOf},
		attribute{"contains", f.Contains != nil, f.Contains},
		attribute{"mutually_exclusive_subsets", f.MutuallyExclusiveSubsets != nil, f.MutuallyExclusiveSubsets},
	)
}

func (f *Field) publishPatterns(m map[string]any) {
	put(m,
		flag("is_regex", f.IsRegex),
		attribute{"starts_with", f.StartsWith != "", f.StartsWith},
		attribute{"match", f.Match != "", f.Match},
		attribute{"match_all", f.MatchAll != nil, f.MatchAll},
		attribute{"match_none", f.MatchNone != nil, f.MatchNone},
		attribute{"match_any", f.MatchAny != nil, f.MatchAny},
	)
}

func (f *Field) publishParts(m map[string]any) {
	put(m,
		attribute{"elements", f.Elements != nil, f.Elements},
		attribute{"keys", f.Keys != nil, f.Keys},
		attribute{"values", f.Values != nil, f.Values},
		attribute{"fields", f.Fields != nil, publishFields(f.Fields)},
		attribute{"shorthand_fields", f.Shorthands != nil, publishFields(f.Shorthands)},
		attribute{"entity_checks", f.Checks != nil, publishChecks(f.Checks)},
	)
}

func (d *Deprecation) publish() map[string]any {
	m := map[string]any{"message": d.Message}
	put(m,
		attribute{"removal_in_version", d.RemovalInVersion != "", d.RemovalInVersion},
		attribute{"old_default", d.OldDefault != nil, d.OldDefault},
	)
	if len(d.ReplacedWith) > 0 {
		paths := make([]any, len(d.ReplacedWith))
		for i, path := range d.ReplacedWith {
			paths[i] = map[string]any{"path": path}
		}
		m["replaced_with"] = paths
	}
	return m
}

func publishFields(fields []Field) []map[string]*Field {
	list := make([]map[string]*Field, len(fields))
	for i := range fields {
		list[i] = map[string]*Field{fields[i].Name: &fields[i]}
	}
	return list
}

func publishChecks(checks []Check) []map[string]any {
	list := make([]map[string]any, len(checks))
	for i := range checks {
		list[i] = checks[i].publish()
	}
	return list
}

func (c *Check) publish() map[string]any {
	m := make(map[string]any)
	put(m,
		attribute{"at_least_one_of", c.AtLeastOneOf != nil, c.AtLeastOneOf},
		attribute{"only_one_of", c.ExactlyOneOf != nil, c.ExactlyOneOf},
		attribute{"mutually_exclusive", c.MutuallyExclusive != nil, c.MutuallyExclusive},
		attribute{"mutually_required", c.MutuallyRequired != nil, c.MutuallyRequired},
		attribute{"distinct", c.Distinct != nil, c.Distinct},
	)
	if d := c.Conditional; d != nil {
		arg := map[string]any{
			"if_field": d.IfField, "if_match": &d.IfMatch, "then_field": d.ThenField, "then_match": &d.ThenMatch,
		}
		put(arg, attribute{"then_err", d.ThenErr != "", d.ThenErr})
		m["conditional"] = arg
	}
	if d := c.ConditionalAtLeastOneOf; d != nil {
		arg := map[string]any{"if_field": d.IfField, "if_match": &d.IfMatch, "then_at_least_one_of": d.Then}
		put(arg,
			attribute{"then_err", d.ThenErr != "", d.ThenErr},
			attribute{"else_match", d.ElseMatch != nil, d.ElseMatch},
			attribute{"else_then_at_least_one_of", d.ElseThen != nil, d.ElseThen},
			attribute{"else_then_err", d.ElseThenErr != "", d.ElseThenErr},
		)
		m["conditional_at_least_one_of"] = arg
	}
	if d := c.Custom; d != nil {
		arg := make(map[string]any)
		put(arg,
			attribute{"field_sources", d.FieldSources != nil, d.FieldSources},
			flag("run_with_invalid_fields", d.RunWithInvalidFields),
		)
		m["custom_entity_check"] = arg
	}
	return m
}

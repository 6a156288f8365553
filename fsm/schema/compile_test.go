package schema_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

func TestCompileErrors(t *testing.T) {
	field := func(f schema.Field) *schema.Schema {
		f.Name = "a"
		return &schema.Schema{Fields: []schema.Field{f}}
	}
	check := func(c schema.Check) *schema.Schema {
		s := field(schema.Field{Type: schema.String})
		s.Checks = []schema.Check{c}
		return s
	}
	for name, s := range map[string]*schema.Schema{
		"no type":            field(schema.Field{}),
		"unknown type":       field(schema.Field{Type: "text"}),
		"no elements":        field(schema.Field{Type: schema.Set}),
		"no values":          field(schema.Field{Type: schema.Map, Keys: &schema.Field{Type: schema.String}}),
		"no reference":       field(schema.Field{Type: schema.Foreign}),
		"bad pattern":        field(schema.Field{Type: schema.String, Match: "("}),
		"bad pattern of all": field(schema.Field{Type: schema.String, MatchAll: []schema.Pattern{{Pattern: "["}}}),
		"bad pattern of any": field(schema.Field{Type: schema.String, MatchAny: &schema.Patterns{Patterns: []string{"%"}}}),
		"bad default":        field(schema.Field{Type: schema.Integer, Default: "x"}),
		"default too large":  field(schema.Field{Type: schema.Integer, Default: 9, Between: &[2]float64{0, 5}}),
		"no name":            {Fields: []schema.Field{{Type: schema.String}}},
		"the same name":      {Fields: []schema.Field{{Name: "a", Type: schema.String}, {Name: "a", Type: schema.String}}},
		"bad shorthand":      {Shorthands: []schema.Field{{Name: "a", Type: schema.String}}},
		"unknown field":      check(schema.Check{AtLeastOneOf: []string{"b"}}),
		"empty check":        check(schema.Check{}),
		"two checks in one":  check(schema.Check{AtLeastOneOf: []string{"a"}, Distinct: []string{"a"}}),
		"not a record":       check(schema.Check{AtLeastOneOf: []string{"a.b"}}),
		"unknown if":         check(schema.Check{Conditional: &schema.Conditional{IfField: "b", ThenField: "a"}}),
		"unknown then":       check(schema.Check{Conditional: &schema.Conditional{IfField: "a", ThenField: "b"}}),
		"unknown key":        {Fields: []schema.Field{{Name: "a", Type: schema.String}}, SubschemaKey: "b"},
		"bad subschema": {
			Fields: []schema.Field{{Name: "a", Type: schema.String}}, SubschemaKey: "a",
			Subschemas: map[string]*schema.Schema{"x": {Fields: []schema.Field{{Name: "b", Type: schema.String}}}},
		},
	} {
		if err := s.Compile(); !errors.Is(err, schema.ErrDefinition) {
			t.Errorf("%s: got %v, want an error that is ErrDefinition", name, err)
		}
	}
}

func TestWithRefusesWhatDoesNotFit(t *testing.T) {
	for name, sub := range map[string]*schema.Schema{
		"another field": {Fields: []schema.Field{{Name: "foo", Type: schema.String}}},
		"another type":  {Fields: []schema.Field{{Name: "config", Type: schema.String}}},
	} {
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.Is(err, schema.ErrDefinition) {
					t.Errorf("%s: got %v, want a panic with ErrDefinition", name, err)
				}
			}()
			entities.Plugins().With(sub)
		}()
	}
}

// A schema that is described later is like any other, and described once.
func TestLater(t *testing.T) {
	described := 0
	sub := schema.Later("quiet", func() *schema.Schema {
		described++
		return &schema.Schema{Fields: []schema.Field{
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{{Name: "host", Type: schema.String, Required: true}}},
		}}
	})
	s := entities.Plugins().WithSubschemas(map[string]*schema.Schema{"quiet": sub})
	if described != 0 {
		t.Errorf("described %d times before anybody asked", described)
	}
	if _, violation := s.Insert(at(someTime), object(t, `{"name":"quiet"}`)); violation == nil || !strings.Contains(violation.Error(), "config.host: required") {
		t.Errorf("a config without a host: %v", violation)
	}
	if sub.Field("config") == nil || described != 1 {
		t.Errorf("field config %v, described %d times", sub.Field("config"), described)
	}
	sameJSON(t, `{"fields":[{"config":{"type":"record","required":true,"fields":[{"host":{"type":"string","required":true}}]}}],
		"entity_checks":[]}`, sub)
}

// One subschema that does not fit is no harm to the others, and is found by asking for it.
func TestWithSubschemasFindsWhatDoesNotFitWhenItIsPicked(t *testing.T) {
	s := entities.Plugins().WithSubschemas(map[string]*schema.Schema{
		"bad":  {Fields: []schema.Field{{Name: "foo", Type: schema.String}}},
		"good": {Fields: []schema.Field{{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{}}}},
	})
	if _, violation := s.Insert(at(someTime), object(t, `{"name":"good"}`)); violation != nil {
		t.Errorf("the one that fits: %v", violation)
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, schema.ErrDefinition) {
			t.Errorf("got %v, want a panic with ErrDefinition", err)
		}
	}()
	s.For(map[string]any{"name": "bad"})
}

// TestWith: the schema of one plugin alone is what the choice among all plugins comes to.
func TestWith(t *testing.T) {
	s := entities.Plugins().With(rateLimiting())
	got, violation := s.Insert(at(someTime), object(t, `{"name":"rate-limiting","config":{"minute":5}}`))
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, but(t, pluginDefaults, `{"config.minute":5}`), got)
	_, violation = s.Insert(at(someTime), object(t, `{"name":"rate-limiting"}`))
	if violation == nil {
		t.Error("the checks of the plugin are lost")
	}
	if field := s.Field("config"); field == nil || field.Abstract {
		t.Errorf("config is %v, want the one of the plugin", field)
	}
	if field := s.Field("foo"); field != nil {
		t.Errorf("foo is %v, want nil", field)
	}
}

// TestWithComplete: what the schema below fills in, the one above sees; and each works alone.
func TestWithComplete(t *testing.T) {
	add := func(word string) func(map[string]any) {
		return func(entity map[string]any) {
			text, _ := entity["text"].(string)
			entity["text"] = text + word
		}
	}
	fields := []schema.Field{{Name: "text", Type: schema.String}}
	for _, c := range []struct {
		base, sub func(map[string]any)
		want      any
	}{
		{nil, nil, nil},
		{add("a"), nil, "a"},
		{nil, add("b"), "b"},
		{add("a"), add("b"), "ab"},
	} {
		s := schema.Must(&schema.Schema{Name: "base", Fields: fields, Complete: c.base}).With(&schema.Schema{Name: "sub", Complete: c.sub})
		got, violation := s.Insert(at(someTime), map[string]any{})
		if violation != nil || got["text"] != c.want {
			t.Errorf("text %v, want %v; %v", got["text"], c.want, violation)
		}
	}
}

func TestFieldAttributes(t *testing.T) {
	cases := []struct {
		field          schema.Field
		value, message string
	}{
		{schema.Field{Type: schema.String, Eq: "x"}, `"y"`, "value must be x"},
		{schema.Field{Type: schema.Integer, Eq: 1}, `null`, "value must be 1"},
		{schema.Field{Type: schema.Boolean, Ne: true}, `true`, "value must not be true"},
		{schema.Field{Type: schema.Boolean, Ne: schema.Null}, `null`, "value must not be null"},
		{schema.Field{Type: schema.Integer, NotOneOf: []any{1, 2}}, `2`, "must not be one of: 1, 2"},
		{schema.Field{Type: schema.Number, OneOf: []any{0.5, 2}}, `1`, "expected one of: 0.5, 2"},
		{schema.Field{Type: schema.Number, Gt: new(0.02)}, `0.01`, "value must be greater than 0.02"},
		{schema.Field{Type: schema.String, LenMax: new(2)}, `"abc"`, "length must be at most 2"},
		{schema.Field{Type: schema.String, LenMin: new(2)}, `"a"`, "length must be at least 2"},
		{schema.Field{Type: schema.String, IsRegex: true}, `"("`, "not a valid regex: ("},
		{schema.Field{Type: schema.String, Match: "^a", Err: "own words"}, `"b"`, "own words"},
		{schema.Field{Type: schema.Array, Contains: "a", Elements: &schema.Field{Type: schema.String}}, `["b"]`, "expected to contain: a"},
		{schema.Field{Type: schema.Map, LenEq: new(1), Keys: &schema.Field{Type: schema.String},
			Values: &schema.Field{Type: schema.JSON}}, `{}`, "length must be 1"},
		{schema.Field{Type: schema.JSON}, `[1,{"b":1e999}]`, "expected a number"},
		{schema.Field{Type: schema.Number}, `1e999`, "expected a number"},
		{schema.Field{Type: schema.String}, `1`, "expected a string"},
		{schema.Field{Type: schema.Record, Abstract: true}, `{}`, "error in schema definition: abstract field was not specialized"},
		{schema.Field{Type: schema.String, Custom: func(any) error { return errors.New("no") }}, `"a"`, "no"},
	}
	for _, c := range cases {
		c.field.Name = "a"
		s := schema.Must(&schema.Schema{Fields: []schema.Field{c.field}})
		entity, violation := s.Insert(at(someTime), object(t, `{"a":`+c.value+`}`))
		if violation == nil {
			t.Errorf("%s is accepted as %v, want %s", c.value, entity, c.message)
			continue
		}
		if got := violation.Error(); got != "schema violation (a: "+c.message+")" {
			t.Errorf("%s: got %s, want %s", c.value, got, c.message)
		}
	}
}

func TestInvalidUTF8(t *testing.T) {
	s := entities.Consumers()
	_, violation := s.Insert(at(someTime), s.FromForm(map[string]any{"username": "a\xff"}))
	if violation == nil {
		t.Fatal("a string that JSON cannot hold is accepted")
	}
	sameJSON(t, `{"username":"invalid utf-8 character sequence detected at position 2"}`, violation)
}

// TestChecks has the kinds of checks that the entities of these tests do not use.
func TestChecks(t *testing.T) {
	fields := []schema.Field{
		{Name: "a", Type: schema.String}, {Name: "b", Type: schema.String}, {Name: "c", Type: schema.Integer},
		{Name: "r", Type: schema.Record, Fields: []schema.Field{{Name: "x", Type: schema.String}}},
	}
	custom := func(violation error) schema.Check {
		return schema.Check{Custom: &schema.CustomCheck{
			FieldSources: []string{"a", "c"}, Func: func(map[string]any) error { return violation },
		}}
	}
	for _, c := range []struct {
		check        schema.Check
		body, fields string // fields is empty for a body that is valid
	}{
		{schema.Check{MutuallyExclusive: []string{"a", "b"}}, `{"a":"x","b":"y"}`,
			`{"@entity":["only one or none of these fields must be set: 'a', 'b'"]}`},
		{schema.Check{MutuallyExclusive: []string{"a", "b"}}, `{"a":"x"}`, ``},
		{schema.Check{MutuallyExclusive: []string{"a", "b"}}, `{"a":"x","b":1}`, `{"b":"expected a string"}`},
		{schema.Check{MutuallyRequired: []string{"a", "b"}}, `{"a":"x"}`,
			`{"@entity":["all or none of these fields must be set: 'a', 'b'"]}`},
		{schema.Check{MutuallyRequired: []string{"a", "b"}}, `{}`, ``},
		{schema.Check{Distinct: []string{"a", "b"}}, `{"a":"x","b":"x"}`,
			`{"@entity":["values of these fields must be distinct: 'a', 'b'"]}`},
		{schema.Check{Distinct: []string{"a", "b"}}, `{"a":null,"b":null}`, ``},
		{schema.Check{Distinct: []string{"a", "r.x"}}, `{"a":"x"}`, `{"r":{"x":"field required for entity check"}}`},
		{schema.Check{ExactlyOneOf: []string{"a", "b"}}, `{}`,
			`{"@entity":["exactly one of these fields must be non-empty: 'a', 'b'"]}`},
		{schema.Check{AtLeastOneOf: []string{"r.x"}}, `{"r":5}`, `{"r":"expected a record"}`},
		{custom(errors.New("no")), `{}`, `{"@entity":["no"]}`},
		{custom(errors.New("no")), `{"c":"x"}`, `{"c":"expected an integer"}`},
		{custom(schema.FieldViolation("r.x", "no")), `{}`, `{"r":{"x":"no"}}`},
		{custom(schema.EntityViolation("no", "never")), `{}`, `{"@entity":["no","never"]}`},
		{custom(nil), `{}`, ``},
	} {
		s := schema.Must(&schema.Schema{Fields: fields, Checks: []schema.Check{c.check}})
		_, violation := s.Insert(at(someTime), object(t, c.body))
		switch {
		case violation == nil && c.fields != "":
			t.Errorf("%s is accepted, want %s", c.body, c.fields)
		case violation != nil && c.fields == "":
			t.Errorf("%s: %v", c.body, violation)
		case violation != nil:
			sameJSON(t, c.fields, violation)
		}
	}
}

func TestShorthandsWithinParts(t *testing.T) {
	item := schema.Field{
		Type:   schema.Record,
		Fields: []schema.Field{{Name: "host", Type: schema.String}, {Name: "port", Type: schema.Integer, Default: 80}},
		Shorthands: []schema.Field{{Name: "server", Type: schema.String, Deprecation: &schema.Deprecation{
			Message: "use host", ReplacedWith: [][]string{{"host"}},
		}}},
	}
	s := schema.Must(&schema.Schema{Fields: []schema.Field{
		{Name: "list", Type: schema.Array, Elements: &item},
		{Name: "map", Type: schema.Map, Keys: &schema.Field{Type: schema.String}, Values: &item},
		{Name: "any", Type: schema.JSON},
	}})
	const want = `{"list":[{"host":"h","server":"h","port":80}],"map":{"a":{"host":"g","server":"g","port":1}},
		"any":[{"x":1.5,"y":["z"]},null]}`
	got, violation := s.Insert(at(someTime), object(t, `{"list":[{"server":"h"}],"map":{"a":{"server":"g","port":1}},
		"any":[{"x":1.5,"y":["z"]},null]}`))
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, want, got)
	got, violation = s.Update(at(someTime), got, nil)
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, want, got)
	_, violation = s.Insert(at(someTime), object(t, `{"list":[{"host":"h"},{"server":5}],"map":{"a":{"server":7}}}`))
	if violation == nil {
		t.Fatal("shorthands of the wrong type are accepted")
	}
	sameJSON(t, `{"list":[null,{"server":"expected a string"}],"map":{"server":"expected a string"}}`, violation)
}

// TestPublishPlugin compares what a plugin's schema publishes with what Kong publishes.
func TestPublishPlugin(t *testing.T) {
	folder := os.Getenv("SLUICE_KONG_REFERENCE")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "reference")
	}
	reference, err := os.ReadFile(filepath.Join(folder, "kong-schemas", "plugin-rate-limiting.json"))
	if err != nil {
		t.Skipf("no reference schemas: set SLUICE_KONG_REFERENCE: %v", err)
	}
	sameJSON(t, string(reference), rateLimiting())
}

func TestPublishAttributes(t *testing.T) {
	s := &schema.Schema{Fields: []schema.Field{
		{Name: "a", Type: schema.String, Optional: true, HasNullDefault: true, LenMax: new(3), Eq: schema.Null, Transient: true},
		{Name: "b", Type: schema.Integer, Deprecation: &schema.Deprecation{Message: "m", OldDefault: 1}},
	}, Checks: []schema.Check{
		{ExactlyOneOf: []string{"a", "b"}},
		{ConditionalAtLeastOneOf: &schema.ConditionalAtLeastOneOf{
			IfField: "a", IfMatch: schema.Field{Eq: "x"}, Then: []string{"b"}, ThenErr: "e",
		}},
		{Custom: &schema.CustomCheck{FieldSources: []string{"a"}, RunWithInvalidFields: true}},
	}}
	sameJSON(t, `{"fields":[
		{"a":{"type":"string","required":false,"default":null,"len_max":3,"eq":null,"transient":true}},
		{"b":{"type":"integer","deprecation":{"message":"m","old_default":1}}}
	],"entity_checks":[
		{"only_one_of":["a","b"]},
		{"conditional_at_least_one_of":{"if_field":"a","if_match":{"eq":"x"},"then_at_least_one_of":["b"],"then_err":"e"}},
		{"custom_entity_check":{"field_sources":["a"],"run_with_invalid_fields":true}}
	]}`, s)
	if text, err := json.Marshal(schema.Null); err != nil || string(text) != "null" {
		t.Errorf("Null is %s, %v", text, err)
	}
}

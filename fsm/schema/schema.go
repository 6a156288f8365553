// Package schema describes entities and plugins as data, and checks values against that description.
//
// One literal per entity drives everything that depends on its shape: types, defaults, constraints,
// cross-field checks, the decoding of form bodies, and what GET /schemas/* publishes. The messages are
// Kong's, to the letter, because Kong's clients and their tests compare them.
//
// The package is pure: no clock, no randomness, no I/O. What an entity needs of those comes in a Context.
// A compiled Schema is immutable and safe for concurrent use.
//
// Canonical Go values, which every method returns: nil, bool, string, int64 (integer fields), float64
// (number fields), []any and map[string]any.
package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrDefinition is wrapped by every error about a schema literal that cannot be compiled.
var ErrDefinition = errors.New("invalid schema definition")

// Type is the type of a field, as Kong's schemas spell it.
type Type string

// The types of fields. JSON holds any decoded JSON value unchecked.
const (
	String  Type = "string"
	Number  Type = "number"
	Integer Type = "integer"
	Boolean Type = "boolean"
	Array   Type = "array"
	Set     Type = "set" // an array without duplicates, in the order given
	Map     Type = "map"
	Record  Type = "record"
	Foreign Type = "foreign" // {"id": uuid}, or a unique field of the parent until it is resolved
	JSON    Type = "json"
)

// Null stands for null in a literal, where nil means "not set": Eq: schema.Null.
const Null nullValue = 0

type nullValue int

// MarshalJSON writes null.
func (nullValue) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// Field describes one field. The zero value of each attribute means that the attribute is not set, and
// only attributes that are set are published.
//
// A field that is not Required may be null. A string without LenMin must have a length of at least 1.
// Elements, keys and values are always required: null is not an element.
type Field struct {
	Name string // not used for elements, keys and values
	Type Type

	Required bool
	Optional bool // publishes "required": false; Kong does for some fields, without a further meaning

	Default        any  // taken when the field is absent (not when it is null)
	HasNullDefault bool // publishes "default": null

	Auto           bool // filled in on insert: an id, a time, or 32 random alphanumerics
	Derived        bool // Auto, but left to Schema.Complete
	UUID           bool
	Timestamp      bool // Integer: Unix time in seconds; Number: seconds with milliseconds
	Unique         bool
	Repeatable     bool // publishes "unique": false, without a further meaning
	UniqueAcrossWS bool

	LenMin, LenMax, LenEq *int // bytes of a string, elements of an array, set or map
	Between               *[2]float64
	Gt                    *float64
	Eq, Ne                any
	OneOf, NotOneOf       []any

	IsRegex    bool // must compile as a regular expression (RE2)
	StartsWith string
	Match      string    // a Lua pattern, as are all patterns below
	MatchAll   []Pattern // each must match
	MatchNone  []Pattern // none may match
	MatchAny   *Patterns // at least one must match
	Contains   any       // an element that an array or set must have

	MutuallyExclusiveSubsets [][]string

	Elements     *Field // of an Array or a Set
	Keys, Values *Field // of a Map

	Fields     []Field // of a Record
	Shorthands []Field // of a Record: other spellings of its fields, see Expand
	Checks     []Check // of a Record

	Reference string // Foreign: the name of the parent's schema
	OnDelete  string // Foreign: "cascade", or empty for restrict

	Referenceable bool // may hold {vault://...} instead of a value
	Encrypted     bool
	Abstract      bool // must be replaced by a subschema, see With
	Transient     bool

	JSONSchema  any // published for fields of type JSON
	Err         string
	Deprecation *Deprecation

	// Custom runs after all other constraints of the field hold. The error's text is the message;
	// a *Violation takes the place of the message with its Fields.
	Custom func(value any) error

	// Expand turns the value of a shorthand into fields of its record. A shorthand without Expand
	// must have one Deprecation.ReplacedWith path, where the value then goes.
	Expand func(value any) map[string]any
}

// Pattern is a Lua pattern and the message for a value that breaks it.
type Pattern struct {
	Pattern string `json:"pattern"`
	Err     string `json:"err,omitempty"`
}

// Patterns are Lua patterns of which one must match.
type Patterns struct {
	Patterns []string `json:"patterns"`
	Err      string   `json:"err,omitempty"`
}

// Deprecation marks a field that clients should no longer use.
type Deprecation struct {
	Message          string
	RemovalInVersion string
	OldDefault       any
	// ReplacedWith holds the paths, within the record, of the fields that took over. A shorthand
	// that has any is echoed in every output with the value at the first of them.
	ReplacedWith [][]string
}

// Schema describes an entity, or what a plugin changes in the plugins entity. Write it as a literal and
// compile it with Must, or lay it over another one with With; only a compiled schema can check values.
type Schema struct {
	Name       string
	Fields     []Field
	Shorthands []Field // not published
	Checks     []Check
	TTL        bool // entities may carry a "ttl" in seconds, see TTLMax

	// Imply adds to what a client sent what that says of other fields, before defaults and stored values
	// come to it. in holds canonical values.
	Imply func(in map[string]any)

	// Complete fills in what a valid entity's other fields determine (Kong's transformations). It may change
	// the entity, and must give the same for the same fields.
	Complete func(entity map[string]any)

	// Seal runs last and puts a hash in the place of a secret that was written. An error makes the entity
	// invalid.
	Seal func(w Written) error

	// SubschemaKey names the field whose value (or, for a set, whose first known element) picks one
	// of the Subschemas, each of which is laid over this schema. SubschemaError is the message for a
	// value that picks none, with one %s for that value; empty for "unknown type: %s".
	SubschemaKey   string
	SubschemaError string
	Subschemas     map[string]*Schema

	later    func() *Schema // see Later
	root     *record
	variants map[string]func() *Schema
}

// Context supplies what a pure package cannot make by itself. Its functions are required.
type Context struct {
	Now       func() time.Time
	NewID     func() string // a new random UUID
	NewSecret func() string // 32 random alphanumerics, for keys and secrets
	// Sealed says that secrets come as they are to be stored, out of a dump: Seal is not run.
	Sealed bool
}

// Written is an entity on its way to be stored.
type Written struct {
	Context
	Entity map[string]any // valid and complete; Seal may change it
	Before map[string]any // as stored until now, in canonical values; nil for a new entity
	in     map[string]any
}

// Given says whether a client has written a field. Of a new entity every field counts as written, those
// that were made up for it too.
func (w Written) Given(field string) bool {
	_, given := w.in[field]
	return given || w.Before == nil
}

// Strings makes the []any that OneOf and its kind want out of strings.
func Strings(values ...string) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// Must compiles a literal and returns it. It panics on a literal that is wrong in itself, like
// regexp.MustCompile, and is meant for start-up; Compile is the variant that returns an error.
func Must(s *Schema) *Schema {
	if err := s.Compile(); err != nil {
		panic(err)
	}
	return s
}

// Later returns a schema that is described when it is first looked at, published or laid over another one; it
// cannot check values itself. Descriptions are large, and most are never asked for.
func Later(name string, describe func() *Schema) *Schema {
	return &Schema{Name: name, later: sync.OnceValue(describe)}
}

// described gives the schema, or what describes it.
func (s *Schema) described() *Schema {
	if s.later != nil {
		return s.later()
	}
	return s
}

// Compile checks the literal and prepares it for use. It must not run concurrently with any other method.
// The error wraps ErrDefinition.
func (s *Schema) Compile() error {
	root, err := compileRecord(s.Fields, s.Shorthands, s.Checks)
	if err != nil {
		return fmt.Errorf("schema %s: %w", s.Name, err)
	}
	variants := make(map[string]func() *Schema, len(s.Subschemas))
	for key, sub := range s.Subschemas {
		variant, err := s.overlay(sub)
		if err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		variants[key] = func() *Schema { return variant }
	}
	if s.SubschemaKey != "" && root.index[s.SubschemaKey] == nil {
		return fmt.Errorf("schema %s: %w: no field %s to pick a subschema by", s.Name, ErrDefinition, s.SubschemaKey)
	}
	s.root, s.variants = root, variants
	return nil
}

// With returns a new compiled schema: this one with sub laid over it. Fields of sub replace the fields of
// the same name, its checks and its Complete come after the existing ones; its Imply and Seal are not looked
// at. It panics when sub does not fit
// (a field that this schema lacks, another type), so it belongs into start-up code.
func (s *Schema) With(sub *Schema) *Schema {
	merged, err := s.overlay(sub)
	if err != nil {
		panic(fmt.Errorf("schema %s: %w", s.Name, err))
	}
	return merged
}

// WithSubschemas returns a new compiled schema that picks among subs by the field SubschemaKey. A sub is laid
// over this schema when it is first picked: a node knows dozens of plugins and is asked about a few. One that
// does not fit panics then, like With; For picks one ahead of time.
func (s *Schema) WithSubschemas(subs map[string]*Schema) *Schema {
	picking := Must(&Schema{
		Name: s.Name, Fields: s.Fields, Shorthands: s.Shorthands, Checks: s.Checks, TTL: s.TTL,
		Imply: s.Imply, Complete: s.Complete, Seal: s.Seal,
		SubschemaKey: s.SubschemaKey, SubschemaError: s.SubschemaError,
	})
	picking.Subschemas = maps.Clone(subs)
	for key, sub := range subs {
		picking.variants[key] = sync.OnceValue(func() *Schema { return s.With(sub) })
	}
	return picking
}

// overlay is With, with an error for a sub that does not fit.
func (s *Schema) overlay(sub *Schema) (*Schema, error) {
	sub = sub.described()
	fields := slices.Clone(s.Fields)
	for _, f := range sub.Fields {
		i := slices.IndexFunc(fields, func(base Field) bool { return base.Name == f.Name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("%w: %s: %s: a subschema cannot add a field", ErrDefinition, sub.Name, f.Name)
		case fields[i].Type != f.Type && (fields[i].Type != Record || f.Type != JSON):
			return nil, fmt.Errorf("%w: %s: %s: a subschema cannot change a type", ErrDefinition, sub.Name, f.Name)
		}
		fields[i] = f
	}
	merged := &Schema{
		Name: s.Name, TTL: s.TTL || sub.TTL, Fields: fields, Imply: s.Imply, Seal: s.Seal,
		Complete:   inTurn(s.Complete, sub.Complete),
		Shorthands: slices.Concat(s.Shorthands, sub.Shorthands),
		Checks:     slices.Concat(s.Checks, sub.Checks),
	}
	return merged, merged.Compile()
}

// inTurn is first, then second; either may be nil.
func inTurn(first, second func(map[string]any)) func(map[string]any) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(entity map[string]any) {
		first(entity)
		second(entity)
	}
}

// For returns the schema that applies to an entity: the variant its SubschemaKey picks, or the schema
// itself when there are no subschemas or none is picked.
func (s *Schema) For(entity map[string]any) *Schema {
	if variant := s.variant(entity); variant != nil {
		return variant
	}
	return s
}

// variant returns the variant that the entity picks, nil if there is none.
func (s *Schema) variant(entity map[string]any) *Schema {
	if s.SubschemaKey == "" {
		return nil
	}
	value, ok := entity[s.SubschemaKey]
	if !ok {
		value = s.compiled().index[s.SubschemaKey].fallback
	}
	names, _ := value.([]any)
	if name, ok := value.(string); ok {
		names = []any{name}
	}
	for _, element := range names {
		if name, ok := element.(string); ok && s.variants[name] != nil {
			return s.variants[name]()
		}
	}
	return nil
}

// pick is For, with the violation that an entity without a known variant is.
func (s *Schema) pick(entity map[string]any) (*Schema, *Violation) {
	if s.SubschemaKey == "" {
		return s, nil
	}
	if variant := s.variant(entity); variant != nil {
		return variant, nil
	}
	value, given := entity[s.SubschemaKey]
	if !given || value == nil {
		return nil, violate(s.SubschemaKey, msgRequired)
	}
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	if name, ok := value.(string); ok {
		format := s.SubschemaError
		if format == "" {
			format = "unknown type: %s"
		}
		return nil, violate(s.SubschemaKey, fmt.Sprintf(format, name))
	}
	var v validator
	n := s.compiled().index[s.SubschemaKey]
	return nil, violate(s.SubschemaKey, v.value(n, canonical(n, entity[s.SubschemaKey])))
}

// compiled returns the compiled form. A schema that was never compiled is a mistake in start-up code that
// the first test meets.
func (s *Schema) compiled() *record {
	if s.root == nil {
		panic("schema " + s.Name + ": used before Must, Compile or With")
	}
	return s.root
}

// Field returns the description of a top-level field, nil if there is none. It must not be changed.
func (s *Schema) Field(name string) *Field {
	s = s.described()
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return &s.Fields[i]
		}
	}
	return nil
}

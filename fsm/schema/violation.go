package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TTLMax is the largest "ttl" of an entity, in seconds.
const TTLMax = 100_000_000

// Violation says what is wrong with an entity (Kong's error code 2, "schema violation") or, if Options is
// set, with an option that came along with it (code 11, "invalid options").
//
// Fields mirrors the entity: a message, an []any with nil for elements that are right, or a map by field
// name; messages that concern several fields are an []any under "@entity".
type Violation struct {
	Fields  map[string]any
	Options bool
}

// violate makes a violation of one field.
func violate(field string, problem any) *Violation {
	return &Violation{Fields: map[string]any{field: problem}}
}

// EntityViolation makes a violation with messages that concern the entity as a whole.
func EntityViolation(messages ...string) *Violation {
	return &Violation{Fields: map[string]any{entityKey: Strings(messages...)}}
}

// FieldViolation makes a violation with one message for a field, given by its dotted path.
func FieldViolation(path, message string) *Violation {
	return &Violation{Fields: nest(strings.Split(path, "."), message)}
}

// Error returns Kong's message: "schema violation (...)" for one problem, "2 schema violations (...; ...)"
// for more; messages for the whole entity first, then by field name.
func (v *Violation) Error() string {
	one, many := "schema violation", "schema violations"
	if v.Options {
		one, many = "invalid option", "option violations"
	}
	problems := v.problems()
	if len(problems) == 1 {
		return fmt.Sprintf("%s (%s)", one, problems[0])
	}
	return fmt.Sprintf("%d %s (%s)", len(problems), many, strings.Join(problems, "; "))
}

// problems lists the problems two levels deep; what lies deeper is printed as a Lua table.
func (v *Violation) problems() []string {
	var list []string
	entity, ok := v.Fields[entityKey].([]any)
	for _, message := range entity {
		list = append(list, text(message))
	}
	for _, field := range slices.Sorted(maps.Keys(v.Fields)) {
		if field == entityKey && ok { // a client may send a field of that name
			continue
		}
		switch problem := v.Fields[field].(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(problem)) {
				list = append(list, fmt.Sprintf("%s.%s: %s", field, name, luaPretty(problem[name])))
			}
		case []any:
			for i, element := range problem {
				if element != nil {
					list = append(list, fmt.Sprintf("%s.%d: %s", field, i+1, luaPretty(element)))
				}
			}
		default:
			list = append(list, field+": "+text(problem))
		}
	}
	return list
}

// MarshalJSON writes Fields, which is the "fields" (or "options") object of Kong's error body.
func (v *Violation) MarshalJSON() ([]byte, error) { return json.Marshal(v.Fields) }

// takeTTL removes the "ttl" option from an entity whose schema has one, and returns it: seconds as an
// int64, nil for none. 0 means none, too.
func (s *Schema) takeTTL(entity map[string]any) (any, *Violation) {
	if !s.TTL {
		return nil, nil
	}
	value := entity["ttl"]
	delete(entity, "ttl")
	if value == nil {
		return nil, nil
	}
	if number, ok := float(value); ok && isInt64(number) && 0 <= number && number <= TTLMax {
		if number == 0 {
			return nil, nil
		}
		return int64(number), nil
	}
	message := fmt.Sprintf("must be an integer between 0 and %d", TTLMax)
	return nil, &Violation{Options: true, Fields: map[string]any{"ttl": message}}
}

package schema

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The messages that Kong gives, and on which its clients rely.
const (
	msgRequired         = "required field missing"
	msgRequiredForCheck = "field required for entity check"
	msgUnknown          = "unknown field"
	msgAbstract         = "error in schema definition: abstract field was not specialized"
	msgMissingPK        = "missing primary key"
	msgUUID             = "expected a valid UUID"
	msgTimestamp        = "expected a valid timestamp"

	msgEq               = "value must be %s"
	msgNe               = "value must not be %s"
	msgGt               = "value must be greater than %s"
	msgBetween          = "value should be between %d and %d"
	msgLenEq            = "length must be %d"
	msgLenMin           = "length must be at least %d"
	msgLenMax           = "length must be at most %d"
	msgInvalid          = "invalid value: %v"
	msgStartsWith       = "should start with: %s"
	msgContains         = "expected to contain: %s"
	msgOneOf            = "expected one of: %s"
	msgNotOneOf         = "must not be one of: %s"
	msgIsRegex          = "not a valid regex: %s"
	msgExclusiveSubsets = "these sets are mutually exclusive: %s"
)

// rule is one constraint of a field. It returns nil for a value that keeps it, else the message, or the
// tree of messages, for one that does not. The value has the field's type and is not nil.
type rule func(value any) any

// compileRules lists the constraints of a field in the order in which Kong tries them; only the first
// one broken is reported.
func compileRules(f *Field) ([]rule, error) {
	var rules []rule
	add := func(r rule) { rules = append(rules, r) }

	addEquality(f, add)
	addNumeric(f, add)
	if f.IsRegex {
		add(func(v any) any {
			if _, err := regexp.Compile(text(v)); err != nil {
				return fmt.Sprintf(msgIsRegex, text(v))
			}
			return nil
		})
	}
	addLengths(f, add)
	if err := addPatterns(f, add); err != nil {
		return nil, err
	}
	if f.Contains != nil {
		add(containsRule(f.Contains))
	}
	if f.Custom != nil {
		add(customRule(f.Custom))
	}
	if len(f.MutuallyExclusiveSubsets) > 0 {
		add(exclusiveRule(f.MutuallyExclusiveSubsets))
	}
	return rules, nil
}

func addEquality(f *Field, add func(rule)) {
	// null is compared before a value reaches any rule, see validator.value
	if f.Eq != nil && f.Eq != Null {
		want := plain(f.Eq)
		add(func(v any) any {
			if equal(v, want) {
				return nil
			}
			return fmt.Sprintf(msgEq, text(want))
		})
	}
	if f.Ne != nil && f.Ne != Null {
		unwanted := plain(f.Ne)
		add(func(v any) any {
			if !equal(v, unwanted) {
				return nil
			}
			return fmt.Sprintf(msgNe, text(v))
		})
	}
	if len(f.NotOneOf) > 0 {
		has, list := options(f.NotOneOf)
		add(func(v any) any {
			if !has(v) {
				return nil
			}
			return fmt.Sprintf(msgNotOneOf, list)
		})
	}
	if f.OneOf != nil { // an empty list accepts nothing
		has, list := options(f.OneOf)
		add(func(v any) any {
			if has(v) {
				return nil
			}
			return fmt.Sprintf(msgOneOf, list)
		})
	}
}

func addNumeric(f *Field, add func(rule)) {
	if f.Gt != nil {
		limit := *f.Gt
		add(func(v any) any {
			if number, ok := float(v); ok && number > limit {
				return nil
			}
			return fmt.Sprintf(msgGt, luaNumber(limit))
		})
	}
	if f.Timestamp {
		add(func(v any) any {
			if number, ok := float(v); ok && number > 0 {
				return nil
			}
			return msgTimestamp
		})
	}
	if f.UUID {
		add(func(v any) any {
			if s, ok := v.(string); ok && IsUUID(s) {
				return nil
			}
			return msgUUID
		})
	}
	if f.Between != nil {
		low, high := f.Between[0], f.Between[1]
		add(func(v any) any {
			if number, ok := float(v); ok && low <= number && number <= high {
				return nil
			}
			return fmt.Sprintf(msgBetween, int64(low), int64(high))
		})
	}
}

func addLengths(f *Field, add func(rule)) {
	if f.LenEq != nil {
		want := *f.LenEq
		add(func(v any) any {
			if length(v) == want {
				return nil
			}
			return fmt.Sprintf(msgLenEq, want)
		})
	}
	least := 0
	if f.Type == String {
		least = 1
	}
	if f.LenMin != nil {
		least = *f.LenMin
	}
	if least > 0 {
		add(func(v any) any {
			if length(v) >= least {
				return nil
			}
			return fmt.Sprintf(msgLenMin, least)
		})
	}
	if f.LenMax != nil {
		most := *f.LenMax
		add(func(v any) any {
			if length(v) <= most {
				return nil
			}
			return fmt.Sprintf(msgLenMax, most)
		})
	}
}

func addPatterns(f *Field, add func(rule)) error {
	if prefix := f.StartsWith; prefix != "" {
		add(func(v any) any {
			if strings.HasPrefix(text(v), prefix) {
				return nil
			}
			return fmt.Sprintf(msgStartsWith, prefix)
		})
	}
	if err := addEach(f.MatchNone, false, add); err != nil {
		return err
	}
	if f.Match != "" {
		if err := addEach([]Pattern{{Pattern: f.Match}}, true, add); err != nil {
			return err
		}
	}
	if err := addEach(f.MatchAll, true, add); err != nil {
		return err
	}
	if f.MatchAny == nil {
		return nil
	}
	var alternatives []*regexp.Regexp
	for _, pattern := range f.MatchAny.Patterns {
		re, err := compilePattern(pattern)
		if err != nil {
			return err
		}
		alternatives = append(alternatives, re)
	}
	message := f.MatchAny.Err
	add(func(v any) any {
		for _, re := range alternatives {
			if re.MatchString(text(v)) {
				return nil
			}
		}
		return patternMessage(message, v)
	})
	return nil
}

// addEach adds one rule per pattern, which must match, or must not.
func addEach(patterns []Pattern, wanted bool, add func(rule)) error {
	for _, p := range patterns {
		re, err := compilePattern(p.Pattern)
		if err != nil {
			return err
		}
		add(func(v any) any {
			if re.MatchString(text(v)) == wanted {
				return nil
			}
			return patternMessage(p.Err, v)
		})
	}
	return nil
}

func patternMessage(message string, v any) any {
	if message == "" {
		return fmt.Sprintf(msgInvalid, v)
	}
	return message
}

func containsRule(wanted any) rule {
	want := plain(wanted)
	return func(v any) any {
		list, _ := v.([]any)
		for _, element := range list {
			if equal(element, want) {
				return nil
			}
		}
		return fmt.Sprintf(msgContains, text(want))
	}
}

func customRule(custom func(any) error) rule {
	return func(v any) any {
		err := custom(v)
		if err == nil {
			return nil
		}
		if v, ok := errors.AsType[*Violation](err); ok {
			return v.Fields
		}
		return err.Error()
	}
}

// exclusiveRule reports the subsets of which a set has members, when they are more than one, in the order
// in which the members come.
func exclusiveRule(subsets [][]string) rule {
	home := make(map[string]int)
	for i, subset := range subsets {
		for _, member := range subset {
			home[member] = i
		}
	}
	return func(v any) any {
		list, _ := v.([]any)
		seen := make(map[int]bool)
		var quoted []string
		for _, element := range list {
			member, _ := element.(string)
			i, ok := home[member]
			if !ok || seen[i] {
				continue
			}
			seen[i] = true
			quoted = append(quoted, "("+quoteList(subsets[i])+")")
		}
		if len(quoted) <= 1 {
			return nil
		}
		return fmt.Sprintf(msgExclusiveSubsets, strings.Join(quoted, ", "))
	}
}

// options prepares a list for membership tests, and as Kong prints it.
func options(list []any) (has func(any) bool, printed string) {
	values := make([]any, len(list))
	names := make([]string, len(list))
	for i, option := range list {
		values[i] = plain(option)
		names[i] = text(values[i])
	}
	has = func(v any) bool {
		for _, option := range values {
			if equal(v, option) {
				return true
			}
		}
		return false
	}
	return has, strings.Join(names, ", ")
}

// equal compares scalars as Lua does: 1 and 1.0 are the same number.
func equal(a, b any) bool {
	if x, ok := float(a); ok {
		y, ok := float(b)
		return ok && x == y
	}
	switch a.(type) {
	case nil, bool, string:
		return a == b
	}
	return false
}

// float returns a canonical number as a float64.
func float(v any) (float64, bool) {
	switch number := v.(type) {
	case int64:
		return float64(number), true
	case float64:
		return number, true
	}
	return 0, false
}

// length returns the bytes of a string or the parts of an array, a set or a map.
func length(v any) int {
	switch value := v.(type) {
	case string:
		return len(value)
	case []any:
		return len(value)
	case map[string]any:
		return len(value)
	}
	return 0
}

// text returns a scalar as Lua's tostring prints it.
func text(v any) string {
	switch value := v.(type) {
	case string:
		return value
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(value)
	}
	if number, ok := float(v); ok {
		return luaNumber(number)
	}
	return fmt.Sprint(v)
}

// luaNumber prints a number as Lua 5.1 does, with %.14g.
func luaNumber(number float64) string {
	return strings.Replace(fmt.Sprintf("%.14g", number), "+Inf", "inf", 1)
}

// quoteList prints names as 'a', 'b'.
func quoteList(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "'" + name + "'"
	}
	return strings.Join(quoted, ", ")
}

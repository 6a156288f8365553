package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// entityKey is where messages that concern several fields go.
const entityKey = "@entity"

// Check is a constraint across the fields of one record. Exactly one member is set. Fields are named by
// dotted paths, such as config.redis.host. A field is empty if it is null, "", [] or {}.
type Check struct {
	AtLeastOneOf      []string // one is not empty
	ExactlyOneOf      []string // one is not empty, the others are (only_one_of)
	MutuallyExclusive []string // at most one is not empty
	MutuallyRequired  []string // all are empty, or none
	Distinct          []string // those that are not empty differ

	Conditional             *Conditional
	ConditionalAtLeastOneOf *ConditionalAtLeastOneOf
	Custom                  *CustomCheck
}

// Conditional demands ThenMatch of one field if another one keeps IfMatch. Both matches are the described
// field with the attributes given here on top.
type Conditional struct {
	IfField   string
	IfMatch   Field
	ThenField string
	ThenMatch Field
	ThenErr   string // replaces the message of the check, not that of the field; one %s is IfField
}

// ConditionalAtLeastOneOf demands one of the Then fields if IfField keeps IfMatch; else, if it keeps
// ElseMatch, one of the ElseThen fields. In the messages, one %s is the list of fields.
type ConditionalAtLeastOneOf struct {
	IfField     string
	IfMatch     Field
	Then        []string
	ThenErr     string
	ElseMatch   *Field
	ElseThen    []string
	ElseThenErr string
}

// CustomCheck is a check in Go. It runs if none of its FieldSources has a problem, or whatever they have
// if RunWithInvalidFields. The error's text goes to "@entity"; a *Violation adds its Fields instead. The
// record must not be changed. A check without Func and Timed is published and does nothing.
type CustomCheck struct {
	FieldSources         []string
	RunWithInvalidFields bool
	Func                 func(record map[string]any) error
	// Timed is a Func that needs to know the time; at most one of both is set.
	Timed func(now time.Time, record map[string]any) error
}

// published says that the check is only shown: Kong runs something that Sluice has no use for.
func (c *CustomCheck) published() bool { return c.Func == nil && c.Timed == nil }

// sources lists the fields that a check reads.
func (c *Check) sources() []string {
	switch {
	case c.Conditional != nil:
		return []string{c.Conditional.IfField, c.Conditional.ThenField}
	case c.ConditionalAtLeastOneOf != nil:
		d := c.ConditionalAtLeastOneOf
		return slices.Concat([]string{d.IfField}, d.Then, d.ElseThen)
	case c.Custom != nil:
		return c.Custom.FieldSources
	}
	return slices.Concat(c.AtLeastOneOf, c.ExactlyOneOf, c.MutuallyExclusive, c.MutuallyRequired, c.Distinct)
}

// runsWithInvalid says whether a check has a meaning when its fields have problems already.
func (c *Check) runsWithInvalid() bool {
	if c.Custom != nil {
		return c.Custom.RunWithInvalidFields
	}
	return c.MutuallyExclusive == nil && c.MutuallyRequired == nil
}

// demanded lists the fields that must be there for a check to run at all.
func (c *Check) demanded() []string {
	switch {
	case c.Conditional != nil:
		return []string{c.Conditional.IfField}
	case c.Custom != nil:
		return c.Custom.FieldSources
	}
	return slices.Concat(c.ExactlyOneOf, c.Distinct)
}

// check runs one check and adds its problems to errs.
func (v validator) check(c *check, m, errs map[string]any) {
	if !v.applies(c, m, errs) {
		return
	}
	get := func(path string) any {
		value, _ := lookup(m, strings.Split(path, "."))
		return value
	}
	switch {
	case c.AtLeastOneOf != nil:
		if !slices.ContainsFunc(c.AtLeastOneOf, func(path string) bool { return filled(get(path)) }) {
			addEntity(errs, v.atLeastOneOf(c.AtLeastOneOf, ""))
		}
	case c.ExactlyOneOf != nil:
		if count(c.ExactlyOneOf, get) != 1 {
			addEntity(errs, "exactly one of these fields must be non-empty: "+quoteList(c.ExactlyOneOf))
		}
	case c.MutuallyExclusive != nil:
		if count(c.MutuallyExclusive, get) > 1 {
			addEntity(errs, "only one or none of these fields must be set: "+quoteList(c.MutuallyExclusive))
		}
	case c.MutuallyRequired != nil:
		if n := count(c.MutuallyRequired, get); n != 0 && n != len(c.MutuallyRequired) {
			addEntity(errs, "all or none of these fields must be set: "+quoteList(c.MutuallyRequired))
		}
	case c.Distinct != nil:
		if repeated(c.Distinct, get) {
			addEntity(errs, "values of these fields must be distinct: "+quoteList(c.Distinct))
		}
	case c.Conditional != nil:
		v.conditional(c, get, errs)
	case c.ConditionalAtLeastOneOf != nil:
		v.conditionalAtLeastOneOf(c, get, errs)
	case c.Custom != nil:
		v.custom(c.Custom, m, errs)
	}
}

// applies says whether a check has what it needs. A check on a field that must be there and is not adds
// the problem itself.
func (v validator) applies(c *check, m, errs map[string]any) bool {
	if c.Custom != nil && c.Custom.published() {
		return false
	}
	absent := 0
	for i, path := range c.paths {
		steps := strings.Split(path, ".")
		value, given := lookup(m, steps)
		if !given {
			absent++
		}
		if s, ok := value.(string); ok && c.nodes[i] != nil && c.nodes[i].Referenceable && IsReference(s) {
			return false
		}
		own, above := problemAt(errs, steps)
		if above || own && !c.runsWithInvalid() {
			return false
		}
	}
	always := c.AtLeastOneOf != nil || c.MutuallyExclusive != nil || c.MutuallyRequired != nil
	if absent > 0 && absent == len(c.paths) && (!always || v.updating) {
		return false
	}
	complete := true
	for _, path := range c.demanded() {
		steps := strings.Split(path, ".")
		if _, given := lookup(m, steps); given {
			continue
		}
		complete = false
		if own, _ := problemAt(errs, steps); !own {
			message := msgRequiredForCheck
			if v.updating {
				message += " when updating"
			}
			setProblem(errs, steps, message)
		}
	}
	return complete
}

func (v validator) conditional(c *check, get func(string) any, errs map[string]any) {
	d := c.Conditional
	if v.value(c.ifNode, get(d.IfField)) != nil {
		return
	}
	problem := v.value(c.thenNode, get(d.ThenField))
	if problem == nil {
		return
	}
	setProblem(errs, strings.Split(d.ThenField, "."), problem)
	message := fmt.Sprintf("failed conditional validation given value of field '%s'", d.IfField)
	if d.ThenErr != "" {
		message = strings.Replace(d.ThenErr, "%s", d.IfField, 1)
	}
	addEntity(errs, message)
}

func (v validator) conditionalAtLeastOneOf(c *check, get func(string) any, errs map[string]any) {
	d := c.ConditionalAtLeastOneOf
	value := get(d.IfField)
	names, message := d.Then, d.ThenErr
	if v.value(c.ifNode, value) != nil {
		if c.otherwise == nil || v.value(c.otherwise, value) != nil {
			return
		}
		names, message = d.ElseThen, d.ElseThenErr
	}
	if !slices.ContainsFunc(names, func(path string) bool { return filled(get(path)) }) {
		addEntity(errs, v.atLeastOneOf(names, message))
	}
}

func (v validator) atLeastOneOf(names []string, message string) string {
	switch {
	case message != "":
		return strings.Replace(message, "%s", quoteList(names), 1)
	case v.updating:
		return "when updating, at least one of these fields must be non-empty: " + quoteList(names)
	}
	return "at least one of these fields must be non-empty: " + quoteList(names)
}

func (v validator) custom(c *CustomCheck, m, errs map[string]any) {
	var err error
	switch {
	case c.Func != nil:
		err = c.Func(m)
	case v.now != nil: // a schema's own defaults are checked without a clock
		err = c.Timed(v.now(), m)
	}
	if err == nil {
		return
	}
	violation, ok := errors.AsType[*Violation](err)
	if !ok {
		addEntity(errs, err.Error())
		return
	}
	for name, problem := range violation.Fields {
		if list, ok := problem.([]any); ok && name == entityKey {
			addEntity(errs, list...)
			continue
		}
		errs[name] = problem
	}
}

// filled says that a field is not empty.
func filled(v any) bool {
	switch value := v.(type) {
	case nil:
		return false
	case string:
		return value != ""
	case []any:
		return len(value) > 0
	case map[string]any:
		return len(value) > 0
	}
	return true
}

func count(names []string, get func(string) any) int {
	n := 0
	for _, name := range names {
		if filled(get(name)) {
			n++
		}
	}
	return n
}

// repeated says whether two fields have the same scalar value.
func repeated(names []string, get func(string) any) bool {
	for i, name := range names {
		value := get(name)
		if !filled(value) {
			continue
		}
		if slices.ContainsFunc(names[:i], func(other string) bool { return equal(get(other), value) }) {
			return true
		}
	}
	return false
}

// addEntity adds messages that concern the record as a whole.
func addEntity(errs map[string]any, messages ...any) {
	list, _ := errs[entityKey].([]any)
	errs[entityKey] = append(list, messages...)
}

// problemAt says whether a field has a problem of its own, and whether a record above it was rejected as a
// whole, so that nothing can be said about its fields.
func problemAt(errs map[string]any, steps []string) (own, above bool) {
	for i, step := range steps {
		problem, ok := errs[step]
		if !ok {
			return false, false
		}
		if i == len(steps)-1 {
			return true, false
		}
		if errs, ok = problem.(map[string]any); !ok {
			return false, true
		}
	}
	return false, false
}

// setProblem puts a problem at a path.
func setProblem(errs map[string]any, steps []string, problem any) {
	for _, step := range steps[:len(steps)-1] {
		below, ok := errs[step].(map[string]any)
		if !ok {
			below = make(map[string]any)
			errs[step] = below
		}
		errs = below
	}
	errs[steps[len(steps)-1]] = problem
}

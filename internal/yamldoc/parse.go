// Package yamldoc reads and writes YAML documents that are configurations: plain trees, bounded in size, with
// numbers as they were written.
//
// The values of a tree are nil, bool, string, json.Number, []any and map[string]any. All functions are safe for
// concurrent use.
package yamldoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document. A node of YAML takes some 200 bytes while it is read, however short it is.
const (
	// MaxDepth bounds nesting.
	MaxDepth = 100
	// MaxMarks bounds the characters that can begin a value: line breaks and ,:[{ wherever they stand. A route
	// has some twenty.
	MaxMarks = 8_000_000
	// maxAliased bounds the values that aliases (*name) repeat.
	maxAliased = 500_000
)

// The errors of Parse. Others are those of the syntax, with the line.
var (
	ErrTooMany    = errors.New("there are too many values in it")
	ErrTooDeep    = fmt.Errorf("it is nested more than %d levels deep", MaxDepth)
	ErrAliases    = fmt.Errorf("its aliases repeat more than %d values", maxAliased)
	ErrNoObject   = errors.New("expected an object")
	ErrSeveral    = errors.New("there is more than one document in it")
	ErrNoUTF8     = errors.New("it is not UTF-8")
	errMergeValue = errors.New("<< takes a mapping, or a list of mappings")
)

// Bounded says, before a text is parsed, whether that could take too much memory: then it is ErrTooMany.
func Bounded(text []byte) error {
	marks := 0
	for _, c := range []byte("\n,:[{") {
		if marks += bytes.Count(text, []byte{c}); marks > MaxMarks {
			return ErrTooMany
		}
	}
	return nil
}

// Parse reads a text of one document, which must be a mapping. Beyond YAML 1.2 it takes yes, no, on and off for
// booleans where they are not quoted, as YAML 1.1 does; a date is a string.
func Parse(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, ErrNoUTF8
	}
	if err := Bounded(text); err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		return nil, syntax(err)
	}
	if decoder.Decode(&next) == nil {
		return nil, ErrSeveral
	}
	var p parser
	v, err := p.value(&doc, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, ErrNoObject
	}
	return object, nil
}

// syntax gives the library's error without its name in front, and an empty text its own.
func syntax(err error) error {
	if err.Error() == "EOF" {
		return ErrNoObject
	}
	return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
}

// parser makes values of nodes.
type parser struct {
	within  int // aliases
	aliased int
}

func (p *parser) value(n *yaml.Node, depth int) (any, error) {
	if depth > MaxDepth+1 { // the document itself is a node
		return nil, ErrTooDeep
	}
	if p.within > 0 {
		if p.aliased++; p.aliased > maxAliased {
			return nil, ErrAliases
		}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return p.value(n.Content[0], depth+1)
	case yaml.AliasNode:
		p.within++
		defer func() { p.within-- }()
		return p.value(n.Alias, depth+1) // depth ends what contains itself
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, part := range n.Content {
			var err error
			if list[i], err = p.value(part, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.MappingNode:
		return p.mapping(n, depth)
	case yaml.ScalarNode:
		return scalar(n)
	}
	return nil, at(n, errors.New("what is this?"))
}

func (p *parser) mapping(n *yaml.Node, depth int) (any, error) {
	m := make(map[string]any, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		name, err := key(k)
		if err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			return nil, at(k, fmt.Errorf("%q is there twice", name))
		}
		if m[name], err = p.value(v, depth+1); err != nil {
			return nil, err
		}
	}
	for _, v := range merged {
		if err := p.merge(m, v, depth); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// merge adds what a mapping does not have itself. Of several mappings the first one counts.
func (p *parser) merge(m map[string]any, n *yaml.Node, depth int) error {
	v, err := p.value(n, depth+1)
	if err != nil {
		return err
	}
	list, several := v.([]any)
	if !several {
		list = []any{v}
	}
	for _, one := range list {
		from, ok := one.(map[string]any)
		if !ok {
			return at(n, errMergeValue)
		}
		for name, value := range from {
			if _, given := m[name]; !given {
				m[name] = value
			}
		}
	}
	return nil
}

// key reads the name of a member; a number or a boolean is its text.
func key(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return "", at(n, errors.New("a name must be a string"))
	}
	return n.Value, nil
}

func scalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var v bool
		if err := n.Decode(&v); err != nil {
			return nil, at(n, err)
		}
		return v, nil
	case "!!int", "!!float":
		return number(n)
	case "!!str":
		if n.Style == 0 && n.Tag == "!!str" {
			if v, ok := oldBool(n.Value); ok {
				return v, nil
			}
		}
		return n.Value, nil
	case "!!timestamp":
		return n.Value, nil
	}
	return nil, at(n, fmt.Errorf("the tag %s is not known", n.Tag))
}

func number(n *yaml.Node) (any, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, at(n, err)
	}
	switch v := v.(type) {
	case int:
		return json.Number(strconv.Itoa(v)), nil
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return json.Number(strconv.FormatFloat(v, 'g', -1, 64)), nil
		}
	}
	return nil, at(n, fmt.Errorf("%s is no number", n.Value))
}

// oldBool reads the booleans that YAML 1.1 has beyond true and false; Kong and decK take them.
func oldBool(text string) (value, ok bool) {
	lower := strings.ToLower(text)
	if text != lower && text != strings.ToUpper(text) && text != strings.ToUpper(lower[:1])+lower[1:] {
		return false, false
	}
	yes := slices.Contains([]string{"yes", "on"}, lower)
	return yes, yes || slices.Contains([]string{"no", "off"}, lower)
}

func at(n *yaml.Node, err error) error {
	return fmt.Errorf("line %d: %w", n.Line, err)
}

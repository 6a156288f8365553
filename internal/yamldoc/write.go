package yamldoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Member is a named value, Object a mapping whose members are written in the order given. Of map[string]any they
// are in the order of their names.
type (
	Member struct {
		Name  string
		Value any
	}
	Object []Member
)

// YAML writes a tree, in which Objects and lists of them ([]Object) may be too. Equal trees give equal texts,
// and Parse gives the tree again.
func YAML(o Object) ([]byte, error) {
	n, err := node(o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(n); err != nil {
		return nil, fmt.Errorf("write yaml: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("write yaml: %w", err)
	}
	return b.Bytes(), nil
}

// JSON writes a tree, indented, with a line break at its end.
func JSON(o Object) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(o); err != nil {
		return nil, fmt.Errorf("write json: %w", err)
	}
	return b.Bytes(), nil
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encoder.Encode(m.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encoder.Encode(m.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func node(v any) (*yaml.Node, error) {
	switch v := v.(type) {
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}, nil
	case string:
		return stringNode(v), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}, nil
	case int64, int:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	case []any:
		return sequence(v)
	case []Object:
		return sequence(v)
	case Object:
		return mappingNode(v)
	case map[string]any:
		o := make(Object, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			o = append(o, Member{name, v[name]})
		}
		return mappingNode(o)
	}
	return nil, fmt.Errorf("write yaml: %T has no form", v)
}

func sequence[T any](list []T) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if len(list) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, v := range list {
		part, err := node(v)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, part)
	}
	return n, nil
}

func mappingNode(o Object) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if len(o) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, m := range o {
		v, err := node(m.Value)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, stringNode(m.Name), v)
	}
	return n, nil
}

// stringNode quotes what would be read as something else, and writes several lines as such only if they are of
// the kind that certificates have.
func stringNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case literal(s):
		n.Style = yaml.LiteralStyle
	case !plain(s):
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plain says that a string may be written without quotes: what is a word to every YAML parser.
func plain(s string) bool {
	if _, isBool := oldBool(s); s == "" || isBool || strings.EqualFold(s, "y") || strings.EqualFold(s, "n") {
		return false
	}
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '/' || c == '_' || c == '~' && i > 0
		if !letter && (i == 0 || strings.IndexByte("0123456789-.", c) < 0) {
			return isUUID(s)
		}
	}
	return true // the encoder quotes true, false and null
}

// isUUID says that a string is an id whose digits are no number to a YAML parser, as 00000000e1-... never is.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && strings.IndexByte("0123456789abcdef", c) < 0 {
			return false
		}
	}
	return true
}

// literal says that a string is written line by line after a |.
func literal(s string) bool {
	if !strings.Contains(s, "\n") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.TrimSpace(line) != line || strings.ContainsFunc(line, func(r rune) bool { return r > '~' || unicode.IsControl(r) }) {
			return false
		}
	}
	return s[0] != '\n' && !strings.HasSuffix(s, "\n\n")
}

package yamldoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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
	if len(o) == 0 {
		return []byte("{}\n"), nil
	}
	var w writer
	w.members(o, 0)
	return w.text, w.err
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

// writer writes block style: what is in something is two spaces further in, the first member of an object in a
// list is behind the dash.
type writer struct {
	text []byte
	err  error
}

func (w *writer) add(text string) { w.text = append(w.text, text...) }

// line begins one.
func (w *writer) line(indent int) {
	for range indent {
		w.text = append(w.text, ' ')
	}
}

// members writes those of an object; the first one goes where the writer is.
func (w *writer) members(o Object, indent int) {
	for i, m := range o {
		if i > 0 {
			w.line(indent)
		}
		w.text = appendString(w.text, m.Name, -1)
		w.add(":")
		w.value(m.Value, indent, true)
	}
}

// value writes what comes behind a name and a colon, or behind a dash, with the line's end.
func (w *writer) value(v any, indent int, named bool) {
	switch v := v.(type) {
	case nil:
		w.add(" null\n")
	case bool:
		w.add(" " + strconv.FormatBool(v) + "\n")
	case string:
		w.text = append(appendString(append(w.text, ' '), v, indent+2), '\n')
	case json.Number:
		w.add(" " + v.String() + "\n")
	case int:
		w.add(" " + strconv.Itoa(v) + "\n")
	case []any:
		list(w, v, indent, named)
	case []Object:
		list(w, v, indent, named)
	case Object:
		w.object(v, indent, named)
	case map[string]any:
		o := make(Object, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			o = append(o, Member{name, v[name]})
		}
		w.object(o, indent, named)
	default:
		w.err = fmt.Errorf("write yaml: %T has no form", v)
	}
}

func (w *writer) object(o Object, indent int, named bool) {
	switch {
	case len(o) == 0:
		w.add(" {}\n")
		return
	case named:
		w.add("\n")
		w.line(indent + 2)
	default:
		w.add(" ")
	}
	w.members(o, indent+2)
}

func list[T any](w *writer, values []T, indent int, named bool) {
	if len(values) == 0 {
		w.add(" []\n")
		return
	}
	w.add(map[bool]string{true: "\n", false: " "}[named])
	for i, v := range values {
		if named || i > 0 {
			w.line(indent + 2)
		}
		w.add("-")
		w.value(v, indent+2, false)
	}
}

// appendString quotes what would be read as something else, and writes several lines as such, that far in, if
// they are of the kind that certificates have. A name (indent -1) stays on its line.
func appendString(b []byte, s string, indent int) []byte {
	switch {
	case plain(s):
		return append(b, s...)
	case indent < 0 || !literal(s):
		return appendQuoted(b, s)
	}
	b = append(b, '|')
	if !strings.HasSuffix(s, "\n") {
		b = append(b, '-')
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		b = append(b, '\n')
		if line != "" {
			b = append(append(b, strings.Repeat(" ", indent)...), line...)
		}
	}
	return b
}

// appendQuoted writes a string in double quotes, with JSON's escapes, which YAML has too.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
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
	return !slices.Contains([]string{"true", "false", "null"}, strings.ToLower(s))
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

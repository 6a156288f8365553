package yamldoc

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[string]any
	}{
		"scalars": {"a: 1\nb: 1.5\nc: true\nd: ~\ne: text\nf: '1'\ng: 0x10\nh: 1e3\ni: 18446744073709551615\nj: \"\"", map[string]any{
			"a": json.Number("1"), "b": json.Number("1.5"), "c": true, "d": nil, "e": "text", "f": "1", "g": json.Number("16"),
			"h": json.Number("1000"), "i": json.Number("18446744073709551615"), "j": "",
		}},
		"what YAML 1.1 calls a boolean": {"a: yes\nb: Off\nc: 'no'\nd: yEs\ne: !!str on", map[string]any{
			"a": true, "b": false, "c": "no", "d": "yEs", "e": "on",
		}},
		"dates are strings": {"a: 2026-01-31", map[string]any{"a": "2026-01-31"}},
		"names":             {"1: a\ntrue: b", map[string]any{"1": "a", "true": "b"}},
		"aliases": {"x: &x {a: 1, b: 2}\ny: *x\nz:\n  <<: *x\n  b: 3\nw: {<<: [{c: 1}, *x, {a: 9}]}", map[string]any{
			"x": map[string]any{"a": json.Number("1"), "b": json.Number("2")},
			"y": map[string]any{"a": json.Number("1"), "b": json.Number("2")},
			"z": map[string]any{"a": json.Number("1"), "b": json.Number("3")},
			"w": map[string]any{"a": json.Number("1"), "b": json.Number("2"), "c": json.Number("1")},
		}},
		"lists": {"a: [x, {b: []}]\nc:\n- |\n  l1\n  l2\n", map[string]any{
			"a": []any{"x", map[string]any{"b": []any{}}}, "c": []any{"l1\nl2\n"},
		}},
		"json": {`{"a": [1, "x y"]}`, map[string]any{"a": []any{json.Number("1"), "x y"}}},
	} {
		got, err := Parse([]byte(c.text))
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		n := string(rune('a'+i+1)) + "0"
		before := string(rune('a'+i)) + "0"
		b.WriteString(n + ": &" + n + " [" + strings.TrimSuffix(strings.Repeat("*"+before+", ", 10), ", ") + "]\n")
	}
	return b.String()
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		is   error
		says string
	}{
		"nothing":             {"", ErrNoObject, ""},
		"a comment":           {"# nothing", ErrNoObject, ""},
		"a list":              {"- a", ErrNoObject, ""},
		"a word":              {"hello", ErrNoObject, ""},
		"two documents":       {"a: 1\n---\nb: 1", ErrSeveral, ""},
		"no yaml":             {"a: [1", nil, "line"},
		"a tab":               {"a:\n\tb: 1", nil, "line 2"},
		"twice":               {"a: 1\nb: 2\na: 3", nil, `line 3: "a" is there twice`},
		"a list as a name":    {"? [a]\n: 1", nil, "line 1: a name must be a string"},
		"no name":             {"~: 1", nil, "line 1: a name must be a string"},
		"infinity":            {"a: .inf", nil, "line 1: .inf is no number"},
		"no number":           {"a: .nan", nil, "line 1: .nan is no number"},
		"an unknown tag":      {"a: !vault x", nil, "line 1: the tag !vault is not known"},
		"bytes":               {"a: !!binary aGk=", nil, "the tag !!binary is not known"},
		"a bad boolean":       {"a: !!bool x", nil, "line 1"},
		"a merge of a string": {"<<: x", nil, "line 1: << takes a mapping"},
		"no anchor":           {"a: *x", nil, "unknown anchor"},
		"Latin-1":             {"a: \xe4", ErrNoUTF8, ""},
		"a bomb":              {bomb(), ErrAliases, ""},
		"itself":              {"a: &a [*a]", ErrTooDeep, ""},
		"itself, many times":  {"a: &a [*a, *a, *a, *a, *a, *a, *a, *a]", ErrTooDeep, ""},
		"deep":                {"a: " + strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), ErrTooDeep, ""},
		"deeper":              {"a: " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), nil, "depth"},
		"many values":         {"a: [" + strings.Repeat(",", MaxMarks) + "]", ErrTooMany, ""},
	} {
		got, err := Parse([]byte(c.text))
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := Parse([]byte("a: " + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1))); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
}

const wanted = `_format_version: "3.0"
services:
  - name: demo
    id: 5a0c7c3e-0b9e-5f0e-8f4a-3d7b8f6d2a11
    retries: 5
    tags: []
    text: |
      -----BEGIN CERTIFICATE-----
      MIIB
      -----END CERTIFICATE-----
    words:
      - "yes"
      - "null"
      - "1"
      - "2026-01-31"
      - ""
      - /a-b/c.d
      - "~/a$"
      - "a: b"
      - " a\nb"
`

func TestYAML(t *testing.T) {
	o := Object{{"_format_version", "3.0"}, {"services", []Object{{
		{"name", "demo"}, {"id", "5a0c7c3e-0b9e-5f0e-8f4a-3d7b8f6d2a11"}, {"retries", json.Number("5")}, {"tags", []any{}},
		{"text", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
		{"words", []any{"yes", "null", "1", "2026-01-31", "", "/a-b/c.d", "~/a$", "a: b", " a\nb"}},
	}}}}
	got, err := YAML(o)
	if diff := cmp.Diff(wanted, string(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	asJSON, err := JSON(o)
	if err != nil || !strings.HasPrefix(string(asJSON), "{\n  \"_format_version\": \"3.0\",\n  \"services\": [\n    {\n      \"name\": \"demo\"") {
		t.Errorf("%v %s", err, asJSON)
	}
}

// FuzzParse: nothing panics, and what is read is read again from what is written.
func FuzzParse(f *testing.F) {
	for _, text := range []string{wanted, bomb()[:200], "a: &x {b: 1}\n<<: *x", "a: 'x'\nb: \"\\u2028\\t\"", "a: |2\n   x\n", "? a\n: b", "a: 0o17\nb: 1_000", "a: \"\\x85\"\n" + `"\ufeff": "\uFFFF"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		read, err := Parse(text)
		if err != nil {
			return
		}
		var o Object
		for name, value := range read {
			o = append(o, Member{name, value})
		}
		written, err := YAML(o)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := Parse(written)
		if diff := cmp.Diff(read, again); err != nil || diff != "" {
			t.Fatalf("%q was written as %q: %v\n%s", text, written, err, diff)
		}
	})
}

package expr

import (
	"errors"
	"strings"
	"testing"
)

type values map[string]string

var errUnknown = errors.New("unknown")

// scope knows what begins with v, the function get, and what it gives.
func scope(n Name) (func(values) Value, error) {
	switch path := n.Path(); {
	case strings.HasPrefix(path, "v."):
		return func(c values) Value { s, ok := c[path[2:]]; return TextOr(s, ok) }, nil
	case path == "get()" && len(n.Args) == 1:
		return func(c values) Value { s, ok := c[n.Args[0]]; return TextOr(s, ok) }, nil
	case path == "get().field":
		return func(values) Value { return Number(1.5) }, nil
	}
	return nil, errUnknown
}

var given = values{"a": "A", "x-b": "B", "1": "one", "empty": "", "d.e": "DE", "f": "ß İ"}

func TestEval(t *testing.T) {
	tests := map[string]any{
		`nil`: nil, `true`: true, `false`: false, `1`: 1.0, `1.25`: 1.25, `"a\"\n\065\\"`: "a\"\nA\\", `'"'`: `"`,
		`v.a`: "A", `v["a"]`: "A", `v['x-b']`: "B", `v[1]`: "one", `v.d.e`: "DE", `v.none`: nil, ` ( v.a ) `: "A",
		`get("a")`: "A", `get('none')`: nil, `get("a" .. "").field`: 1.5,
		`v.none or "default"`: "default", `v.a or "default"`: "A", `v.empty or "x"`: "", `false or nil`: nil, `nil or false`: false,
		`v.a and v["x-b"]`: "B", `v.none and v.a`: nil, `v.none and v.a or "c"`: "c", `v.a or v.none and nil`: "A",
		`not v.a`: false, `not not v.a`: true, `not nil == true`: true,
		`v.a == "A"`: true, `v.a ~= "A"`: false, `1 == 1.0`: true, `1 == "1"`: false, `nil == v.none`: true,
		`"a" .. 1 .. true .. v.a`: "a1trueA", `v.a..v.none.."z"`: "Az", `1 ..2`: "12", `"x" .. "y" == "xy"`: true,
		`v.a:lower()`: "a", `("x" .. v.a):upper():lower()`: "xa", `string.upper(v["x-b"])`: "B", `string.lower("Q")`: "q",
		`tostring(nil)`: "nil", `tostring(1)`: "1", `string.upper(v.none)`: "",
	}
	for source, want := range tests {
		e, err := Compile(source, scope)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := e.Eval(given).Any(); got != want {
			t.Errorf("%s: %#v, want %#v", source, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	tests := map[string]string{
		``: "unexpected the end", `1 +`: `"+" is not supported`, `(1`: `expected ")" instead of the end`, `1 2`: `unexpected "2"`,
		`v.`: "expected a name instead of the end", `v[a]`: "only a constant can stand in brackets", `v[1`: `expected "]"`,
		`"a`: "does not end", `"a\`: "does not end", `"\q"`: "invalid escape", `"\999"`: "invalid escape", "'a\n'": "does not end",
		`w`: "unknown", `w.x`: "unknown", `get(v.a)`: "the arguments of get() must be constants", `get("a",)`: `unexpected ")"`, `get("a" "b")`: `expected ","`,
		`function() end`: `unexpected "function"`, `(function() return 1 end)()`: `unexpected "function"`, `if`: "unexpected", `1e3`: "malformed number",
		`v.a:sub(1)`: `expected ")"`, `v.a:len()`: "method \"len\" is not supported", `v.a:1()`: "method \"1\" is not supported", `tostring()`: "has one argument",
		`string.lower(1, 2)`: "has one argument", `#v.a`: `"#" is not supported`, `v.a < "b"`: `"<" is not supported`, `return 1`: `unexpected "return"`,
		strings.Repeat("(", 1000) + "1": "nested too deep", strings.Repeat("not ", 1000) + "1": "nested too deep",
	}
	for source, want := range tests {
		_, err := Compile(source, scope)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", source, err, want)
		}
	}
}

func TestReturn(t *testing.T) {
	for source, want := range map[string]any{` return "a" ;`: "a", "return": nil, "return nil": nil, "return(1)": 1.0, "return\nv.a": "A"} {
		e, err := CompileReturn(source, scope)
		if err != nil {
			t.Errorf("%q: %v", source, err)
			continue
		}
		if got := e.Eval(given).Any(); got != want {
			t.Errorf("%q: %v, want %v", source, got, want)
		}
	}
	for _, source := range []string{"", "x", "returned", "local a = 1 return a", `return 1 return 2`} {
		if _, err := CompileReturn(source, scope); err == nil {
			t.Errorf("%q is taken", source)
		}
	}
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain $ text) $a": "plain $ text) $a", "$(v.a)": "A", "a$(v.a)b$(v['x-b'])": "aAbB", "$(v.none)": "", "$(nil)$(1.5)$(false)": "1.5false",
		`$(")")$("\")")$((v.a))`: `)")A`, "$$(v.a)": "$A", `$(v.none or "d")`: "d",
	} {
		tpl, err := CompileTemplate(text, scope)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		constant, isConstant := tpl.Constant()
		if got := tpl.Render(given); got != want || isConstant != !strings.Contains(text, "$(") || isConstant && constant != text {
			t.Errorf("%q: %q, want %q; constant %q %t", text, got, want, constant, isConstant)
		}
	}
	for text, want := range map[string]string{
		"$(": "is not closed", `$(")`: "is not closed", "$()": "unexpected the end", "x$(w)": `invalid template "x$(w)": unknown`,
	} {
		if _, err := CompileTemplate(text, scope); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	tpl, err := CompileTemplate("/a b/$(v.f)", scope)
	if err != nil {
		t.Fatal(err)
	}
	escaped := tpl.Append(nil, given, func(b []byte, s string) []byte { return append(append(append(b, '<'), s...), '>') })
	if string(escaped) != "/a b/<ß İ>" {
		t.Errorf("escaped: %s", escaped)
	}
}

// FuzzTemplate: nothing panics, and what is compiled evaluates.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{`a$(v.a or "b")`, `$(get("a"):lower() .. 1)`, `$(not v[1] == nil)`, `$(string.upper(v["\065"]))`, "$((((1))))", "$('"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if tpl, err := CompileTemplate(text, scope); err == nil {
			tpl.Render(given)
		}
		if e, err := CompileReturn(text, scope); err == nil {
			e.Eval(given)
		}
	})
}

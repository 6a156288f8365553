package schema

import (
	"errors"
	"regexp/syntax"
	"testing"
)

// TestCompilePattern has the constructs that Kong's schemas use, and the rest of what is translated.
func TestCompilePattern(t *testing.T) {
	for pattern, c := range map[string]struct{ match, other []string }{
		"^%u+$":                                 {[]string{"GET"}, []string{"", "Get", "GET\n", "É"}},
		"//":                                    {[]string{"a//b"}, []string{"a/b"}},
		"^[^*]*%*?[^*]*$":                       {[]string{"", "a*b", "*"}, []string{"**", "a*b*"}},
		"^%*%.":                                 {[]string{"*.a"}, []string{"*a", "a*."}},
		"%.%*$":                                 {[]string{"a.*"}, []string{"a.*b", "a*"}},
		"^[^:]+:.*$":                            {[]string{"a:", "a:b\nc"}, []string{":b", "a"}},
		"^.*[^:]$":                              {[]string{"a", ":a"}, []string{"", "a:"}},
		"%w*%p*@+%w*%.?%w*":                     {[]string{"a.b@c.d", "@"}, []string{"abc"}},
		"^[0-9]+-[0-9]+$":                       {[]string{"1-2", "10-20"}, []string{"1", "-", "1-"}}, // after + it is no quantifier
		"^[a-z][a-z%d-]-[a-z%d]+$":              {[]string{"ab", "a-b", "a1-b2"}, []string{"a", "a-", "-a", "a_b"}},
		"^[Hh][Oo][Ss][Tt]$":                    {[]string{"Host", "hOST"}, []string{"hosts", "hos"}},
		"^[^%s*&%%\\`][^*&%%\\`]*[^%s*&%%\\`]$": {[]string{"ab", "a b"}, []string{" a", "a%b", "a"}},
		"^~/":                                   {[]string{"~/a"}, []string{"/a", "a~/"}},
		"a.c":                                   {[]string{"abc", "a\nc"}, []string{"ac"}},
		"^%S%D%x$":                              {[]string{"-aF"}, []string{" aF", "-1F", "-ag"}},
		"[]x]":                                  {[]string{"]", "x"}, []string{"["}},
		"[a%-z]":                                {[]string{"a", "-", "z"}, []string{"b"}},
		"a$b":                                   {[]string{"a$b"}, []string{"ab"}},
		"^%c%l$":                                {[]string{"\x01a"}, []string{"aa", "\x01A"}},
	} {
		re, err := compilePattern(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, s := range c.match {
			if !re.MatchString(s) {
				t.Errorf("%s does not match %q", pattern, s)
			}
		}
		for _, s := range c.other {
			if re.MatchString(s) {
				t.Errorf("%s matches %q", pattern, s)
			}
		}
	}
	for _, pattern := range []string{"(a)", "%b()", "%f[a]", "%1", "[a", "%", "[%S]", "[z-a]"} {
		if _, err := compilePattern(pattern); !errors.Is(err, ErrDefinition) {
			t.Errorf("%s: got %v, want an error that is ErrDefinition", pattern, err)
		}
	}
}

// FuzzPattern: whatever is translated is a regular expression, but for sets that Lua does not check either.
func FuzzPattern(f *testing.F) {
	for _, pattern := range []string{"^%u+$", "[^%s*&%%\\`]", "%w*%p*@+", "a-b", "[]]", "[a-", "%"} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		expr, err := translatePattern(pattern)
		if err != nil {
			return
		}
		_, err = syntax.Parse(expr, syntax.Perl)
		var bad *syntax.Error
		if errors.As(err, &bad) && bad.Code != syntax.ErrInvalidCharRange && bad.Code != syntax.ErrInvalidUTF8 {
			t.Errorf("%q becomes %q: %v", pattern, expr, err)
		}
	})
}

func TestLuaPretty(t *testing.T) {
	for want, tree := range map[string]any{
		"plain":                             "plain",
		"{\n  \"a\",\n  [3] = \"c\"\n}":     []any{"a", nil, "c"},
		"{\n  a = {\n    b = \"c\"\n  }\n}": map[string]any{"a": map[string]any{"b": "c"}},
		"{\n  [\"@entity\"] = {\n    \"m\"\n  },\n  x1 = \"n\"\n}": map[string]any{"x1": "n", "@entity": []any{"m"}},
		"{\n  [\"end\"] = \"a\\\"b\\\\\"\n}":                       map[string]any{"end": `a"b\`},
		"{\n  [\"1a\"] = [[\n\nb]]\n}":                             map[string]any{"1a": "\nb"},
		"{\n  a = [=[[[x]=]\n}":                                    map[string]any{"a": "[[x"},
		"{\n  a = \"\\r\\\n\"\n}":                                  map[string]any{"a": "\r\n"},
	} {
		if got := luaPretty(tree); got != want {
			t.Errorf("want\n%s\ngot\n%s", want, got)
		}
	}
}

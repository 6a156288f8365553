package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFormTree(t *testing.T) {
	cases := []struct{ body, want string }{
		{"", `{}`},
		{"a=1", `{"a":"1"}`},
		{"a=1&b=2", `{"a":"1","b":"2"}`},
		{"a=", `{"a":""}`},
		{"a", `{"a":true}`},
		{"a=1&a=2", `{"a":["1","2"]}`},
		{"a[]=1", `{"a":["1"]}`},
		{"a[]=1&a[]=2", `{"a":["1","2"]}`},
		{"a%5B%5D=1", `{"a":["1"]}`},
		{"a=1&a[]=2", `{"a":["1","2"]}`},
		{"a[2]=y&a[1]=x", `{"a":["x","y"]}`},
		{"a[7]=y", `{"a":["y"]}`},
		{"a[1]=x&a[]=y", `{"a":["x","y"]}`},
		{"a[key]=v&a[x.y]=w", `{"a":{"key":"v","x.y":"w"}}`},
		{"a[99999999999999999999]=v", `{"a":{"99999999999999999999":"v"}}`},
		{"a.b.c=v&a.b.d=w", `{"a":{"b":{"c":"v","d":"w"}}}`},
		{"a.x-b[]=1", `{"a":{"x-b":["1"]}}`},
		{"a.b[1].c=v&a.b[1].d=w&a.b[2].c=x", `{"a":{"b":[{"c":"v","d":"w"},{"c":"x"}]}}`},
		{"a.b[].c=v&a.b[].c=w", `{"a":{"b":[{"c":"v"},{"c":"w"}]}}`},
		{"a[][]=v", `{"a":[["v"]]}`},
		{"a+b=c+d%20e", `{"a b":"c d e"}`},
		{"a=100%&b=%zz&c=%4", `{"a":"100%","b":"%zz","c":"%4"}`},
		{"a=%41+%e9%zz+%&b=%C3%A9%", `{"a":"A \ufffd%zz %","b":"é%"}`}, // JSON shows the lone byte so
		{"a=b=c", `{"a":"b=c"}`},
		{"&&a=1&", `{"a":"1"}`},
		// not of the form: one name
		{"a[=1&b]=2&.c=3&d.=4&e..f=5&[]=6&g[1]h=7", `{"a[":"1","b]":"2",".c":"3","d.":"4","e..f":"5","[]":"6","g[1]h":"7"}`},
	}
	for _, c := range cases {
		t.Run(c.body, func(t *testing.T) {
			body, err := formBody(parseForm(c.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(body.fields)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, []byte(c.want), got)
		})
	}
}

func TestFormRefused(t *testing.T) {
	cases := []struct{ name, body, message string }{
		{"too many", strings.Repeat("a=1&", maxArguments+1), "Too many arguments"},
		{"too deep", strings.Repeat("a.", maxKeyDepth) + "a=1", "an argument's name is nested too deeply"},
		{"far too deep", "a" + strings.Repeat("[]", 100_000) + "=1", "an argument's name is nested too deeply"},
		{"value and object", "a=1&a.b=2", "argument 'a' is both a value and an object"},
		{"list and object", "x.a[1]=1&x.a[b]=2", "argument 'x' is both a value and an object"},
		{"list and object in a list", "a[]=1&a[].b[]=1&a[1].b=1&a[1].b.c=1", "argument 'a' is both a value and an object"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := formBody(parseForm(c.body))
			if err == nil || err.Error() != c.message {
				t.Errorf("got %v, want %s", err, c.message)
			}
		})
	}
	if _, err := formBody(parseForm(strings.Repeat("a=1&", maxArguments))); err != nil {
		t.Errorf("%d arguments: %v", maxArguments, err)
	}
}

// FuzzForm checks that what a form may hold is bounded and comes out as values that a schema takes, and
// that a plain argument keeps its value.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"a=1", "a[]=1&a[]=2", "a[1].b.c[k]=v", "a=1&a.b=2", "a[=1", "%5B%5D=%zz&+=+", "a.b[][3]=", "=&==", "a[-1]=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := formBody(parseForm(body))
		if err != nil {
			return
		}
		if len(got.fields) > maxArguments {
			t.Fatalf("%d fields", len(got.fields))
		}
		checkTree(t, got.fields, 0)
		extended, err := formBody(parseForm(body + "&zzz~plain=v%20w"))
		if err != nil {
			return // one too many
		}
		if strings.Contains(body, "zzz") || strings.Contains(body, "%") {
			return
		}
		delete(extended.fields, "zzz~plain")
		if diff := cmp.Diff(got.fields, extended.fields); diff != "" {
			t.Errorf("another argument changed the others: %s", diff)
		}
	})
}

func checkTree(t *testing.T, v any, depth int) {
	if depth > maxKeyDepth+1 {
		t.Fatal("too deep")
	}
	switch value := v.(type) {
	case string:
	case bool:
		if !value {
			t.Fatal("false came out of a form")
		}
	case []any:
		for _, part := range value {
			checkTree(t, part, depth+1)
		}
	case map[string]any:
		for _, part := range value {
			checkTree(t, part, depth+1)
		}
	default:
		t.Fatalf("a %T came out of a form", v)
	}
}

func TestDecodeJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	cases := []struct {
		name, body string
		want       error
	}{
		{"object", `{"a":1}`, nil},
		{"spaces", " \n{}\t ", nil},
		{"empty", "", errBadJSON},
		{"null", "null", errBadJSON},
		{"string", `"str"`, errBadJSON},
		{"array", "[1]", errBadJSON},
		{"broken", "{bad", errBadJSON},
		{"two values", "{}{}", errBadJSON},
		{"garbage behind", "{} x", errBadJSON},
		{"invalid utf-8", "{\"a\":\"\xff\"}", errBadJSON},
		{"half a pair", `{"a":"\ud800"}`, errBadJSON},
		{"the other half", `{"a":"x\uDC00"}`, errBadJSON},
		{"half a pair and a letter", `{"a":"\ud83dA\ude00"}`, errBadJSON},
		{"two first halves", `{"a":"\ud83d\ud83d"}`, errBadJSON},
		{"half a pair and another escape", `{"a":"\ud83d\n"}`, errBadJSON},
		{"half a pair in a name", `{"\udfff":1}`, errBadJSON},
		{"a pair", `{"a":"\ud83d\ude00\u00e9"}`, nil},
		{"an escaped backslash", `{"a":"\\ud800"}`, nil},
		{"deep enough", deep(maxDepth), nil},
		{"too deep", deep(maxDepth + 2), errDeepJSON},
		{"far too deep", strings.Repeat("[", 1_000_000), errBadJSON},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeJSON([]byte(c.body))
			if fmt.Sprint(err) != fmt.Sprint(c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	fields, err := decodeJSON([]byte(`{"n":9007199254740993}`))
	if err != nil || fields["n"] != json.Number("9007199254740993") {
		t.Errorf("a large number became %v (%v)", fields["n"], err)
	}
}

// FuzzJSON checks that what is accepted is an object that can be written and read again unchanged.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,{"b":null}]}`, `[1]`, `{"a":1e999}`, `{"a":"\ud800"}`, "{\"\xff\":1}", `{"a":1}{`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, err := decodeJSON(data)
		if err != nil {
			return
		}
		text, err := encodeJSON(fields)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeJSON(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(fields, again); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAppendPlain(t *testing.T) {
	cases := []struct{ raw, want string }{
		{`{"a":"b"}`, `{"a":"b"}`},
		{`"\u003ca\u003e \u0026"`, `"<a> &"`},
		{`"\\u003c"`, `"\\u003c"`},
		{`"\\\u003c"`, `"\\<"`},
		{`"\u0022\u0001"`, `"\u0022\u0001"`},
		{`"\u003`, `"\u003`},
		{`\`, `\`},
		{`"\u0026\n\"\u2028"`, `"&\n\"\u2028"`},
	}
	for _, c := range cases {
		if got := string(appendPlain(nil, []byte(c.raw))); got != c.want {
			t.Errorf("%s: %s, want %s", c.raw, got, c.want)
		}
	}
}

// FuzzAppendPlain checks that only the text changes, not the value.
func FuzzAppendPlain(f *testing.F) {
	f.Add("<a href='x'>&</a>\\u003c")
	f.Fuzz(func(t *testing.T, s string) {
		raw, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		plain := appendPlain(nil, raw)
		sameJSON(t, raw, plain)
		want, err := encodeJSON(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(plain) {
			t.Errorf("got %s, want %s", plain, want)
		}
	})
}

package requesttransformer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	for config, want := range map[string]string{
		`{}`: "", `{"http_method":"GET"}`: "", `{"http_method":"get"}`: "schema violation (config.http_method: invalid value: get)",
		`{"http_method":"CONNECT"}`:                               "schema violation (config.http_method: CONNECT is no request for a path)",
		`{"add":{"headers":["x-a:1","x-b:$(headers.host)"]}}`:     "",
		`{"remove":{"headers":["x-a"],"body":["a"]}}`:             "",
		`{"replace":{"uri":"/a/$(uri_captures[1] or \"none\")"}}`: "",
	} {
		if _, message, _ := plugintest.Insert(t, name, `{"config":`+config+`}`); message != want {
			t.Errorf("%s: %q, want %q", config, message, want)
		}
	}
	for config, want := range map[string]string{
		`{"add":{"headers":["x-a"]}}`:                              "invalid value: x-a",
		`{"add":{"headers":["x a:1"]}}`:                            "'x a' is not a valid header",
		`{"remove":{"headers":["x a"]}}`:                           "'x a' is not a valid header",
		`{"rename":{"headers":["x-a:y b"]}}`:                       "'y b' is not a valid header",
		`{"rename":{"headers":["x-a:"]}}`:                          "'nil' is not a valid header",
		`{"rename":{"querystring":["a"]}}`:                         "must have the form old:new",
		`{"add":{"body":[":1"]}}`:                                  "must begin with a name",
		`{"add":{"body":["a:$(1"]}}`:                               "$( is not closed",
		`{"add":{"querystring":["a:$(os.getenv(\"HOME\"))"]}}`:     "os.getenv() cannot be evaluated",
		`{"add":{"querystring":["a:$(headers[query_params.x])"]}}`: "only a constant can stand in brackets",
		`{"replace":{"uri":"$((function() return \"/\" end)())"}}`: "unexpected",
		`{"replace":{"headers":["x-a:$(consumer.username)"]}}`:     "unknown variable consumer",
		`{"append":{"headers":["x-a:$(string.rep(\"a\", 1e9))"]}}`: "malformed number",
	} {
		if _, message, _ := plugintest.Insert(t, name, `{"config":`+config+`}`); !strings.Contains(message, want) {
			t.Errorf("%s: %q, want %q", config, message, want)
		}
	}
	stored, _, _ := plugintest.Insert(t, name, `{}`)
	none := []any{}
	empty := map[string]any{"body": none, "headers": none, "querystring": none}
	want := map[string]any{
		"http_method": nil, "remove": empty, "rename": empty, "add": empty, "append": empty,
		"replace": map[string]any{"body": none, "headers": none, "querystring": none, "uri": nil},
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("request-transformer")
	if !ok || d.Priority != 801 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	for _, config := range []map[string]any{
		{"http_method": 1}, {"replace": map[string]any{"uri": "$("}}, {"add": map[string]any{"headers": []any{":"}}},
	} {
		if _, err := New(nil, &plugin.Instance{Config: config}); err == nil {
			t.Errorf("%v was taken", config)
		}
	}
}

// request is one with a body, if it has a type.
type sent struct {
	method, target string
	fields         []string
	kind, body     string
}

func (s sent) exchange() *plugin.Exchange {
	method, target := s.method, s.target
	if method == "" {
		method = "POST"
	}
	if target == "" {
		target = "/a"
	}
	ex := plugintest.Exchange(method, target, s.fields...)
	if s.kind != "" {
		plugintest.SetBody(ex, s.kind, s.body)
	}
	return ex
}

type captures map[string]string

func (c captures) Captures() map[string]string { return c }

func transform(t testing.TB, config string, ex *plugin.Exchange) plugin.Verdict {
	t.Helper()
	ex.Captures = captures{"0": "/a/b", "1": "b", "word": "b"}
	ex.Share("token", "t-1")
	return plugintest.Instance(t, plugintest.Env(nil), name, config).(plugin.Accessor).Access(ex)
}

// lines are the fields that go upstream.
func lines(ex *plugin.Exchange) string {
	var all []string
	ex.Request.Header.All(func(name, value string) bool {
		all = append(all, name+": "+value)
		return true
	})
	return strings.Join(all, "; ")
}

func TestHeaders(t *testing.T) {
	fields := []string{"X-A", "1", "X-A", "2", "X-B", "3"}
	const all = "X-A: 1; X-A: 2; X-B: 3"
	for config, want := range map[string]string{
		`{}`:                                     all,
		`{"remove":{"headers":["x-a","none"]}}`:  "X-B: 3",
		`{"remove":{"headers":["x-a:ignored"]}}`: "X-B: 3",
		`{"rename":{"headers":["X-A:x-c","none:x-d"]}}`: "X-B: 3; x-c: 1; x-c: 2",
		`{"rename":{"headers":["X-A:x-b"]}}`:            "x-b: 1; x-b: 2",
		`{"rename":{"headers":["x-b:X-b"]}}`:            "X-A: 1; X-A: 2; X-b: 3",
		`{"replace":{"headers":["x-a:9","x-c:9"]}}`:     "x-a: 9; X-B: 3",
		`{"replace":{"headers":["x-a:"]}}`:              all,
		`{"replace":{"headers":["x-a::9:8"]}}`:          "x-a: 9:8; X-B: 3",
		`{"add":{"headers":["x-a:9","X-C:9","X-C:8"]}}`: all + "; X-C: 9",
		`{"add":{"headers":["x-c:"]}}`:                  all,
		`{"append":{"headers":["x-a:9","X-C:9"]}}`:      all + "; x-a: 9; X-C: 9",
		`{"append":{"headers":["x-c:"]}}`:               all,
		`{"remove":{"headers":["x-a"]},"rename":{"headers":["x-b:x-a"]},"replace":{"headers":["x-a:r"]},"add":{"headers":["x-b:a"]},"append":{"headers":["x-b:p"]}}`: "x-a: r; x-b: a; x-b: p",
		`{"add":{"headers":["x-c:a$(headers.x_b)b$(headers[\"X-None\"])"]}}`:                                                                                         all + "; x-c: a3b",
		`{"add":{"headers":["x-c:$(headers.x_none or query_params.q)"]}}`:                                                                                            all + "; x-c: a b",
		`{"add":{"headers":["x-c:$(query_params.bare)","x-d:$(query_params.none)"]}}`:                                                                                all + "; x-c: true; x-d: ",
		`{"add":{"headers":["x-c:$(uri_captures[1])$(uri_captures.word)$(uri_captures.none)"]}}`:                                                                     all + "; x-c: bb",
		`{"add":{"headers":["x-c:$(shared.token)$(shared.none)"]}}`:                                                                                                  all + "; x-c: t-1",
		`{"add":{"headers":["x-c:$(headers.host)"]}}`:                                                                                                                all + "; x-c: gateway.test",
		`{"replace":{"headers":["x-a:$(headers.x_b)","x-b:$(headers.x_a)"]}}`:                                                                                        "x-a: 3; x-b: 1", // as they were
		`{"remove":{"headers":["x-b"]},"add":{"headers":["x-c:$(headers[\"x-b\"]:upper())"]}}`:                                                                       "X-A: 1; X-A: 2; x-c: 3",
	} {
		ex := sent{target: "/a?q=a%20b&q=c&bare", fields: fields}.exchange()
		if transform(t, config, ex) != plugin.Continue || lines(ex) != want {
			t.Errorf("%s:\n%s, want\n%s", config, lines(ex), want)
		}
	}
}

func TestHost(t *testing.T) {
	for config, want := range map[string]string{
		`{"replace":{"headers":["Host:other.test"]}}`:        "other.test",
		`{"replace":{"headers":["host:$(headers.x_none)"]}}`: "upstream.test",
		`{"add":{"headers":["host:x"]},"append":{"headers":["host:x"]},"remove":{"headers":["host"]},"rename":{"headers":["host:x-a","x-b:host"]}}`: "upstream.test",
	} {
		ex := sent{fields: []string{"Host", "gateway.test", "X-B", "1"}}.exchange()
		transform(t, config, ex)
		if ex.Upstream.HostHeader != want || lines(ex) != "Host: gateway.test; X-B: 1" {
			t.Errorf("%s: Host %s; %s", config, ex.Upstream.HostHeader, lines(ex))
		}
	}
}

func TestQuery(t *testing.T) {
	const query = "a=1&b=%7e&a=2&c"
	for config, want := range map[string]string{
		`{}`: query,
		`{"remove":{"querystring":["a","none"]}}`:                                           "b=%7e&c",
		`{"remove":{"querystring":["none"]}}`:                                               query,
		`{"remove":{"querystring":["a","b","c"]}}`:                                          "",
		`{"rename":{"querystring":["a:d e","none:x"]}}`:                                     "d%20e=1&b=%7e&d%20e=2&c",
		`{"rename":{"querystring":["a:b"]}}`:                                                "b=1&b=2&c",
		`{"rename":{"querystring":["c:b"]}}`:                                                "a=1&a=2&b",
		`{"rename":{"querystring":["a:a"]}}`:                                                query,
		`{"replace":{"querystring":["a:x y&","none:1"]}}`:                                   "a=x%20y%26&b=%7e&c",
		`{"replace":{"querystring":["a:"]}}`:                                                "b=%7e&c",
		`{"add":{"querystring":["a:9","d:9","e"]}}`:                                         query + "&d=9",
		`{"append":{"querystring":["a:9","d:é","e"]}}`:                                      query + "&a=9&d=%C3%A9",
		`{"append":{"querystring":["d:$(query_params.b)"]},"remove":{"querystring":["b"]}}`: "a=1&a=2&c&d=~",
	} {
		ex := sent{target: "/a?" + query}.exchange()
		transform(t, config, ex)
		if u := ex.Upstream; u.Query != want || u.HasQuery != (want != "") || ex.Request.Query != query {
			t.Errorf("%s: %q (%t), want %q; the client's is %q", config, u.Query, u.HasQuery, want, ex.Request.Query)
		}
	}
	ex := sent{target: "/a?"}.exchange()
	transform(t, `{"remove":{"querystring":["a"]}}`, ex)
	if !ex.Upstream.HasQuery {
		t.Error("an empty query that is not changed is gone")
	}
}

const partsType = "multipart/form-data; boundary=x-7"

// form gives a body of partsType from alternating names and values.
func form(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "--x-7\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", pairs[i], pairs[i+1])
	}
	return b.String() + "--x-7--\r\n"
}

func TestBody(t *testing.T) {
	const every = `{"remove":{"body":["r"]},"rename":{"body":["o:n"]},"replace":{"body":["p:P","none:x"]},"add":{"body":["p:x","a:$(headers.x_a)"]},"append":{"body":["p:Q","z:Z"]}}`
	tests := map[string]struct{ config, kind, body, want string }{
		"form":                    {every, formType, "r=1&o=%7e&p=3&x=4&p=5&n=6", "n=%7e&p=P&x=4&a=A&p=Q&z=Z"},
		"form, type's case":       {`{"remove":{"body":["r"]}}`, "Application/X-WWW-Form-URLEncoded; charset=utf-8", "r=1&a=2", "a=2"},
		"form, empty":             {every, formType, "", "p=x&a=A&p=Q&z=Z"},
		"form, emptied":           {`{"remove":{"body":["r"]}}`, formType, "r=1", ""},
		"form, not changed":       {`{"remove":{"body":["none"]}}`, formType, "r=%7e&&", "r=%7e&&"},
		"JSON":                    {every, jsonType, `{"r":1, "o":{"r" : 1.0}, "p":3, "x":"<", "n":6}`, `{"n":{"r" : 1.0},"p":["P","Q"],"x":"<","a":"A","z":["Z"]}`},
		"JSON, empty":             {every, jsonType, "", `{"p":["x","Q"],"a":"A","z":["Z"]}`},
		"JSON, empty object":      {every, jsonType, " { } ", `{"p":["x","Q"],"a":"A","z":["Z"]}`},
		"JSON, emptied":           {`{"remove":{"body":["r"]}}`, "application/json; charset=utf-8", `{"r":1}`, `{}`},
		"JSON, the last counts":   {`{"rename":{"body":["r:s"]}}`, jsonType, `{"r":1,"r":2}`, `{"s":2}`},
		"JSON, values":            {`{"append":{"body":["a:1","b:1","c:1","d:1","e:1","f:1"]}}`, jsonType, `{"a":[],"b":[ 2 ],"c":null,"d":false,"e":"x","f":{"y":1}}`, `{"a":["1"],"b":[2,"1"],"c":["1"],"d":[false,"1"],"e":["x","1"],"f":[{"y":1},"1"]}`},
		"JSON, replaced":          {`{"replace":{"body":["a:<&>","b"]}}`, jsonType, `{"a":null,"b":1}`, `{"a":"<&>"}`},
		"JSON, renamed to itself": {`{"rename":{"body":["a:a"]}}`, jsonType, `{ "a":1}`, `{ "a":1}`},
		"JSON, not changed":       {`{"remove":{"body":["none"]}}`, jsonType, `{ "a" : 1 }`, `{ "a" : 1 }`},
		"JSON, broken":            {every, jsonType, `{"r":1`, `{"r":1`},
		"JSON, more behind it":    {every, jsonType, `{"r":1}{}`, `{"r":1}{}`},
		"JSON, no object":         {every, jsonType, `["r"]`, `["r"]`},
		"parts":                   {every, partsType, form("r", "1", "o", "2", "p", "3", "x", "4", "p", "5", "n", "6"), form("n", "2", "p", "P", "x", "4", "a", "A", "p", "Q", "z", "Z")},
		"parts, empty":            {`{"add":{"body":["a:1"]}}`, partsType, "", form("a", "1")},
		"parts, emptied":          {`{"remove":{"body":["a"]}}`, partsType, form("a", "1"), "\r\n--x-7--\r\n"},
		"parts, replaced by none": {`{"replace":{"body":["a"]}}`, partsType, form("a", "1", "b", "2"), form("b", "2")},
		"parts, not changed":      {`{"remove":{"body":["none"]}}`, partsType, "preamble\r\n" + form("a", "1"), "preamble\r\n" + form("a", "1")},
		"parts, cut short":        {every, partsType, "--x-7\r\nContent-Disposition: form-data; name=\"r\"\r\n\r\n1", "--x-7\r\nContent-Disposition: form-data; name=\"r\"\r\n\r\n1"},
		"parts, no boundary":      {every, multipartType, form("r", "1"), form("r", "1")},
		"parts, quotes":           {`{"add":{"body":["a\"b:1"]}}`, partsType, "", "--x-7\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\n1\r\n--x-7--\r\n"},
		"file renamed": {`{"rename":{"body":["a:b"]}}`, partsType,
			"--x-7\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f \\\"1.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x-7--\r\n",
			"--x-7\r\nContent-Disposition: form-data; name=\"b\"; filename=\"f %221.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x-7--\r\n"},
		"other type":          {every, "text/plain", "r=1", "r=1"},
		"type that is made":   {`{"remove":{"body":["r"]},"replace":{"headers":["content-type:application/json"]}}`, "text/plain", `{"r":1}`, `{}`},
		"no change to bodies": {`{"remove":{"headers":["r"]}}`, formType, "r=1", "r=1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := sent{kind: test.kind, body: test.body, fields: []string{"X-A", "A", "Content-Length", "77"}}.exchange()
			if transform(t, test.config, ex) != plugin.Continue {
				t.Fatalf("refused: %s", ex.Response.Body)
			}
			got := plugintest.ReadBody(t, ex)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if got != test.body && (ex.Request.ContentLength != int64(len(got)) || ex.Request.Header.Get("Content-Length") != fmt.Sprint(len(got))) {
				t.Errorf("length %d, field %s, want %d", ex.Request.ContentLength, ex.Request.Header.Get("Content-Length"), len(got))
			}
		})
	}
}

// TestBodyWithout: a request without a body gets one if it says of which type.
func TestBodyWithout(t *testing.T) {
	ex := sent{fields: []string{"Content-Type", jsonType}}.exchange()
	transform(t, `{"add":{"body":["a:1"]}}`, ex)
	if got := plugintest.ReadBody(t, ex); got != `{"a":"1"}` || ex.Request.ContentLength != 9 {
		t.Errorf("%q, length %d", got, ex.Request.ContentLength)
	}
	ex = sent{}.exchange()
	transform(t, `{"add":{"body":["a:1"]}}`, ex)
	if ex.Request.Body != nil {
		t.Error("a body of no type")
	}
}

// TestBodyBounds: what cannot be changed is not let through, and not read either.
func TestBodyBounds(t *testing.T) {
	large := "r=1&a=" + strings.Repeat("x", maxBody)
	for _, tt := range []struct {
		config string
		kind   string
		length int64
		want   int
	}{
		{`{"remove":{"body":["r"]}}`, formType, int64(len(large)), 413},
		{`{"remove":{"body":["r"]}}`, formType, -1, 413},
		{`{"remove":{"body":["r"]}}`, "text/plain", -1, 0},
		{`{"remove":{"headers":["r"]}}`, formType, -1, 0},
		{`{"http_method":"GET"}`, formType, -1, 413},
		{`{"http_method":"PUT"}`, formType, -1, 0},
	} {
		ex := sent{fields: []string{"Content-Type", tt.kind}}.exchange()
		ex.Request.Body, ex.Request.ContentLength = strings.NewReader(large), tt.length
		verdict := transform(t, tt.config, ex)
		if tt.want == 0 {
			if verdict != plugin.Continue || plugintest.ReadBody(t, ex) != large {
				t.Errorf("%+v: refused or changed", tt)
			}
			continue
		}
		if verdict != plugin.Stop || ex.Response.Status != tt.want || !strings.Contains(string(ex.Response.Body), tooLarge) {
			t.Errorf("%+v: %v %d %s", tt, verdict, ex.Response.Status, ex.Response.Body)
		}
	}
	ex := sent{fields: []string{"Content-Type", formType}}.exchange()
	gone := errors.New("gone")
	for _, config := range []string{`{"remove":{"body":["r"]}}`, `{"http_method":"GET"}`} {
		ex.Request.Body, ex.Request.ContentLength = io.MultiReader(strings.NewReader("r=1"), iotest.ErrReader(gone)), -1
		if transform(t, config, ex) != plugin.Continue {
			t.Fatal("refused")
		}
		if got, err := io.ReadAll(ex.Request.Body); string(got) != "r=1" || !errors.Is(err, gone) {
			t.Errorf("the upstream gets %q and %v", got, err)
		}
	}
	ex = sent{kind: partsType, body: form("r", "1"), fields: []string{"X-A", "--x-7"}}.exchange()
	if transform(t, `{"remove":{"body":["r"]},"add":{"body":["a:$(headers.x_a)"]}}`, ex) != plugin.Stop || ex.Response.Status != 400 {
		t.Errorf("a value with the boundary: %d %q", ex.Response.Status, plugintest.ReadBody(t, ex))
	}
}

func TestMethod(t *testing.T) {
	tests := []struct {
		method, kind, body string
		query, left        string
	}{
		{"PUT", formType, "a=1", "q=0", "a=1"},
		{"GET", formType, "a=1&b=%7e", "q=0&a=1&b=%7e", ""},
		{"HEAD", formType, "a=x y\n#é&&", "q=0&a=x%20y%0A%23%C3%A9", ""},
		{"TRACE", formType, "", "q=0", ""},
		{"GET", jsonType, `{"a":1}`, "q=0", `{"a":1}`},
	}
	for _, tt := range tests {
		ex := sent{target: "/a?q=0", kind: tt.kind, body: tt.body}.exchange()
		transform(t, `{"http_method":"`+tt.method+`"}`, ex)
		moved := tt.kind == formType && tt.left == ""
		if ex.Upstream.Method != tt.method || ex.Request.Method != "POST" || ex.Upstream.Query != tt.query ||
			plugintest.ReadBody(t, ex) != tt.left || moved == ex.Request.Header.Has("Content-Type") {
			t.Errorf("%+v: %s ?%s, fields %s", tt, ex.Upstream.Method, ex.Upstream.Query, lines(ex))
		}
	}
	ex := sent{kind: formType, body: "a=1"}.exchange()
	transform(t, `{"http_method":"GET","remove":{"querystring":["a"]},"add":{"querystring":["b:2"]}}`, ex)
	if ex.Upstream.Query != "b=2" || !ex.Upstream.HasQuery {
		t.Errorf("the query's changes come after: %q", ex.Upstream.Query)
	}
}

func TestURI(t *testing.T) {
	tests := []struct{ uri, target, want string }{
		{"/b", "/a", "/b"}, {"/b", "/a?x=1", "/b?x=1"}, {"b", "/a", "/b"}, {"/b c#é", "/a", "/b%20c%23%C3%A9"},
		{"/b?y=2", "/a", "/b?y=2"}, {"/b?y=2", "/a?x=1", "/b?y=2&x=1"}, {"/b?", "/a", "/b?"},
		{"/b/$(uri_captures.word)/$(uri_captures[1])", "/a", "/b/b/b"}, {"/$(headers.x_a)/z", "/a", "/q%3Fr%20%25s%41/t/z"},
		{"/$(query_params.none or \"d\")", "/a", "/d"}, {"$(headers.x_none)", "/a?x=1", "/?x=1"}, {"/b?u=$(headers.x_a)", "/a", "/b?u=q%3Fr%20%25s%41/t"},
	}
	for _, tt := range tests {
		ex := sent{target: tt.target, fields: []string{"X-A", "q?r %s%41/t"}}.exchange()
		transform(t, `{"replace":{"uri":"`+strings.ReplaceAll(tt.uri, `"`, `\"`)+`"}}`, ex)
		got := ex.Upstream.Path
		if ex.Upstream.HasQuery {
			got += "?" + ex.Upstream.Query
		}
		if got != tt.want {
			t.Errorf("%s of %s: %s, want %s", tt.uri, tt.target, got, tt.want)
		}
	}
}

// TestAllAtOnce: every part of a request, and the order of the parts.
func TestAllAtOnce(t *testing.T) {
	ex := sent{target: "/a?x=1", kind: formType, body: "a=1", fields: []string{"X-A", "1"}}.exchange()
	transform(t, `{"http_method":"PUT","remove":{"headers":["x-a"]},
		"replace":{"uri":"/n/$(headers.x_a)"},
		"add":{"headers":["X-Q:$(query_params.x)"],"querystring":["h:$(headers.x_a)"],"body":["h:$(headers.x_a)"]}}`, ex)
	got := fmt.Sprint(ex.Upstream.Method, " ", ex.Upstream.Path, "?", ex.Upstream.Query, " ", ex.Request.Header.Get("X-Q"), ex.Request.Header.Has("X-A"), " ", plugintest.ReadBody(t, ex))
	if want := "PUT /n/1?x=1&h=1 1false a=1&h=1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestConstantHeadersAllocate(t *testing.T) {
	p := plugintest.Instance(t, plugintest.Env(nil), name,
		`{"remove":{"headers":["x-b"]},"replace":{"headers":["x-a:2"]},"add":{"headers":["x-c:3"]}}`).(plugin.Accessor)
	ex := sent{fields: []string{"X-A", "1", "X-B", "2"}}.exchange()
	if n := testing.AllocsPerRun(200, func() { p.Access(ex) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHeaders(b *testing.B) {
	for name, config := range map[string]string{
		"constant": `{"replace":{"headers":["x-a:2"]},"add":{"headers":["x-a:3"]}}`,
		"template": `{"replace":{"headers":["x-a:$(headers.x_b or \"none\")"]}}`,
	} {
		b.Run(name, func(b *testing.B) {
			p := plugintest.Instance(b, plugintest.Env(nil), "request-transformer", config).(plugin.Accessor)
			ex := sent{fields: []string{"X-A", "1", "X-B", "2"}}.exchange()
			b.ReportAllocs()
			for b.Loop() {
				p.Access(ex)
			}
		})
	}
}

func BenchmarkJSON(b *testing.B) {
	p := plugintest.Instance(b, plugintest.Env(nil), name, `{"remove":{"body":["a"]},"add":{"body":["b:1"]}}`).(plugin.Accessor)
	b.ReportAllocs()
	for b.Loop() {
		p.Access(sent{kind: jsonType, body: `{"a":1,"c":{"d":[1,2,3]},"e":"text"}`}.exchange())
	}
}

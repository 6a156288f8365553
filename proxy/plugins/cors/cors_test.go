package cors

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	for body, want := range map[string]string{
		`{"config":{"origins":["*","https://a.test","(.*\\.)?a\\.test"]}}`: "",
		`{"config":{"origins":["a(b"]}}`:                                   "schema violation (config.origins: {\n  \"'a(b' is not a valid regex\"\n})",
		`{"config":{"origins":["a)(b"]}}`:                                  "schema violation (config.origins: {\n  \"'a)(b' is not a valid regex\"\n})",
		`{"config":{"origins":["(?=a)b"]}}`:                                "schema violation (config.origins: {\n  \"'(?=a)b' is not a valid regex\"\n})",
		`{"config":{"methods":["FETCH"]}}`:                                 "schema violation (config.methods: {\n  \"expected one of: GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS, TRACE, CONNECT\"\n})",
		`{"consumer":{"id":"6f4a486c-ec63-4144-afa9-2080b7e67c62"}}`:       "schema violation (consumer: value must be null)",
	} {
		if _, message, _ := plugintest.Insert(t, name, body); message != want {
			t.Errorf("%s: %q, want %q", body, message, want)
		}
	}
	stored, _, _ := plugintest.Insert(t, name, `{}`)
	want := map[string]any{
		"origins": nil, "headers": nil, "exposed_headers": nil, "max_age": nil, "credentials": false, "private_network": false,
		"preflight_continue": false, "allow_origin_absent": true,
		"methods": []any{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"},
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("cors")
	if !ok || d.Priority != 2000 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	for _, config := range []map[string]any{{"origins": 1}, {"origins": []any{"a(b"}}} {
		if _, err := New(nil, &plugin.Instance{Config: config}); err == nil {
			t.Errorf("%v was taken", config)
		}
	}
}

// short gives the fields of an answer without their common words, in order.
func short(ex *plugin.Exchange) string {
	var lines []string
	ex.Response.Header.All(func(name, value string) bool {
		name = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(name, "Access-Control-"), "Allow-"))
		lines = append(lines, name+"="+value)
		return true
	})
	return strings.Join(lines, "; ")
}

func instance(t testing.TB, config string) *Plugin {
	t.Helper()
	return plugintest.Instance(t, plugintest.Env(nil), name, config).(*Plugin)
}

const usualMethods = "methods=GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"

func TestPreflight(t *testing.T) {
	ask := []string{"Origin", "https://a.test", "Access-Control-Request-Method", "PUT"}
	with := func(more ...string) []string { return append(append([]string{}, ask...), more...) }
	const pass = "passes"
	tests := map[string]struct {
		config string
		method string
		fields []string
		want   string
	}{
		"plain":                     {`{}`, "OPTIONS", ask, "origin=*; " + usualMethods},
		"other method":              {`{}`, "GET", ask, pass},
		"no origin":                 {`{}`, "OPTIONS", ask[2:], pass},
		"no method":                 {`{}`, "OPTIONS", ask[:2], pass},
		"the service's":             {`{"preflight_continue":true}`, "OPTIONS", ask, pass},
		"headers asked for":         {`{}`, "OPTIONS", with("Access-Control-Request-Headers", "x-a, x-b"), "origin=*; headers=x-a, x-b; " + usualMethods},
		"headers configured":        {`{"headers":["X-C","X-D"]}`, "OPTIONS", with("Access-Control-Request-Headers", "x-a"), "origin=*; headers=X-C,X-D; " + usualMethods},
		"methods":                   {`{"methods":["GET","PUT"]}`, "OPTIONS", ask, "origin=*; methods=GET,PUT"},
		"age":                       {`{"max_age":3600}`, "OPTIONS", ask, "origin=*; " + usualMethods + "; max-age=3600"},
		"age 0":                     {`{"max_age":0}`, "OPTIONS", ask, "origin=*; " + usualMethods + "; max-age=0"},
		"exposed headers are later": {`{"exposed_headers":["X-A"]}`, "OPTIONS", ask, "origin=*; " + usualMethods},
		"private, not asked for":    {`{"private_network":true}`, "OPTIONS", ask, "origin=*; " + usualMethods},
		"private":                   {`{"private_network":true}`, "OPTIONS", with("Access-Control-Request-Private-Network", "true"), "origin=*; " + usualMethods + "; private-network=true"},
		"private, off":              {`{}`, "OPTIONS", with("Access-Control-Request-Private-Network", "true"), "origin=*; " + usualMethods},
		"credentials":               {`{"credentials":true}`, "OPTIONS", ask, "vary=Origin; origin=https://a.test; credentials=true; " + usualMethods},
		"one origin":                {`{"origins":["https://b.test"]}`, "OPTIONS", ask, "vary=Origin; origin=https://b.test; " + usualMethods},
		"several":                   {`{"origins":["https://b.test","https://a.test"]}`, "OPTIONS", ask, "vary=Origin; origin=https://a.test; " + usualMethods},
		"none of several":           {`{"origins":["https://b.test","https://c.test"],"credentials":true}`, "OPTIONS", ask, "vary=Origin; " + usualMethods},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange(test.method, "/", test.fields...)
			p := instance(t, test.config)
			verdict := p.Access(ex)
			if test.want == pass {
				if verdict != plugin.Continue || short(ex) != "" {
					t.Errorf("%v, %s", verdict, short(ex))
				}
				return
			}
			p.FilterHeader(ex) // runs for every answer
			if verdict != plugin.Stop || ex.Response.Status != 200 || ex.Response.Body == nil || len(ex.Response.Body) > 0 || ex.Response.Source != plugin.FromKong {
				t.Errorf("verdict %v, answer %+v", verdict, ex.Response)
			}
			if diff := cmp.Diff(test.want, short(ex)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	fromA := []string{"Origin", "https://a.test"}
	const two = `{"origins":["https://a.test","https://b.test"],"credentials":true}`
	tests := map[string]struct {
		config string
		fields []string // of the request
		given  []string // of the service's answer
		want   string
	}{
		"everyone":                      {`{}`, fromA, nil, "origin=*"},
		"everyone, by a star":           {`{"origins":["*"]}`, fromA, nil, "origin=*"},
		"everyone, among others":        {`{"origins":["https://a.test","*"]}`, fromA, nil, "origin=*"},
		"no origin":                     {`{}`, nil, nil, "origin=*"},
		"no origin, not wanted":         {`{"allow_origin_absent":false}`, nil, nil, ""},
		"origin where one is wanted":    {`{"allow_origin_absent":false}`, fromA, nil, "origin=*"},
		"exposed":                       {`{"exposed_headers":["X-A","X-B"]}`, fromA, nil, "origin=*; expose-headers=X-A,X-B"},
		"credentials of everyone":       {`{"credentials":true}`, fromA, nil, "vary=Origin; origin=https://a.test; credentials=true"},
		"credentials, no origin":        {`{"credentials":true}`, nil, nil, "vary=Origin; origin=*"},
		"one, named to others":          {`{"origins":["https://b.test"],"credentials":true}`, fromA, nil, "vary=Origin; origin=https://b.test; credentials=true"},
		"one, named to nobody":          {`{"origins":["https://b.test"]}`, nil, nil, "vary=Origin; origin=https://b.test"},
		"several":                       {two, fromA, nil, "vary=Origin; origin=https://a.test; credentials=true"},
		"several, not among them":       {two, []string{"Origin", "https://c.test"}, nil, "vary=Origin"},
		"several, no origin":            {two, nil, nil, "vary=Origin"},
		"the service's word is changed": {two, fromA, []string{allowOrigin, "*", allowCredentials, "no"}, "origin=https://a.test; credentials=true; vary=Origin"},
		"the service's word is removed": {two, []string{"Origin", "null"}, []string{allowOrigin, "null", allowCredentials, "true", "X-A", "1"}, "x-a=1; vary=Origin"},
		"Vary grows":                    {two, fromA, []string{"Vary", "Accept"}, "vary=Accept; vary=Origin; origin=https://a.test; credentials=true"},
		"Vary has it":                   {two, fromA, []string{"Vary", "Accept, origin"}, "vary=Accept, origin; origin=https://a.test; credentials=true"},
		"Vary has everything":           {two, fromA, []string{"Vary", "*"}, "vary=*; origin=https://a.test; credentials=true"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/", test.fields...)
			p := instance(t, test.config)
			if p.Access(ex) != plugin.Continue {
				t.Fatal("answered")
			}
			ex.Request.Header.Del("Origin") // by another plugin
			for i := 0; i+1 < len(test.given); i += 2 {
				ex.Response.Header.Add(test.given[i], test.given[i+1])
			}
			p.FilterHeader(ex)
			if diff := cmp.Diff(test.want, short(ex)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

// TestServicesPreflight: what the service answers is left alone.
func TestServicesPreflight(t *testing.T) {
	ex := plugintest.Exchange("OPTIONS", "/", "Origin", "https://a.test", "Access-Control-Request-Method", "PUT")
	p := instance(t, `{"preflight_continue":true,"origins":["https://b.test"]}`)
	ex.Response.Header.Set(allowOrigin, "https://a.test")
	p.FilterHeader(ex)
	if got := short(ex); p.Access(ex) != plugin.Continue || got != "origin=https://a.test" {
		t.Errorf("fields: %s", got)
	}
}

func TestOrigins(t *testing.T) {
	const none = "https://none.test" // makes it a list
	tests := []struct {
		entry, from string
		want        bool
	}{
		{"https://a.test", "https://a.test", true},
		{"https://a.test", "http://a.test", false},
		{"https://a.test", "https://a.test:443", true},
		{"https://a.test:443", "https://a.test", true},
		{"https://a.test:80", "https://a.test", false},
		{"http://a.test:80/", "http://a.test", true},
		{"https://a.test:8443", "https://a.test:8443", true},
		{"https://a.test:8443", "https://a.test", false},
		{"https://A.test", "https://a.TEST", true},
		{"https://a.test", "https://a.test.evil.test", false},
		{"https://a.test", "https://evil.test/https://a.test", false},
		{"a.test", "https://a.test", true},
		{"a.test", "http://a.test:8080", true},
		{"a.test", "https://b.a.test", false},
		{"a.test", "https://user@a.test", false},
		{"null", "null", true},
		{"localhost", "null", false},
		{`(.+\.)?a\.test`, "https://b.a.test:8080", true},
		{`(.+\.)?a\.test`, "https://a.test", true},
		{`(.+\.)?a\.test`, "https://eviltest", false},
		{`(.+\.)?a\.test`, "https://a.test.evil.test", false},
		{`.*\.a\.test`, "https://evil.test/x.a.test", false},
		{`https?://a\.test`, "http://a.test", true},
		{`https?://a\.test`, "https://a.test:443", true},
		{`https?://a\.test`, "https://a.test:444", false},
		{`https?://a\.test`, "https://a.testx", false},
		{`^https://a\.test$`, "https://a.test", true},
		{`https://(a|b)\.test|https://c\.test`, "https://c.test", true},
		{`https://a\.test|https://b\.test`, "https://a.test.evil.test", false},
		{`http://\[::1\]:\d+`, "http://[::1]:99", true},
		{`\[::1\]`, "http://[::1]", false}, // a colon: about the whole origin
		{`[a-z]+`, "null", true},
		{`.*`, "https://a.test/" + strings.Repeat("x", maxOrigin), false},
		{`.*`, "", false},
	}
	for _, tt := range tests {
		o, err := compile([]string{none, tt.entry})
		if err != nil {
			t.Fatal(err)
		}
		if named, got := o.name(tt.from); got != tt.want || got && named != tt.from {
			t.Errorf("%s, asked by %s: %t (%s), want %t", tt.entry, tt.from, got, named, tt.want)
		}
	}
}

// mark makes a function that marks the same answer again and again.
func marking(t testing.TB, config, from string) func() {
	p := instance(t, config)
	ex := plugintest.Exchange("GET", "/", "Origin", from)
	return func() {
		if p.Access(ex) != plugin.Continue {
			t.Fatal("answered")
		}
		p.FilterHeader(ex)
	}
}

func TestMarkAllocates(t *testing.T) {
	const list = `{"origins":["https://a.test","https://b.test:80","c.test"],"credentials":true,"exposed_headers":["X-A"]}`
	for _, tt := range []struct{ config, from string }{
		{`{}`, "https://a.test"}, {`{"credentials":true}`, "https://a.test"}, {`{"origins":["https://a.test"]}`, "https://b.test"},
		{list, "https://a.test"}, {list, "https://c.test:90"}, {list, "https://d.test"},
	} {
		if n := testing.AllocsPerRun(200, marking(t, tt.config, tt.from)); n != 0 {
			t.Errorf("%s, %s: %v allocations", tt.config, tt.from, n)
		}
	}
}

func BenchmarkMark(b *testing.B) {
	for name, config := range map[string]string{
		"everyone": `{}`, "literal": `{"origins":["https://b.test","https://a.test"]}`, "regex": `{"origins":["(.+\\.)?a\\.test"]}`,
	} {
		b.Run(name, func(b *testing.B) {
			run := marking(b, config, "https://a.test")
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

// FuzzOrigin: whatever comes as an origin, what is permitted begins and ends as
// the configuration says.
func FuzzOrigin(f *testing.F) {
	for _, from := range []string{"https://a.test", "null", "HTTPS://A.TEST:443", "https://[::1]:1", "://", "https://:80", "https://a.test:443:443", "https://a.test#x"} {
		f.Add(from)
	}
	o, err := compile([]string{"https://a.test", "host.test", `https://[a-z]+\.b\.test`, `[a-z]+\.c\.test`})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, from string) {
		whole, host := normal(from)
		if again, _ := normal(whole); !strings.Contains(whole, host) || len(whole) > len(strings.ToLower(from)) {
			t.Fatalf("%q is normally %q, %q, and again %q", from, whole, host, again)
		}
		named, ok := o.name(from)
		if !ok {
			return
		}
		known := whole == "https://a.test" || host == "host.test" || strings.HasSuffix(host, ".b.test") || strings.HasSuffix(host, ".c.test")
		if named != from || !known {
			t.Fatalf("%s may ask: %s", fmt.Sprintf("%q", from), named)
		}
	})
}

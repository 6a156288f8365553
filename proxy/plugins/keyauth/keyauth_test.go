package keyauth

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	_, message, fields := plugintest.Insert(t, name, `{"consumer":{"id":"6f4a486c-ec63-4144-afa9-2080b7e67c62"}}`)
	if want := "schema violation (consumer: value must be null)"; message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	if want := `{"consumer":"value must be null"}`; fields != want {
		t.Errorf("fields %s, want %s", fields, want)
	}
	stored, _, _ := plugintest.Insert(t, name, `{}`)
	want := map[string]any{
		"key_names": []any{"apikey"}, "hide_credentials": false, "anonymous": nil, "key_in_header": true,
		"key_in_query": true, "key_in_body": false, "run_on_preflight": true, "realm": nil,
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("key-auth")
	if !ok || d.Priority != 1250 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	if _, err := New(nil, &plugin.Instance{Config: map[string]any{"key_names": 1}}); err == nil {
		t.Error("a config of the wrong type was taken")
	}
}

// bob has the key "k1" and guest none; the key "orphan" belongs to nobody.
func directory() *plugintest.Directory {
	d := plugintest.NewDirectory()
	d.AddConsumer(&fsm.Consumer{ID: "c1", Username: "bob", CustomID: "b-7"})
	d.AddConsumer(&fsm.Consumer{ID: "c9", Username: "guest"})
	d.AddKey(&fsm.KeyAuth{ID: "id1", Consumer: fsm.Ref{ID: "c1"}, Key: "k1"})
	d.AddKey(&fsm.KeyAuth{ID: "id2", Consumer: fsm.Ref{ID: "gone"}, Key: "orphan"})
	return d
}

func access(t testing.TB, config string, ex *plugin.Exchange) plugin.Verdict {
	t.Helper()
	ex.Directory = directory()
	p := plugintest.Instance(t, plugintest.Env(nil), name, config)
	return p.(plugin.Accessor).Access(ex)
}

type request struct {
	method, target string
	header         []string
	contentType    string
	body           string
}

func (r *request) exchange() *plugin.Exchange {
	method := r.method
	if method == "" {
		method = "GET"
	}
	ex := plugintest.Exchange(method, "/a"+r.target, r.header...)
	if r.contentType != "" {
		plugintest.SetBody(ex, r.contentType, r.body)
	}
	return ex
}

const (
	formType  = "application/x-www-form-urlencoded"
	jsonType  = "application/json"
	partsType = `multipart/form-data; boundary="x-7"`
)

// part gives one part of a body of partsType.
func part(name, value string) string {
	return "--x-7\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func TestAccess(t *testing.T) {
	const (
		inBody  = `{"key_in_body":true}`
		twoKeys = `{"key_names":["first","apikey"],"key_in_body":true}`
	)
	accepted := ""
	tests := map[string]struct {
		config  string
		request request
		want    string // the message of a 401
	}{
		"nothing":                 {`{}`, request{}, noKey},
		"header":                  {`{}`, request{header: []string{"apikey", "k1"}}, accepted},
		"header, unknown":         {`{}`, request{header: []string{"apikey", "k2"}}, unknownKey},
		"header, nobody's":        {`{}`, request{header: []string{"apikey", "orphan"}}, unknownKey},
		"header, empty":           {`{}`, request{target: "?apikey=k1", header: []string{"apikey", ""}}, noKey},
		"header, twice":           {`{}`, request{header: []string{"apikey", "k1", "ApiKey", "k1"}}, duplicateKey},
		"header, off":             {`{"key_in_header":false}`, request{header: []string{"apikey", "k1"}}, noKey},
		"header with underscore":  {`{"key_names":["api_key"]}`, request{header: []string{"api_key", "k1"}}, accepted},
		"header with dash for it": {`{"key_names":["api_key"]}`, request{header: []string{"Api-Key", "k1"}}, accepted},
		"not the other way":       {`{"key_names":["api-key"]}`, request{header: []string{"api_key", "k1"}}, noKey},

		"query":                 {`{}`, request{target: "?x=1&apikey=k1"}, accepted},
		"query, escaped":        {`{}`, request{target: "?%61pikey=%6b1"}, accepted},
		"query, case":           {`{}`, request{target: "?ApiKey=k1"}, noKey},
		"query, twice":          {`{}`, request{target: "?apikey=k1&apikey=k1"}, duplicateKey},
		"query, empty":          {`{}`, request{target: "?apikey="}, noKey},
		"query, bare":           {`{}`, request{target: "?apikey"}, noKey},
		"query, off":            {`{"key_in_query":false}`, request{target: "?apikey=k1"}, noKey},
		"header before query":   {`{}`, request{target: "?apikey=k1", header: []string{"apikey", "k2"}}, unknownKey},
		"beyond 100 parameters": {`{}`, request{target: "?" + strings.Repeat("a=1&", 200) + "apikey=k1"}, accepted},

		"body, off":              {`{}`, request{contentType: formType, body: "apikey=k1"}, noKey},
		"form":                   {inBody, request{contentType: formType, body: "a=1&apikey=k1"}, accepted},
		"form, type with params": {inBody, request{contentType: "Application/X-WWW-Form-Urlencoded ; charset=utf-8", body: "apikey=k1"}, accepted},
		"form, twice":            {inBody, request{contentType: formType, body: "apikey=k1&apikey=k1"}, duplicateKey},
		"form, empty":            {inBody, request{contentType: formType, body: ""}, noKey},
		"query before form":      {inBody, request{target: "?apikey=k2", contentType: formType, body: "apikey=k1"}, unknownKey},
		"bare query hides form":  {inBody, request{target: "?apikey", contentType: formType, body: "apikey=k1"}, noKey},
		"JSON":                   {inBody, request{contentType: jsonType, body: `{"a":{"apikey":"k2"},"apikey":"k1"}`}, accepted},
		"JSON, escaped":          {inBody, request{contentType: jsonType, body: `{"\u0061pikey":"\u006b1"}`}, accepted},
		"JSON, list":             {inBody, request{contentType: jsonType, body: `{"apikey":["k1"]}`}, duplicateKey},
		"JSON, object":           {inBody, request{contentType: jsonType, body: `{"apikey":{"a":"k1"}}`}, duplicateKey},
		"JSON, number":           {inBody, request{contentType: jsonType, body: `{"apikey":1}`}, noKey},
		"JSON, null":             {inBody, request{contentType: jsonType, body: `{"apikey":null}`}, noKey},
		"JSON, false":            {inBody, request{contentType: jsonType, body: `{"apikey":false}`}, noKey},
		"JSON, the last counts":  {inBody, request{contentType: jsonType, body: `{"apikey":"k2","apikey":"k1"}`}, accepted},
		"JSON, broken":           {inBody, request{contentType: jsonType, body: `{"apikey":"k1"`}, noKey},
		"JSON, more behind it":   {inBody, request{contentType: jsonType, body: `{"apikey":"k1"}{}`}, noKey},
		"JSON, no object":        {inBody, request{contentType: jsonType, body: `["apikey","k1"]`}, noKey},
		"multipart":              {inBody, request{contentType: partsType, body: part("a", "1") + part("apikey", "k1") + "--x-7--\r\n"}, accepted},
		"multipart, twice":       {inBody, request{contentType: partsType, body: part("apikey", "k1") + part("apikey", "k1") + "--x-7--\r\n"}, duplicateKey},
		"multipart, cut short":   {inBody, request{contentType: partsType, body: part("apikey", "k1")}, noKey},
		"multipart, no boundary": {inBody, request{contentType: "multipart/form-data", body: part("apikey", "k1") + "--x-7--\r\n"}, noKey},
		"multipart, bad params":  {inBody, request{contentType: "multipart/form-data; boundary", body: "x"}, noKey},
		"other type":             {inBody, request{contentType: "text/plain", body: "apikey=k1"}, noKey},
		"body as large as can be": {inBody, request{contentType: formType,
			body: "apikey=k1&a=" + strings.Repeat("x", maxBody-len("apikey=k1&a="))}, accepted},
		"body too large": {inBody, request{contentType: formType,
			body: "apikey=k1&a=" + strings.Repeat("x", maxBody)}, noKey},

		"second name":            {twoKeys, request{header: []string{"apikey", "k1"}}, accepted},
		"first name first":       {twoKeys, request{target: "?first=k2", header: []string{"apikey", "k1"}}, unknownKey},
		"first name, empty":      {twoKeys, request{target: "?first=", header: []string{"apikey", "k1"}}, noKey},
		"first name, no string":  {twoKeys, request{target: "?first", header: []string{"apikey", "k1"}}, accepted},
		"first name, in a body":  {twoKeys, request{contentType: jsonType, body: `{"first":"k1"}`, header: []string{"apikey", "k2"}}, accepted},
		"first name, duplicated": {twoKeys, request{target: "?first=k1&first=k1", header: []string{"apikey", "k1"}}, duplicateKey},

		"preflight":       {`{}`, request{method: "OPTIONS"}, noKey},
		"preflight, free": {`{"run_on_preflight":false}`, request{method: "OPTIONS"}, accepted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := test.request.exchange()
			verdict := access(t, test.config, ex)
			if got := plugintest.ReadBody(t, ex); got != test.request.body {
				t.Errorf("the upstream gets the body %q", got)
			}
			if test.want == accepted {
				if verdict != plugin.Continue {
					t.Fatalf("refused: %s", ex.Response.Body)
				}
				return
			}
			want := "{\n  \"message\":\"" + test.want + "\",\n  \"request_id\":\"" + plugintest.RequestID + "\"\n}"
			if got := string(ex.Response.Body); verdict != plugin.Stop || ex.Response.Status != 401 || got != want {
				t.Errorf("verdict %v, answer %d %s, want 401 %s", verdict, ex.Response.Status, got, want)
			}
			if got := ex.Response.Header.Get("Www-Authenticate"); got != "Key" {
				t.Errorf("WWW-Authenticate: %s", got)
			}
			if ex.Consumer != nil || ex.Request.Header.Has("X-Consumer-Id") {
				t.Error("a refused request has a consumer")
			}
		})
	}
}

func TestAcceptedUpstream(t *testing.T) {
	ex := plugintest.Exchange("GET", "/", "apikey", "k1", "X-Consumer-Id", "forged", "X-Anonymous-Consumer", "true")
	if access(t, `{}`, ex) != plugin.Continue {
		t.Fatal("refused")
	}
	want := map[string][]string{
		"Apikey": {"k1"}, "X-Consumer-Id": {"c1"}, "X-Consumer-Username": {"bob"},
		"X-Consumer-Custom-Id": {"b-7"}, "X-Credential-Identifier": {"id1"},
	}
	if diff := cmp.Diff(want, ex.Request.Header.(*plugintest.Header).Map()); diff != "" {
		t.Errorf("header upstream (-want +got):\n%s", diff)
	}
	if ex.Credential != (plugin.Credential{ID: "id1", Identifier: "id1"}) {
		t.Errorf("credential %v", ex.Credential)
	}
}

func TestRealm(t *testing.T) {
	ex := plugintest.Exchange("GET", "/")
	access(t, `{"realm":"a b"}`, ex)
	if got := ex.Response.Header.Get("Www-Authenticate"); got != `Key realm="a b"` {
		t.Errorf("WWW-Authenticate: %s", got)
	}
}

func TestAnonymous(t *testing.T) {
	for _, key := range []string{"", "k2"} {
		ex := plugintest.Exchange("GET", "/", "apikey", key)
		if access(t, `{"anonymous":"guest"}`, ex) != plugin.Continue || ex.Consumer == nil || ex.Consumer.ID != "c9" {
			t.Errorf("key %q: consumer %v, answer %s", key, ex.Consumer, ex.Response.Body)
		}
		if ex.Request.Header.Get("X-Anonymous-Consumer") != "true" {
			t.Error("the upstream does not hear of it")
		}
	}

	ex := plugintest.Exchange("GET", "/", "apikey", "k1")
	if access(t, `{"anonymous":"guest"}`, ex) != plugin.Continue || ex.Consumer.ID != "c1" {
		t.Errorf("with a key: consumer %v", ex.Consumer)
	}

	ex = plugintest.Exchange("GET", "/")
	ex.Credential = plugin.Credential{ID: "of another plugin"}
	if access(t, `{"anonymous":"guest"}`, ex) != plugin.Continue || ex.Consumer != nil {
		t.Error("an accepted credential was not enough")
	}

	ex = plugintest.Exchange("GET", "/")
	if access(t, `{"anonymous":"nobody"}`, ex) != plugin.Stop || ex.Response.Status != 500 {
		t.Errorf("without the consumer: %d %s", ex.Response.Status, ex.Response.Body)
	}
}

func TestKeyNamesAreFieldNames(t *testing.T) {
	for key, ok := range map[string]bool{"apikey": true, "x-api_key": true, "a b": false, "a:b": false, "é": false} {
		_, message, _ := plugintest.Insert(t, name, `{"config":{"key_names":["`+key+`"]}}`)
		if (message == "") != ok {
			t.Errorf("%q: %q", key, message)
		}
	}
}

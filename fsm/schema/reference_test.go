package schema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
)

func referenceFields() []schema.Field {
	secret := schema.Field{Name: "secret", Type: schema.String, Referenceable: true}
	return []schema.Field{
		secret,
		{Name: "plain", Type: schema.String},
		{Name: "server", Type: schema.Record, Fields: []schema.Field{secret, {Name: "port", Type: schema.Integer}}},
		{Name: "list", Type: schema.Array, Elements: &secret},
		{Name: "servers", Type: schema.Array, Elements: &schema.Field{Type: schema.Record, Fields: []schema.Field{secret}}},
		{Name: "headers", Type: schema.Map, Keys: &schema.Field{Type: schema.String}, Values: &secret},
	}
}

func TestDereference(t *testing.T) {
	resolve := func(reference string) (string, error) {
		if strings.Contains(reference, "nope") {
			return "", errors.New("nowhere")
		}
		return "value", nil
	}
	for _, tt := range []struct{ in, want, err string }{
		{`{}`, `{}`, ""},
		{`{"secret":null,"server":null,"list":[],"headers":{}}`, `{"secret":null,"server":null,"list":[],"headers":{}}`, ""},
		{`{"secret":"x","plain":"{vault://env/a}"}`, `{"secret":"x","plain":"{vault://env/a}"}`, ""},
		{`{"secret":"{vault://env/a}","plain":"y"}`, `{"secret":"value","plain":"y"}`, ""},
		{`{"server":{"secret":"{vault://env/a}","port":1}}`, `{"server":{"secret":"value","port":1}}`, ""},
		{`{"list":["a","{vault://env/a}"]}`, `{"list":["a","value"]}`, ""},
		{`{"servers":[{"secret":"{vault://env/a}"},{}]}`, `{"servers":[{"secret":"value"},{}]}`, ""},
		{`{"headers":{"a":"b","c":"{vault://env/a}"}}`, `{"headers":{"a":"b","c":"value"}}`, ""},
		{`{"unknown":"{vault://env/a}"}`, `{"unknown":"{vault://env/a}"}`, ""},
		{`{"secret":"{vault://env/nope}"}`, "", "secret: nowhere"},
		{`{"server":{"secret":"{vault://env/nope}"}}`, "", "server: secret: nowhere"},
		{`{"list":["a","{vault://env/nope}"]}`, "", "list: 2: nowhere"},
		{`{"headers":{"c":"{vault://env/nope}"}}`, "", "headers: c: nowhere"},
	} {
		in := object(t, tt.in)
		out, found, err := schema.Dereference(referenceFields(), in, resolve)
		if diff := cmp.Diff(object(t, tt.in), in); diff != "" {
			t.Errorf("%s was changed: %s", tt.in, diff)
		}
		if tt.err != "" {
			if err == nil || err.Error() != tt.err || !found {
				t.Errorf("%s: %v, %v; want %s", tt.in, found, err, tt.err)
			}
			continue
		}
		if err != nil || found != (tt.in != tt.want) {
			t.Errorf("%s: found %v, %v", tt.in, found, err)
		}
		sameJSON(t, tt.want, out)
	}
}

// FuzzDereference: whatever stands in a record, it is not changed, and no reference is left in a field that
// may have one.
func FuzzDereference(f *testing.F) {
	f.Add(`{"secret":"{vault://env/a}","server":{"secret":"{vault://env/a}"},"list":["{vault://}",{}],"headers":[],"servers":{"a":1}}`)
	f.Fuzz(func(t *testing.T, body string) {
		in, ok := parse(body)
		if !ok {
			return
		}
		before, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		resolve := func(string) (string, error) { return "value", nil }
		out, _, err := schema.Dereference(referenceFields(), in, resolve)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, _ := schema.Dereference(referenceFields(), out, resolve); again {
			t.Errorf("%s: references are left in %v", body, out)
		}
		if after, _ := json.Marshal(in); string(after) != string(before) {
			t.Errorf("%s became %s", before, after)
		}
	})
}

package schema_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

// stored makes the entity that a patch then meets.
func stored(t testing.TB, s *schema.Schema, body string) map[string]any {
	t.Helper()
	entity, violation := s.Insert(at(someTime), object(t, body))
	if violation != nil {
		t.Fatal(violation)
	}
	return entity
}

func TestUpdate(t *testing.T) {
	services, routes, all := entities.Services(), entities.Routes(), plugins()
	const limit = `{"name":"rate-limiting","config":{"minute":5,"redis_host":"h.test"}}`
	limitStored := but(t, pluginDefaults,
		`{"config.minute":5,"config.redis.host":"h.test","config.redis_host":"h.test","updated_at":1795447801}`)
	service := but(t, serviceDefaults, `{"updated_at":1795447801}`)
	route := but(t, routeDefaults, `{"updated_at":1795447801,"paths":["/a","/b"],"headers":{"x-a":["1"]}}`)
	const routeBody = `{"paths":["/a","/b"],"headers":{"x-a":["1"]}}`
	for _, c := range []struct {
		name          string
		schema        *schema.Schema
		stored, patch string
		base, change  string
	}{
		{"nothing", services, `{"host":"h"}`, `{}`, service, `{}`},
		{"values", services, `{"host":"h"}`, `{"path":"/p","tags":["a"]}`, service, `{"path":"/p","tags":["a"]}`},
		{"null", services, `{"host":"h","retries":7}`, `{"retries":null}`, service, `{"retries":null}`},
		{"id", services, `{"host":"h"}`, `{"id":"` + otherID + `"}`, service, `{}`},
		{"no id at all", services, `{"host":"h"}`, `{"id":"x"}`, service, `{}`},
		{"created_at", services, `{"host":"h"}`, `{"created_at":5}`, service, `{"created_at":5}`},
		{"url", services, `{"host":"h"}`, `{"url":"https://u.test/z"}`, service,
			`{"host":"u.test","path":"/z","port":443,"protocol":"https"}`},
		{"a map is replaced", routes, routeBody, `{"headers":{"x-b":["2"]}}`, route, `{"headers":{"x-b":["2"]}}`},
		{"an array is replaced", routes, routeBody, `{"paths":["/only"]}`, route, `{"paths":["/only"]}`},
		{"records merge", all, limit, `{"config":{"second":3,"redis":{"port":6380}}}`, limitStored,
			`{"config.second":3,"config.redis.port":6380,"config.redis_port":6380}`},
		{"a shorthand", all, limit, `{"config":{"redis_host":"g.test"}}`, limitStored,
			`{"config.redis.host":"g.test","config.redis_host":"g.test"}`},
		{"a null in a record", all, limit, `{"config":{"redis":{"host":null}}}`, limitStored,
			`{"config.redis.host":null,"config.redis_host":null}`},
		{"a foreign key", all, limit, `{"service":{"id":"` + otherID + `","name":"s"}}`, limitStored,
			`{"service":{"id":"` + otherID + `"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := stored(t, c.schema, c.stored)
			patch := object(t, c.patch)
			got, violation := c.schema.Update(at(1795447801), before, patch)
			if violation != nil {
				t.Fatal(violation)
			}
			sameJSON(t, but(t, c.base, c.change), got)
			if diff := cmp.Diff(stored(t, c.schema, c.stored), before); diff != "" {
				t.Errorf("the stored entity was changed (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(object(t, c.patch), patch); diff != "" {
				t.Errorf("the patch was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestUpdateViolations(t *testing.T) {
	const (
		limit   = `{"name":"rate-limiting","config":{"minute":5}}`
		updated = "when updating, at least one of these fields must be non-empty: "
		periods = "'config.second', 'config.minute', 'config.hour', 'config.day', 'config.month', 'config.year'"
		noHTTPS = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
	)
	for _, c := range []struct {
		schema *schema.Schema
		stored string
		want   rejection
	}{
		{entities.Services(), `{"host":"h"}`,
			rejection{`{"host":null}`, `{"host":"required field missing"}`, "schema violation (host: required field missing)"}},
		{entities.Services(), `{"host":"h"}`,
			rejection{`{"path":""}`, `{"path":"length must be at least 1"}`, "schema violation (path: length must be at least 1)"}},
		{entities.Services(), `{"host":"h","path":"/x"}`,
			rejection{`{"protocol":"tcp"}`,
				`{"@entity":["failed conditional validation given value of field 'protocol'"],"path":"value must be null"}`,
				"2 schema violations (failed conditional validation given value of field 'protocol'; path: value must be null)"}},
		{entities.Consumers(), `{"username":"bob"}`,
			rejection{`{"username":null,"custom_id":null}`, `{"@entity":["` + updated + `'custom_id', 'username'"]}`,
				"schema violation (" + updated + "'custom_id', 'username')"}},
		{entities.Routes(), `{"paths":["/x"]}`,
			rejection{`{"paths":[]}`, `{"@entity":["` + noHTTPS + `"]}`, "schema violation (" + noHTTPS + ")"}},
		{entities.Routes(), `{"paths":["/x"]}`,
			rejection{`{"protocols":["grpc"]}`,
				`{"strip_path":"cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"}`,
				"schema violation (strip_path: cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs')"}},
		{plugins(), limit,
			rejection{`{"config":{"minute":null}}`, `{"@entity":["` + updated + periods + `"]}`,
				"schema violation (" + updated + periods + ")"}},
		{plugins(), limit,
			rejection{`{"config":{"redis_port":1,"redis":{"port":2}}}`,
				`{"config":{"redis_port":"both deprecated and new field are used but their values mismatch: redis_port = 1 vs redis.port = 2"}}`,
				"schema violation (config.redis_port: both deprecated and new field are used but their values mismatch: redis_port = 1 vs redis.port = 2)"}},
		{plugins(), limit,
			rejection{`{"name":"jwt"}`,
				`{"config":{"day":"unknown field","error_code":"unknown field","error_message":"unknown field",
				"fault_tolerant":"unknown field","header_name":"unknown field","hide_client_headers":"unknown field",
				"hour":"unknown field","limit_by":"unknown field","minute":"unknown field","month":"unknown field",
				"path":"unknown field","policy":"unknown field","redis":"unknown field","second":"unknown field",
				"sync_rate":"unknown field","year":"unknown field"}}`,
				"16 schema violations (config.day: unknown field; config.error_code: unknown field; " +
					"config.error_message: unknown field; config.fault_tolerant: unknown field; " +
					"config.header_name: unknown field; config.hide_client_headers: unknown field; " +
					"config.hour: unknown field; config.limit_by: unknown field; config.minute: unknown field; " +
					"config.month: unknown field; config.path: unknown field; config.policy: unknown field; " +
					"config.redis: unknown field; config.second: unknown field; config.sync_rate: unknown field; " +
					"config.year: unknown field)"}},
	} {
		t.Run(c.schema.Name+c.want.body, func(t *testing.T) {
			got, violation := c.schema.Update(at(someTime), stored(t, c.schema, c.stored), object(t, c.want.body))
			if violation == nil {
				t.Fatalf("accepted as %v", got)
			}
			if got := violation.Error(); got != c.want.message {
				t.Errorf("message\nwant %s\ngot  %s", c.want.message, got)
			}
			sameJSON(t, c.want.fields, violation)
		})
	}
}

func TestUpdateTTL(t *testing.T) {
	s := entities.KeyauthCredentials()
	before := stored(t, s, `{"consumer":{"id":"`+someID+`"},"key":"k","ttl":100}`)
	for patch, want := range map[string]any{
		`{"tags":["x"]}`: int64(100), `{"ttl":5}`: int64(5), `{"ttl":0}`: nil, `{"ttl":null}`: nil,
	} {
		got, violation := s.Update(at(someTime), before, object(t, patch))
		if violation != nil {
			t.Fatal(violation)
		}
		if got["ttl"] != want {
			t.Errorf("%s: ttl is %v, want %v", patch, got["ttl"], want)
		}
	}
	_, violation := s.Update(at(someTime), before, object(t, `{"ttl":-1}`))
	if violation == nil || !violation.Options {
		t.Errorf("a ttl of -1 gives %v, want a violation of options", violation)
	}
}

func TestUnresolved(t *testing.T) {
	s := plugins()
	entity := stored(t, s, `{"name":"rate-limiting","config":{"minute":1},"route":{"name":"r"},
		"service":{"id":"`+someID+`"},"consumer":{"username":"bob"}}`)
	var got []string
	for field, reference := range s.Unresolved(entity) {
		for key, value := range reference {
			got = append(got, field.Reference+" "+key+" "+value.(string))
		}
	}
	if diff := cmp.Diff([]string{"routes name r", "consumers username bob"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for range s.Unresolved(entity) { // an iterator that is left early stops
		break
	}
}

// TestBrief: what is left out of a stored entity is what Insert puts in again.
func TestBrief(t *testing.T) {
	s := schema.Must(&schema.Schema{Name: "things", Fields: []schema.Field{
		{Name: "null", Type: schema.String},
		{Name: "kept", Type: schema.String, Default: "x"},
		{Name: "drawn", Type: schema.String, Auto: true},
		{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
			{Name: "null", Type: schema.Integer}, {Name: "kept", Type: schema.Integer, Default: 1}, {Name: "new", Type: schema.String},
		}, Shorthands: []schema.Field{{Name: "old", Type: schema.String, Deprecation: &schema.Deprecation{ReplacedWith: [][]string{{"new"}}}}}},
	}})
	stored := map[string]any{"null": nil, "kept": nil, "drawn": nil,
		"config": map[string]any{"null": nil, "kept": nil, "new": "n", "old": "n"}}
	entity := s.Normalize(stored)
	s.Brief(entity)
	want := map[string]any{"kept": nil, "drawn": nil, "config": map[string]any{"kept": nil, "new": "n"}}
	if diff := cmp.Diff(want, entity); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	again, violation := s.Insert(schema.Context{Now: time.Now, NewSecret: func() string { return "drawn" }}, entity)
	if diff := cmp.Diff(stored, again); violation != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", violation, diff)
	}
}

package schema_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

const (
	serviceDefaults = `{"ca_certificates":null,"client_certificate":null,"connect_timeout":60000,
		"created_at":1795447786,"enabled":true,"host":"h","id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","name":null,
		"path":null,"port":80,"protocol":"http","read_timeout":60000,"retries":5,"tags":null,"tls_verify":null,
		"tls_verify_depth":null,"updated_at":1795447786,"write_timeout":60000}`
	routeDefaults = `{"created_at":1795447786,"destinations":null,"headers":null,"hosts":null,
		"https_redirect_status_code":426,"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","methods":null,"name":null,
		"path_handling":"v0","paths":null,"preserve_host":false,"protocols":["http","https"],"regex_priority":0,
		"request_buffering":true,"response_buffering":true,"service":null,"snis":null,"sources":null,
		"strip_path":true,"tags":null,"updated_at":1795447786}`
	limitDefaults = `{"day":null,"error_code":429,"error_message":"API rate limit exceeded","fault_tolerant":true,
		"header_name":null,"hide_client_headers":false,"hour":null,"limit_by":"consumer","minute":null,"month":null,
		"path":null,"policy":"local","redis":{"database":0,"host":null,"password":null,"port":6379,
		"server_name":null,"ssl":false,"ssl_verify":false,"timeout":2000,"username":null},"redis_database":0,
		"redis_host":null,"redis_password":null,"redis_port":6379,"redis_server_name":null,"redis_ssl":false,
		"redis_ssl_verify":false,"redis_timeout":2000,"redis_username":null,"second":null,"sync_rate":-1,"year":null}`
	pluginDefaults = `{"config":` + limitDefaults + `,"consumer":null,"created_at":1795447786,"enabled":true,
		"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","instance_name":null,"name":"rate-limiting",
		"protocols":["grpc","grpcs","http","https"],"route":null,"service":null,"tags":null,"updated_at":1795447786}`
)

// but returns the JSON object base with the members of changes, dotted paths in it, on top.
func but(t *testing.T, base, changes string) string {
	t.Helper()
	m := object(t, base)
	for path, value := range object(t, changes) {
		at := m
		steps := strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			at, _ = at[step].(map[string]any)
		}
		at[steps[len(steps)-1]] = value
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a plugin's config can have and no entity has: a secret that is drawn, a list of records as a default.
func TestInsertFillsWithin(t *testing.T) {
	metric := schema.Field{Type: schema.Record, Fields: []schema.Field{
		{Name: "name", Type: schema.String, Required: true}, {Name: "rate", Type: schema.Number},
	}}
	s := schema.Must(&schema.Schema{Name: "s", Fields: []schema.Field{
		{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
			{Name: "key", Type: schema.String, Required: true, Auto: true},
			{Name: "secret", Type: schema.String, Auto: true},
			{Name: "space", Type: schema.String, Auto: true, Derived: true},
			{Name: "metrics", Type: schema.Array, Elements: &metric, Default: []any{map[string]any{"name": "n"}}},
		}},
	}})
	defaults := `{"config":{"key":"` + secret + `","secret":"` + secret + `","space":null,"metrics":[{"name":"n","rate":null}]}}`
	entity, violation := s.Insert(at(someTime), object(t, `{}`))
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, defaults, entity)

	entity, violation = s.Insert(at(someTime), object(t, `{"config":{"key":"k","secret":null,"metrics":[]}}`))
	if violation != nil {
		t.Fatal(violation)
	}
	given := `{"config":{"key":"k","secret":null,"space":null,"metrics":[]}}`
	sameJSON(t, given, entity)

	// an update draws nothing
	entity, violation = s.Update(at(someTime), entity, object(t, `{"config":{"metrics":null}}`))
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, but(t, given, `{"config.metrics":null}`), entity)
	if _, violation = s.Update(at(someTime), entity, object(t, `{"config":{"key":null}}`)); violation == nil {
		t.Error("a key was removed")
	}
}

func TestInsert(t *testing.T) {
	services, routes, consumers, all := entities.Services(), entities.Routes(), entities.Consumers(), plugins()
	owner := `"consumer":{"id":"` + someID + `"}`
	for _, c := range []struct {
		name   string
		schema *schema.Schema
		body   string
		base   string // the output, but for changes
		change string
	}{
		{"defaults", services, `{"host":"h"}`, serviceDefaults, `{}`},
		{"url", services, `{"url":"http://example.test:5000/base","name":"svc1"}`, serviceDefaults,
			`{"host":"example.test","port":5000,"path":"/base","name":"svc1"}`},
		{"url overrides", services, `{"url":"http://h.test:8080/p/","port":1}`, serviceDefaults,
			`{"host":"h.test","port":8080,"path":"/p/"}`},
		{"url https", services, `{"url":"https://h.test"}`, serviceDefaults,
			`{"host":"h.test","port":443,"protocol":"https"}`},
		{"numbers", services, `{"host":"h","port":5.0,"retries":1e2}`, serviceDefaults, `{"port":5,"retries":100}`},
		{"null for a default", services, `{"host":"h","retries":null}`, serviceDefaults, `{"retries":null}`},
		{"empty list and set", services, `{"host":"h","tags":[],"protocol":"https","ca_certificates":{}}`, serviceDefaults,
			`{"tags":[],"protocol":"https","ca_certificates":[]}`},
		{"timestamps", services, `{"host":"h","created_at":5,"updated_at":6}`, serviceDefaults, `{"created_at":5}`},
		{"id in lower case", services, `{"host":"h","id":"5ACB9052-D567-4DA6-9575-082C0771ACD3"}`, serviceDefaults,
			`{"id":"` + otherID + `"}`},
		{"sets and arrays", routes, `{"paths":["/z","/z"],"methods":["GET","GET"],"tags":["a","b","a"]}`, routeDefaults,
			`{"paths":["/z","/z"],"methods":["GET"],"tags":["a","b"]}`},
		{"empties stay", routes, `{"paths":["/z"],"methods":[],"hosts":[],"headers":{}}`, routeDefaults,
			`{"paths":["/z"],"methods":[],"hosts":[],"headers":{}}`},
		{"empty list for a map", routes, `{"paths":["/z"],"headers":[]}`, routeDefaults, `{"paths":["/z"],"headers":{}}`},
		{"regular expression", routes, `{"paths":["~/a/(?<id>\\d+)$"]}`, routeDefaults, `{"paths":["~/a/(?<id>\\d+)$"]}`},
		{"foreign key with company", routes, `{"paths":["/"],"service":{"id":"` + otherID + `","name":"s"}}`, routeDefaults,
			`{"paths":["/"],"service":{"id":"` + otherID + `"}}`},
		{"foreign key by name", routes, `{"paths":["/"],"service":{"name":"svc1"}}`, routeDefaults,
			`{"paths":["/"],"service":{"name":"svc1"}}`},
		{"grpc default", routes, `{"protocols":["grpcs","grpc"],"snis":["a.test"]}`, routeDefaults,
			`{"protocols":["grpcs","grpc"],"snis":["a.test"],"strip_path":false}`},
		{"records in a set", routes, `{"protocols":["tcp"],"sources":[{"ip":"::1/128"},{"port":9}]}`, routeDefaults,
			`{"protocols":["tcp"],"sources":[{"ip":"::1/128","port":null},{"ip":null,"port":9}]}`},
		{"consumer", consumers, `{"username":"café x"}`,
			`{"created_at":1795447786,"updated_at":1795447786,"id":"` + someID + `","custom_id":null,"tags":null}`,
			`{"username":"café x"}`},
		{"jwt secret", entities.JWTSecrets(), `{` + owner + `}`,
			`{"algorithm":"HS256",` + owner + `,"created_at":1795447786,"id":"` + someID + `","key":"` + secret + `",
			"rsa_public_key":null,"secret":"` + secret + `","tags":null}`, `{}`},
		{"no ttl", entities.KeyauthCredentials(), `{` + owner + `,"key":"k","ttl":0}`,
			`{` + owner + `,"created_at":1795447786,"id":"` + someID + `","key":"k","tags":null,"ttl":null}`, `{}`},
		{"ttl", entities.KeyauthCredentials(), `{` + owner + `,"key":"k","ttl":100}`,
			`{` + owner + `,"created_at":1795447786,"id":"` + someID + `","key":"k","tags":null,"ttl":100}`, `{}`},
		{"plugin", all, `{"name":"rate-limiting","config":{"minute":1.5},"service":{"name":"x"}}`, pluginDefaults,
			`{"config.minute":1.5,"service":{"name":"x"}}`},
		{"echo of a new field", all, `{"name":"rate-limiting","config":{"minute":5,"redis":{"host":"h.test"}}}`,
			pluginDefaults, `{"config.minute":5,"config.redis.host":"h.test","config.redis_host":"h.test"}`},
		{"echo of a deprecated field", all, `{"name":"rate-limiting","config":{"minute":5,"redis_host":"h.test"}}`,
			pluginDefaults, `{"config.minute":5,"config.redis.host":"h.test","config.redis_host":"h.test"}`},
		{"both spellings", all, `{"name":"rate-limiting","config":{"minute":5,"redis_port":7,"redis":{"port":7}}}`,
			pluginDefaults, `{"config.minute":5,"config.redis.port":7,"config.redis_port":7}`},
		{"vault reference", all, `{"name":"rate-limiting","config":{"minute":5,"redis":{"username":"{vault://env/u}"}}}`,
			pluginDefaults, `{"config.minute":5,"config.redis.username":"{vault://env/u}","config.redis_username":"{vault://env/u}"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := object(t, c.body)
			got, violation := c.schema.Insert(at(someTime), in)
			if violation != nil {
				t.Fatal(violation)
			}
			sameJSON(t, but(t, c.base, c.change), got)
			if diff := cmp.Diff(object(t, c.body), in); diff != "" {
				t.Errorf("the input was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestCanonicalTypes looks at what JSON cannot tell apart.
func TestCanonicalTypes(t *testing.T) {
	got, violation := plugins().Insert(at(someTime), object(t, `{"name":"rate-limiting","config":{"minute":5}}`))
	if violation != nil {
		t.Fatal(violation)
	}
	config := got["config"].(map[string]any)
	if _, ok := config["minute"].(float64); !ok {
		t.Errorf("a number is a %T, want float64", config["minute"])
	}
	if _, ok := config["redis"].(map[string]any)["port"].(int64); !ok {
		t.Errorf("an integer is a %T, want int64", config["redis"].(map[string]any)["port"])
	}
	if _, ok := got["protocols"].([]any); !ok {
		t.Errorf("a set is a %T, want []any", got["protocols"])
	}
}

// TestMilliseconds is the timestamp of targets.
func TestMilliseconds(t *testing.T) {
	s := schema.Must(&schema.Schema{Name: "targets", Fields: []schema.Field{
		{Name: "updated_at", Type: schema.Number, Timestamp: true, Auto: true},
	}})
	got, violation := s.Insert(at(someTime), nil)
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, `{"updated_at":1795447786.516}`, got)
}

// TestConcurrentUse is for the race detector: one schema, many users, no shared results.
func TestConcurrentUse(t *testing.T) {
	s := plugins()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 20 {
				entity, violation := s.Insert(at(someTime), object(t, `{"name":"jwt"}`))
				if violation != nil {
					t.Error(violation)
					return
				}
				config := entity["config"].(map[string]any)
				config["uri_param_names"].([]any)[0] = "mine"
				entity["protocols"].([]any)[0] = "mine"
			}
		})
	}
	wait.Wait()
	entity, violation := s.Insert(at(someTime), object(t, `{"name":"jwt"}`))
	if violation != nil {
		t.Fatal(violation)
	}
	sameJSON(t, `["jwt"]`, entity["config"].(map[string]any)["uri_param_names"])
	sameJSON(t, `["grpc","grpcs","http","https"]`, entity["protocols"])
}

func BenchmarkInsertRoute(b *testing.B) {
	s := entities.Routes()
	in := object(b, `{"name":"r1","paths":["/a","~/b/\\d+"],"hosts":["*.example.test"],"methods":["GET"],
		"headers":{"x-a":["1"]},"service":{"id":"`+otherID+`"}}`)
	c := at(someTime)
	b.ReportAllocs()
	for b.Loop() {
		if _, violation := s.Insert(c, in); violation != nil {
			b.Fatal(violation)
		}
	}
}

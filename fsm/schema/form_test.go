package schema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

func TestFromForm(t *testing.T) {
	services, routes, all := entities.Services(), entities.Routes(), plugins()
	limit := all.For(map[string]any{"name": "rate-limiting"})
	for _, c := range []struct {
		name       string
		schema     *schema.Schema
		tree, want string
	}{
		{"integer", services, `{"port":"80"}`, `{"port":80}`},
		{"integer with spaces", services, `{"port":" 80 "}`, `{"port":80}`},
		{"fraction", services, `{"port":"5.5"}`, `{"port":5.5}`},
		{"exponent", services, `{"port":"1e3"}`, `{"port":1000}`},
		{"no number", services, `{"port":"abc","retries":"0x10","read_timeout":"inf","write_timeout":"NaN"}`,
			`{"port":"abc","retries":"0x10","read_timeout":"inf","write_timeout":"NaN"}`},
		{"out of range", services, `{"port":"1e999"}`, `{"port":"1e999"}`},
		{"boolean", services, `{"enabled":"true","tls_verify":"false"}`, `{"enabled":true,"tls_verify":false}`},
		{"no boolean", services, `{"enabled":"yes","tls_verify":"TRUE"}`, `{"enabled":"yes","tls_verify":"TRUE"}`},
		{"empty", services, `{"host":"","port":"","tags":"","client_certificate":""}`,
			`{"host":null,"port":null,"tags":null,"client_certificate":null}`},
		{"wrapped", services, `{"tags":"x,y"}`, `{"tags":["x,y"]}`},
		{"list", services, `{"tags":["x","y"]}`, `{"tags":["x","y"]}`},
		{"empty element", services, `{"tags":["x",""]}`, `{"tags":["x",null]}`},
		{"object for a list", services, `{"tags":{"a":"b"}}`, `{"tags":{"a":"b"}}`},
		{"list for a scalar", services, `{"port":["1","2"],"host":["a"]}`, `{"port":["1","2"],"host":["a"]}`},
		{"digits for a string", services, `{"name":"12345"}`, `{"name":"12345"}`},
		{"shorthand", services, `{"url":"http://h"}`, `{"url":"http://h"}`},
		{"unknown", services, `{"foo":"","bar":{"a":""}}`, `{"foo":"","bar":{"a":""}}`},
		{"map", routes, `{"headers":{"x-a":"1","x-b":["2","3"]}}`, `{"headers":{"x-a":["1"],"x-b":["2","3"]}}`},
		{"foreign key", routes, `{"service":{"id":"","name":"x"}}`, `{"service":{"id":null,"name":"x"}}`},
		{"foreign scalar", routes, `{"service":"x"}`, `{"service":"x"}`},
		{"list of records", routes, `{"sources":[{"ip":"::1","port":"80"}]}`, `{"sources":[{"ip":"::1","port":80}]}`},
		{"plugin", all, `{"name":"rate-limiting","config":{"minute":"5","redis":{"port":"1"},"redis_ssl":"true","x":"1"}}`,
			`{"name":"rate-limiting","config":{"minute":5,"redis":{"port":1},"redis_ssl":true,"x":"1"}}`},
		{"plugin without a name", all, `{"config":{"minute":"5"}}`, `{"config":{"minute":"5"}}`},
		{"patch of a plugin", limit, `{"config":{"minute":"5"}}`, `{"config":{"minute":5}}`},
		{"ttl", entities.KeyauthCredentials(), `{"ttl":"100"}`, `{"ttl":100}`},
		{"no ttl", entities.KeyauthCredentials(), `{"ttl":""}`, `{"ttl":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := object(t, c.tree)
			sameJSON(t, c.want, c.schema.FromForm(tree))
			if diff := cmp.Diff(object(t, c.tree), tree); diff != "" {
				t.Errorf("the tree was changed (-before +after):\n%s", diff)
			}
		})
	}
	got := routes.FromForm(map[string]any{"paths": []string{"/a"}})
	sameJSON(t, `{"paths":["/a"]}`, got)
}

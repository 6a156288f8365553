package ratelimiting

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) {
	plugintest.ComparePublished(t, name, plugintest.Edit{Field: "policy", Change: func(policy map[string]any) {
		list, _ := policy["one_of"].([]any)
		policy["one_of"] = append(list, "node")
		policy["err"] = "expected one of: local, cluster, redis"
	}})
}

func TestSchema(t *testing.T) {
	tests := map[string]struct{ config, message string }{
		"no limit": {`{}`,
			"schema violation (at least one of these fields must be non-empty: 'config.second', 'config.minute', " +
				"'config.hour', 'config.day', 'config.month', 'config.year')"},
		"zero": {`{"minute":0}`, "schema violation (config.minute: value must be greater than 0)"},
		"hour below minute": {`{"minute":5,"hour":2}`,
			"schema violation (config: The limit for hour(2.0) cannot be lower than the limit for minute(5.0))"},
		"year below second": {`{"second":10,"year":9.5}`,
			"schema violation (config: The limit for year(9.5) cannot be lower than the limit for second(10.0))"},
		"equal":          {`{"minute":5,"hour":5}`, ""},
		"unknown policy": {`{"minute":5,"policy":"magic"}`, "schema violation (config.policy: expected one of: local, cluster, redis)"},
		"redis, no host": {`{"minute":5,"policy":"redis"}`,
			"2 schema violations (failed conditional validation given value of field 'config.policy'; " +
				"config.redis: {\n  host = \"required field missing\"\n})"},
		"header, no name": {`{"minute":5,"limit_by":"header"}`,
			"2 schema violations (failed conditional validation given value of field 'config.limit_by'; " +
				"config.header_name: required field missing)"},
		"path, none": {`{"minute":5,"limit_by":"path"}`,
			"2 schema violations (failed conditional validation given value of field 'config.limit_by'; " +
				"config.path: required field missing)"},
		"relative path": {`{"minute":5,"path":"a"}`, "schema violation (config.path: should start with: /)"},
		"relative path, used": {`{"minute":5,"limit_by":"path","path":"a"}`,
			"2 schema violations (failed conditional validation given value of field 'config.limit_by'; " +
				"config.path: should start with: /)"},
		"error code": {`{"minute":5,"error_code":0}`, "schema violation (config.error_code: value must be greater than 0)"},
		"sync_rate with local": {`{"minute":5,"sync_rate":1}`,
			"schema violation (config: sync_rate can only be used with the redis policy)"},
		"node": {`{"minute":5,"policy":"node"}`, ""},
		"sync_rate with node": {`{"minute":5,"policy":"node","sync_rate":1}`,
			"schema violation (config: sync_rate can only be used with the redis policy)"},
		"sync_rate too small": {`{"minute":5,"policy":"redis","redis":{"host":"r.test"},"sync_rate":0.01}`,
			"schema violation (config: sync_rate must be greater than 0.02, or -1 to disable)"},
		"sync_rate": {`{"minute":5,"policy":"redis","redis_host":"r.test","sync_rate":0.02}`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, got, _ := plugintest.Insert(t, "rate-limiting", `{"config":`+test.config+`}`)
			if diff := cmp.Diff(test.message, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	stored, _, _ := plugintest.Insert(t, name, `{"config":{"minute":5,"redis_host":"h.test"}}`)
	want := map[string]any{
		"second": nil, "minute": 5.0, "hour": nil, "day": nil, "month": nil, "year": nil,
		"limit_by": "consumer", "header_name": nil, "path": nil, "policy": "local", "fault_tolerant": true,
		"redis": map[string]any{
			"host": "h.test", "port": int64(6379), "timeout": int64(2000), "username": nil, "password": nil,
			"database": int64(0), "ssl": false, "ssl_verify": false, "server_name": nil,
		},
		"hide_client_headers": false, "error_code": 429.0, "error_message": "API rate limit exceeded",
		"sync_rate": -1.0, "redis_host": "h.test", "redis_port": int64(6379), "redis_timeout": int64(2000),
		"redis_username": nil, "redis_password": nil, "redis_database": int64(0), "redis_ssl": false,
		"redis_ssl_verify": false, "redis_server_name": nil,
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("rate-limiting")
	if !ok || d.Priority != 910 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	if _, err := New(plugintest.Env(nil), &plugin.Instance{}); err == nil {
		t.Error("works without a quota")
	}
	in := &plugin.Instance{Config: map[string]any{"minute": "5"}}
	if _, err := New(plugintest.Env(&plugintest.Quota{}), in); err == nil {
		t.Error("a config of the wrong type was taken")
	}
}

func TestRedisIsSaidToBeUnused(t *testing.T) {
	for body, said := range map[string]bool{
		`{"config":{"minute":5}}`:                                            false,
		`{"config":{"minute":5,"policy":"cluster"}}`:                         false,
		`{"config":{"minute":5,"policy":"node"}}`:                            false,
		`{"config":{"minute":5,"policy":"redis","redis":{"host":"h.test"}}}`: true,
		`{"config":{"minute":5,"policy":"local","redis_host":"h.test"}}`:     true,
	} {
		stored, message, _ := plugintest.Insert(t, name, body)
		if message != "" {
			t.Fatal(message)
		}
		config, _ := stored["config"].(map[string]any)
		if got := len(warn(config)) > 0; got != said {
			t.Errorf("%s: warned %v, want %v", body, got, said)
		}
	}
}

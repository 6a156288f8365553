package ratelimitingadvanced

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// with writes a config of five a minute and some more fields.
func with(more string) string { return `{"limit":[5],"window_size":[60],` + more + `}` }

func TestSchema(t *testing.T) {
	const identifiers = "expected one of: ip, credential, consumer, service, header, path, route (there are no consumer groups)"
	tests := map[string]struct{ config, message string }{
		"nothing":  {`{}`, "2 schema violations (config.limit: required field missing; config.window_size: required field missing)"},
		"no lists": {`{"limit":5,"window_size":60}`, "2 schema violations (config.limit: expected an array; config.window_size: expected an array)"},
		"empty": {`{"limit":[],"window_size":[]}`,
			"2 schema violations (config.limit: length must be at least 1; config.window_size: length must be at least 1)"},
		"too many": {`{"limit":[1,2,3,4,5,6,7,8,9],"window_size":[1,2,3,4,5,6,7,8,9]}`,
			"2 schema violations (config.limit: length must be at most 8; config.window_size: length must be at most 8)"},
		"as many as can be": {`{"limit":[1,2,3,4,5,6,7,8],"window_size":[1,2,3,4,5,6,7,8]}`, ""},
		"other lengths":     {`{"limit":[5],"window_size":[60,1]}`, "schema violation (You must provide the same number of windows and limits)"},
		"zero":              {`{"limit":[5,0],"window_size":[60,1]}`, "schema violation (config.limit: {\n  [2] = \"value must be greater than 0\"\n})"},
		"negative":          {`{"limit":[-1],"window_size":[60]}`, "schema violation (config.limit: {\n  \"value must be greater than 0\"\n})"},
		"text":              {`{"limit":["5"],"window_size":[60]}`, "schema violation (config.limit: {\n  \"expected a number\"\n})"},
		"half a second": {`{"limit":[5],"window_size":[0.5]}`,
			"schema violation (config.window_size: {\n  \"must be whole seconds, at least 1\"\n})"},
		"no time": {`{"limit":[5],"window_size":[0]}`,
			"schema violation (config.window_size: {\n  \"must be whole seconds, at least 1\"\n})"},
		"twelve days and a second": {`{"limit":[5],"window_size":[1048577]}`,
			"schema violation (config.window_size: {\n  \"must be at most two years, and above twelve days whole minutes\"\n})"},
		"for ever": {`{"limit":[5],"window_size":[1e300]}`,
			"schema violation (config.window_size: {\n  \"must be at most two years, and above twelve days whole minutes\"\n})"},
		"twice the same": {`{"limit":[5,6,7],"window_size":[62914500,1,62914500]}`, "schema violation (window_size has 62914500 twice)"},
		"more than fits": {`{"limit":[2147483648],"window_size":[60]}`,
			"schema violation (limit 2147483648: a sliding window admits at most 2147483647)"},
		"more than fits, fixed": {`{"limit":[274877906945],"window_size":[60],"window_type":"fixed"}`,
			"schema violation (limit 274877906945: a fixed window admits at most 274877906944)"},
		"as many bursts":              {`{"limit":[5,1],"window_size":[60,1],"burst":[2,3]}`, ""},
		"one burst":                   {`{"limit":[5,1],"window_size":[60,1],"burst":[2]}`, "schema violation (you must provide the same number of bursts and limits)"},
		"no burst":                    {with(`"burst":[]`), "schema violation (config.burst: length must be at least 1)"},
		"burst of nothing":            {with(`"burst":[0]`), "schema violation (config.burst: {\n  \"value must be greater than 0\"\n})"},
		"a fixed window's":            {with(`"burst":[2],"window_type":"fixed"`), "schema violation (burst: windows with one are not fixed: leave out window_type, or burst)"},
		"burst more than fits":        {with(`"burst":[2147483648]`), "schema violation (burst 2147483648: must be at most 2147483647)"},
		"the longer one admits less":  {`{"limit":[5,1],"window_size":[1,60]}`, ""},
		"fractions":                   {`{"limit":[0.5],"window_size":[60]}`, ""},
		"consumer groups":             {with(`"identifier":"consumer-group"`), "schema violation (config.identifier: " + identifiers + ")"},
		"consumer groups as well":     {with(`"compound_identifier":["ip","consumer-group"]`), "schema violation (config.compound_identifier: {\n  [2] = \"" + identifiers + "\"\n})"},
		"header, no name":             {with(`"identifier":"header"`), "schema violation (config.header_name: required field missing)"},
		"header as well, no name":     {with(`"compound_identifier":["ip","header"]`), "schema violation (config.header_name: required field missing)"},
		"path, none":                  {with(`"identifier":"path"`), "schema violation (config.path: required field missing)"},
		"relative path":               {with(`"identifier":"path","path":"a"`), "schema violation (config.path: should start with: /)"},
		"header, compound goes first": {with(`"identifier":"header","compound_identifier":["ip"]`), ""},
		"groups decide":               {with(`"enforce_consumer_groups":true`), "schema violation (config.enforce_consumer_groups: must be false: there are no consumer groups)"},
		"groups that do not decide":   {with(`"enforce_consumer_groups":false,"consumer_groups":["gold"]`), ""},
		"throttling": {with(`"throttling":{"enabled":true}`),
			"schema violation (config.throttling: {\n  enabled = \"must be false: refused requests cannot wait\"\n})"},
		"throttling, off":    {with(`"throttling":{"enabled":false,"interval":30}`), ""},
		"sync_rate":          {with(`"sync_rate":0.01`), "schema violation (config.sync_rate: must be -1, 0, or at least 0.02)"},
		"jitter":             {with(`"retry_after_jitter_max":-1`), "schema violation (config.retry_after_jitter_max: must not be negative)"},
		"no body":            {with(`"error_code":204`), "schema violation (config.error_code: must be a status from 200 to 599 whose answers have a body)"},
		"no status":          {with(`"error_code":429.5`), "schema violation (config.error_code: must be a status from 200 to 599 whose answers have a body)"},
		"no code":            {with(`"error_code":null`), "schema violation (config.error_code: required field missing)"},
		"unknown type":       {with(`"window_type":"leaky"`), "schema violation (config.window_type: expected one of: fixed, sliding)"},
		"unknown strategy":   {with(`"strategy":"magic"`), "schema violation (config.strategy: expected one of: cluster, redis, local, node)"},
		"no namespace":       {with(`"namespace":""`), "schema violation (config.namespace: length must be at least 1)"},
		"half a sentinel":    {with(`"redis":{"sentinel_master":"m"}`), "schema violation (config.redis: {\n  [\"@entity\"] = {\n    \"all or none of these fields must be set: 'sentinel_master', 'sentinel_role', 'sentinel_nodes'\"\n  }\n})"},
		"address, no port":   {with(`"redis":{"cluster_addresses":["h"]}`), "schema violation (config.redis: {\n  cluster_addresses = {\n    \"must be host:port\"\n  }\n})"},
		"address, what port": {with(`"redis":{"sentinel_addresses":["h:65536"]}`), "schema violation (config.redis: {\n  sentinel_addresses = {\n    \"must be host:port\"\n  }\n})"},
		"unknown field":      {with(`"custom_key":"k"`), "schema violation (config.custom_key: unknown field)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, got, _ := plugintest.Insert(t, "rate-limiting-advanced", `{"config":`+test.config+`}`)
			if diff := cmp.Diff(test.message, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func redisDefaults() map[string]any {
	return map[string]any{
		"host": "127.0.0.1", "port": int64(6379), "connect_timeout": int64(2000), "send_timeout": int64(2000),
		"read_timeout": int64(2000), "username": nil, "password": nil, "sentinel_username": nil, "sentinel_password": nil,
		"database": int64(0), "keepalive_pool_size": int64(256), "keepalive_backlog": nil, "sentinel_master": nil,
		"sentinel_role": nil, "sentinel_nodes": nil, "cluster_nodes": nil, "ssl": false, "ssl_verify": false,
		"server_name": nil, "cluster_max_redirections": int64(5), "connection_is_proxied": false, "redis_proxy_type": nil,
	}
}

func TestDefaults(t *testing.T) {
	stored, message, _ := plugintest.Insert(t, name, `{"config":{"limit":[5],"window_size":[60]}}`)
	want := map[string]any{
		"limit": []any{5.0}, "window_size": []any{60.0}, "window_type": "sliding", "identifier": "consumer",
		"compound_identifier": nil, "burst": nil, "header_name": nil, "path": nil, "namespace": "6f4a486cec634144afa92080b7e67c62",
		"strategy": "local", "sync_rate": nil, "fault_tolerant": true, "hide_client_headers": false,
		"retry_after_jitter_max": 0.0, "error_code": 429.0, "error_message": "API rate limit exceeded",
		"disable_penalty": false, "dictionary_name": "kong_rate_limiting_counters", "lock_dictionary_name": "kong_locks",
		"enforce_consumer_groups": false, "consumer_groups": nil, "throttling": nil, "redis": redisDefaults(),
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" || message != "" {
		t.Errorf("%s (-want +got):\n%s", message, diff)
	}
}

// TestRedis: older names are taken, and what Kong shows for one that is not used.
func TestRedis(t *testing.T) {
	want := redisDefaults()
	want["connect_timeout"], want["send_timeout"], want["read_timeout"] = int64(7), int64(8), int64(7)
	want["cluster_nodes"] = []any{map[string]any{"ip": "h", "port": int64(1)}, map[string]any{"ip": "::1", "port": int64(2)}}
	want["sentinel_nodes"], want["sentinel_master"], want["sentinel_role"] = []any{map[string]any{"host": "s", "port": int64(6379)}}, "m", "any"
	stored, message, _ := plugintest.Insert(t, name, `{"config":`+with(`"redis":{"timeout":7,"send_timeout":8,
		"cluster_addresses":["h:1","[::1]:2"],"sentinel_addresses":null,"sentinel_nodes":[{"host":"s"}],
		"sentinel_master":"m","sentinel_role":"any"}`)+`}`)
	config, _ := stored["config"].(map[string]any)
	if diff := cmp.Diff(any(want), config["redis"]); diff != "" || message != "" {
		t.Errorf("%s (-want +got):\n%s", message, diff)
	}
}

func TestRedisIsSaidToBeUnused(t *testing.T) {
	for more, said := range map[string]bool{
		`"strategy":"local"`:                                false,
		`"strategy":"node"`:                                 false,
		`"strategy":"cluster","sync_rate":1`:                false,
		`"strategy":"redis"`:                                true,
		`"redis":{"host":"h.test"}`:                         true,
		`"redis":{"cluster_addresses":["h.test:6379"]}`:     true,
		`"redis":{"host":"127.0.0.1","password":"changed"}`: false,
	} {
		stored, message, _ := plugintest.Insert(t, name, `{"config":`+with(more)+`}`)
		if message != "" {
			t.Fatal(message)
		}
		config, _ := stored["config"].(map[string]any)
		if got := len(warn(config)) > 0; got != said {
			t.Errorf("%s: warned %v, want %v", more, got, said)
		}
	}
}

// TestPublished: nothing is missing that Kong's release of this version shows.
func TestPublished(t *testing.T) {
	d, ok := plugin.Lookup("rate-limiting-advanced")
	if !ok || d.Priority != 910 || d.Version == "" {
		t.Fatalf("registered as %+v", d)
	}
	raw, err := json.Marshal(d.Schema.Field("config"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Fields []map[string]struct {
			Fields []map[string]any `json:"fields"`
		} `json:"fields"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, field := range config.Fields {
		for name := range field {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	ours := []string{"burst", "fault_tolerant", "throttling"} // the latter is of a later release
	want := append(ours, "compound_identifier", "consumer_groups", "dictionary_name", "disable_penalty",
		"enforce_consumer_groups", "error_code", "error_message", "header_name", "hide_client_headers", "identifier",
		"limit", "lock_dictionary_name", "namespace", "path", "redis", "retry_after_jitter_max", "strategy",
		"sync_rate", "window_size", "window_type")
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// TestForm: single values and numbered ones of a form are lists.
func TestForm(t *testing.T) {
	plugins := entities.Plugins().WithSubschemas(map[string]*schema.Schema{name: configSchema()})
	for _, c := range []struct {
		limit, size       any
		wantLimit, wantAt []any
	}{
		{"5", "60", []any{5.0}, []any{60.0}},
		{[]any{"2", "5"}, []any{"1", "60"}, []any{2.0, 5.0}, []any{1.0, 60.0}},
		{[]string{"2.5", "5"}, []string{"60", "1"}, []any{2.5, 5.0}, []any{60.0, 1.0}},
	} {
		tree := map[string]any{"name": name, "config": map[string]any{"limit": c.limit, "window_size": c.size}}
		stored, violation := plugins.Insert(context(), plugins.FromForm(tree))
		if violation != nil {
			t.Errorf("%v: %v", tree, violation)
			continue
		}
		config, _ := stored["config"].(map[string]any)
		if diff := cmp.Diff([]any{c.wantLimit, c.wantAt}, []any{config["limit"], config["window_size"]}); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tree, diff)
		}
	}
}

func context() schema.Context {
	return schema.Context{
		Now: plugintest.Now, NewID: func() string { return "00000000-0000-4000-8000-000000000001" },
		NewSecret: func() string { return "secret" },
	}
}

// TestPatch: lists are replaced, the rest stays, and what has become wrong is
// refused. A namespace stays; taken away, it is the instance's own again.
func TestPatch(t *testing.T) {
	const own = "00000000000040008000000000000001"
	plugins := entities.Plugins().WithSubschemas(map[string]*schema.Schema{name: configSchema()})
	stored, violation := plugins.Insert(context(), map[string]any{"name": name, "config": map[string]any{
		"limit": []any{2.0, 5.0}, "window_size": []any{1.0, 60.0}, "namespace": "shared", "identifier": "ip",
	}})
	if violation != nil {
		t.Fatal(violation)
	}
	for _, c := range []struct {
		patch                      map[string]any
		limit, size, namespace, by any
		message                    string
	}{
		{map[string]any{"limit": []any{3.0, 6.0}}, []any{3.0, 6.0}, []any{1.0, 60.0}, "shared", "ip", ""},
		{map[string]any{"limit": []any{3.0}}, nil, nil, nil, nil, "schema violation (You must provide the same number of windows and limits)"},
		{map[string]any{"limit": []any{9.0}, "window_size": []any{30.0}}, []any{9.0}, []any{30.0}, "shared", "ip", ""},
		{map[string]any{"namespace": nil}, []any{2.0, 5.0}, []any{1.0, 60.0}, own, "ip", ""},
		{map[string]any{"identifier": "header"}, nil, nil, nil, nil, "schema violation (config.header_name: required field missing)"},
		{map[string]any{"window_type": "fixed"}, []any{2.0, 5.0}, []any{1.0, 60.0}, "shared", "ip", ""},
	} {
		next, violation := plugins.Update(context(), stored, map[string]any{"config": c.patch})
		if violation != nil || c.message != "" {
			if violation == nil || violation.Error() != c.message {
				t.Errorf("%v: %v, want %q", c.patch, violation, c.message)
			}
			continue
		}
		config, _ := next["config"].(map[string]any)
		got := []any{config["limit"], config["window_size"], config["namespace"], config["identifier"]}
		if diff := cmp.Diff([]any{c.limit, c.size, c.namespace, c.by}, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.patch, diff)
		}
	}
}

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
)

func TestRoot(t *testing.T) {
	h := newHarness(t, testPlugins(), func(cfg *Config) {
		cfg.Info = Info{
			SluiceVersion: "0.1.0", Hostname: "host", Configuration: map[string]any{"log_level": "info", "database": "off"},
			ProxyListeners: []Listener{{Listener: "127.0.0.1:8000", IP: "127.0.0.1", Port: 8000}},
		}
	})
	h.must(201, "POST", "/plugins", "name=echo")
	got := h.get("/").fields(t)
	configuration := got["configuration"].(map[string]any)
	plugins := got["plugins"].(map[string]any)
	available := plugins["available_on_server"].(map[string]any)
	checks := []struct {
		name      string
		got, want any
	}{
		{"version", got["version"], "3.9.1"}, {"tagline", got["tagline"], "Welcome to kong"}, {"edition", got["edition"], "community"},
		{"node_id", got["node_id"], nodeID}, {"hostname", got["hostname"], "host"}, {"sluice_version", got["sluice_version"], "0.1.0"},
		{"database", configuration["database"], "postgres"}, {"router_flavor", configuration["router_flavor"], "traditional_compatible"},
		{"log_level", configuration["log_level"], "info"}, {"stream_listeners", configuration["stream_listeners"], []any{}},
		{"echo", available["echo"], map[string]any{"version": "2.0.0", "priority": 10.0}},
		{"enabled", plugins["enabled_in_cluster"], []any{"echo"}},
		{"listener", configuration["proxy_listeners"].([]any)[0].(map[string]any)["port"], 8000.0},
	}
	for _, c := range checks {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestStatus(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) {
		cfg.Status = func() Connections { return Connections{Accepted: 3, Requests: 9} }
		cfg.Problems = func() any { return []string{"route r: bad path"} }
	})
	got := h.get("/status").fields(t)
	server := got["server"].(map[string]any)
	if server["connections_accepted"] != 3.0 || server["total_requests"] != 9.0 || len(server) != 7 {
		t.Errorf("server %v", server)
	}
	if diff := cmp.Diff([]any{"route r: bad path"}, got["problems"]); diff != "" {
		t.Error(diff)
	}
	gc := func(query string) any {
		memory := h.get("/status" + query).fields(t)["memory"].(map[string]any)
		return memory["workers_lua_vms"].([]any)[0].(map[string]any)["http_allocated_gc"]
	}
	for query, suffix := range map[string]string{"": " MiB", "?unit=k": " KiB", "?unit=G&scale=4": " GiB"} {
		if text, ok := gc(query).(string); !ok || !strings.HasSuffix(text, suffix) {
			t.Errorf("%q: %v", query, gc(query))
		}
	}
	if n, ok := gc("?unit=b").(float64); !ok || n <= 0 {
		t.Errorf("bytes: %v", gc("?unit=b"))
	}
	for _, query := range []string{"?unit=x", "?scale=-1", "?scale=x", "?scale=99"} {
		if r := h.get("/status" + query); r.status != 400 {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

func TestEndpoints(t *testing.T) {
	h := newHarness(t, nil)
	var list []string
	for _, path := range h.get("/endpoints").fields(t)["data"].([]any) {
		list = append(list, path.(string))
	}
	want := strings.Fields(`
		/ /cache /cache/{key} /cluster /clustering/data-planes /clustering/status /config /endpoints /plugins/enabled /plugins/schema/{name}
		/proxy-cache /proxy-cache/{cache_key} /proxy-cache/{plugin_id}/caches/{cache_key}
		/schemas/plugins/validate /schemas/plugins/{name} /schemas/vaults/validate /schemas/vaults/{name}
		/history /history/verify /history/{index} /history/{index}/rollback /transactions /watch
		/schemas/{db_entity_name}/validate /schemas/{name} /status /status/dns /tags /tags/{tags} /timers
		/filter-chains/{filter_chains}/route /filter-chains/{filter_chains}/service
		/upstreams/{upstreams}/health /upstreams/{upstreams}/targets/all
		/upstreams/{upstreams}/targets/{targets}/healthy /upstreams/{upstreams}/targets/{targets}/unhealthy
		/upstreams/{upstreams}/targets/{targets}/{address}/healthy /upstreams/{upstreams}/targets/{targets}/{address}/unhealthy`)
	for _, collection := range strings.Fields(`
		/acls /admin_roles /admin_tokens /basic-auths /ca_certificates /certificates /certificates/{certificates}/services /certificates/{certificates}/snis
		/certificates/{certificates}/upstreams /consumers /consumers/{consumers}/acls /consumers/{consumers}/basic-auth
		/consumers/{consumers}/hmac-auth /consumers/{consumers}/jwt /consumers/{consumers}/key-auth /consumers/{consumers}/oauth2
		/consumers/{consumers}/plugins /filter-chains /hmac-auths /jwts /key-auths /key-sets /key-sets/{key_sets}/keys /keys /oauth2
		/oauth2/{oauth2_credentials}/oauth2_tokens /oauth2_tokens /plugins /routes /routes/{routes}/filter-chains
		/routes/{routes}/plugins /services /services/{services}/filter-chains /services/{services}/oauth2_tokens
		/services/{services}/plugins /services/{services}/routes /snis /upstreams /upstreams/{upstreams}/targets /vaults`) {
		last := collection[strings.LastIndexByte(collection, '/')+1:]
		kind := map[string]string{
			"basic-auth": "basicauth_credentials", "hmac-auth": "hmacauth_credentials", "jwt": "jwt_secrets",
			"key-auth": "keyauth_credentials", "key-set": "key_sets", "oauth2": "oauth2_credentials", "filter-chain": "filter_chains",
		}[strings.TrimSuffix(last, "s")]
		want = append(want, collection, fmt.Sprintf("%s/{%s}", collection, or(kind, last)))
	}
	for kind, fields := range map[string]string{
		"acls/{acls}": "consumer", "basic-auths/{basicauth_credentials}": "consumer", "hmac-auths/{hmacauth_credentials}": "consumer",
		"jwts/{jwt_secrets}": "consumer", "key-auths/{keyauth_credentials}": "consumer", "oauth2/{oauth2_credentials}": "consumer",
		"oauth2_tokens/{oauth2_tokens}": "credential service", "keys/{keys}": "set", "plugins/{plugins}": "consumer route service",
		"routes/{routes}": "service", "services/{services}": "client_certificate", "upstreams/{upstreams}": "client_certificate",
	} {
		for field := range strings.FieldsSeq(fields) {
			want = append(want, "/"+kind+"/"+field)
		}
	}
	slices.Sort(list)
	slices.Sort(want)
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
}

func TestSchemas(t *testing.T) {
	h := newHarness(t, testPlugins())
	for _, c := range h.api.collections {
		want, err := json.Marshal(c.Definition.Schema)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, want, h.get("/schemas/"+c.Kind).body)
	}
	echo := testPlugins()[1].Schema
	want, err := json.Marshal(echo)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, want, h.get("/schemas/plugins/echo").body)
	config := echo.Field("config")
	want, err = json.Marshal(&schema.Schema{Fields: config.Fields, Checks: config.Checks})
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, want, h.get("/plugins/schema/echo").body)
	h.run(script{
		{"GET", "/schemas/nope", "", 404, "No entity named 'nope'"},
		{"GET", "/schemas/plugins/nope", "", 404, "No plugin named 'nope'"},
		{"GET", "/plugins/schema/nope", "", 404, "No plugin named 'nope'"},
		{"GET", "/plugins/enabled", "", 200, `{"enabled_plugins":["gate","echo"]}`},
		{"POST", "/schemas/plugins/validate", "name=echo&config.size=2", 200, "schema validation successful"},
		{"POST", "/schemas/plugins/validate", "name=echo&config.size=x", 400, "config.size: expected a number"},
		{"POST", "/schemas/nope/validate", "a=1", 404, "No entity named 'nope'"},
		{"POST", "/schemas/keyauth_credentials/validate", `{"key":"k","consumer":{"id":"` + someID + `"}}`, 200, "schema validation successful"},
	})
	if n := h.cluster.index; n != 0 {
		t.Errorf("validation wrote %d commands", n)
	}
}

// A plugin instance may have the name of a fixed path.
func TestFixedSegmentsGiveWay(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.run(script{
		{"POST", "/services", "name=s&host=h", 201, ""},
		{"POST", "/services/s/plugins", "name=echo&instance_name=enabled", 201, ""},
		{"GET", "/plugins/enabled", "", 200, "enabled_plugins"},
		{"GET", "/plugins/enabled/service", "", 200, `"name":"s"`},
	})
}

func TestMetricsAndCluster(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) {
		cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprintln(w, "kong_up 1")
		})
	})
	r := h.get("/metrics")
	if r.status != 200 || string(r.body) != "kong_up 1\n" || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %s %v", r.status, r.body, r.header)
	}
	sameJSON(t, []byte(`{"quorum":true}`), h.get("/cluster").body)
	if r := newHarness(t, nil).get("/metrics"); r.status != 404 {
		t.Errorf("without metrics: %d", r.status)
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimiting"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimitingadvanced"
)

// TestRateLimitingAdvanced: the plugin's lists come as single values, numbered,
// repeated and as JSON, and change by PATCH.
func TestRateLimitingAdvanced(t *testing.T) {
	const id, own = "5acb9052-d567-4da6-9575-082c0771acd3", "5acb9052d5674da69575082c0771acd3"
	h := newHarness(t, plugin.All())
	h.run(script{
		{"POST", "/plugins", "name=rate-limiting-advanced&config.limit=5&config.window_size=60", 201, `"limit":[5],`},
		{"POST", "/services", "name=s&host=h", 201, ""},
		{"POST", "/services/s/plugins", "name=rate-limiting-advanced&instance_name=a&config.limit[1]=2&config.limit[2]=5&config.window_size[1]=1&config.window_size[2]=60", 201, `"limit":[2,5],`},
		{"PATCH", "/plugins/a", "config.limit=9&config.window_size=30", 200, `"limit":[9],`},
		{"PATCH", "/plugins/a", "config.limit[]=9&config.limit[]=3", 400, `"message":"schema violation (You must provide the same number of windows and limits)"`},
		{"PATCH", "/plugins/a", `{"config":{"limit":[2.5,7],"window_size":[1,90],"window_type":"fixed"}}`, 200, `"limit":[2.5,7],`},
		{"PATCH", "/plugins/a", "config.window_size[2]=1&config.window_size[1]=1", 400, "window_size has 1 twice"},
		{"PATCH", "/plugins/a", "config.limit=0&config.window_size=1", 400, `"config":{"limit":["value must be greater than 0"]}`},
		{"PATCH", "/plugins/a", "config.limit=x&config.window_size=1", 400, `"config":{"limit":["expected a number"]}`},
		{"PATCH", "/plugins/a", "config.identifier=consumer-group", 400, "there are no consumer groups"},
		{"PATCH", "/plugins/a", "config.enforce_consumer_groups=true", 400, "must be false: there are no consumer groups"},
		{"PATCH", "/plugins/a", "config.throttling.enabled=true", 400, "must be false: refused requests cannot wait"},
		{"PATCH", "/plugins/a", "config.compound_identifier[]=ip&config.compound_identifier[]=service", 200, `"compound_identifier":["ip","service"]`},
		{"PATCH", "/plugins/a", "config.namespace=shared&config.strategy=node", 200, `"namespace":"shared"`},
		{"PATCH", "/plugins/a", "config.namespace=", 200, `"limit":[2.5,7],`},
		{"POST", "/services", "name=t&host=h", 201, ""},
		{"PUT", "/services/t/plugins/" + id, "name=rate-limiting-advanced&config.limit=5&config.window_size=60", 200, `"namespace":"` + own + `"`},
		{"PUT", "/services/t/plugins/" + id, "name=rate-limiting-advanced&config.limit=6&config.window_size=60", 200, `"namespace":"` + own + `"`},
		{"POST", "/plugins", "name=rate-limiting&config.minute=5&config.policy=node", 201, `"policy":"node"`},
		{"POST", "/schemas/plugins/validate", `{"name":"rate-limiting-advanced","config":{"limit":[5],"window_size":[60]}}`, 200, "schema validation successful"},
		{"GET", "/schemas/plugins/rate-limiting-advanced", "", 200, `"window_size"`},
	})
	r := h.form("PATCH", "/plugins/"+id, "config.strategy=redis")
	want := "rate-limiting-advanced: redis is not used: the limit is enforced by the cluster itself"
	if got := r.header.Get(headerWarning); r.status != 200 || got != want {
		t.Errorf("%d %s, warning %q", r.status, r.body, got)
	}
	plugins, _ := h.get("/").fields(t)["plugins"].(map[string]any)
	available, _ := plugins["available_on_server"].(map[string]any)
	if diff := cmp.Diff(any(map[string]any{"version": "3.9.1", "priority": 910.0}), available["rate-limiting-advanced"]); diff != "" {
		t.Errorf("available (-want +got):\n%s", diff)
	}
}

// TestRateLimitingAdvancedStays: what a client reads it can send again, as a
// whole, and nothing changes.
func TestRateLimitingAdvancedStays(t *testing.T) {
	h := newHarness(t, plugin.All())
	first := h.must(201, "POST", "/plugins", "name=rate-limiting-advanced&config.limit=5&config.window_size=60&config.redis.timeout=7&"+
		"config.redis.cluster_addresses=h:1&config.throttling.interval=9&config.consumer_groups=gold&config.dictionary_name=d").fields(t)
	body, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := first["id"].(string)
	for _, method := range []string{"PUT", "PATCH"} {
		again := h.json(method, "/plugins/"+id, string(body))
		if again.status != 200 {
			t.Fatalf("%s: %d %s", method, again.status, again.body)
		}
		if diff := cmp.Diff(first["config"], again.fields(t)["config"]); diff != "" {
			t.Errorf("%s (-first +again):\n%s", method, diff)
		}
	}
	if !strings.Contains(string(body), `"cluster_nodes":[{"ip":"h","port":1}]`) {
		t.Errorf("stored %s", body)
	}
}

package main

import (
	"fmt"
	"net/http"
	"testing"
)

// TestExplain: what is said of a request is what becomes of it, and asking costs none
// of its limit.
func TestExplain(t *testing.T) {
	up, err := startDemoUpstream(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.close() })
	n := newCluster(t, 1).nodes[0]
	n.create("/services", "name", "s", "url", "http://"+up.addr.String()+"/base")
	n.create("/services/s/routes", "name", "r", "paths[]", "/s")
	n.create("/services/s/plugins", "name", "key-auth")
	n.create("/services/s/plugins", "name", "rate-limiting", "config.year", "5") // a window that does not turn meanwhile
	n.create("/consumers", "username", "bob")
	n.create("/consumers/bob/key-auth", "key", "secret")
	for range 2 {
		if a := n.get("/s/x", "apikey", "secret"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for range 3 {
		header := http.Header{"Content-Type": {"application/json"}}
		a, err := n.try("POST", n.adminURL("/explain"), header, `{"path":"/s/x","query":"a=b","consumer":"bob"}`)
		if err != nil || a.status != 200 {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		fields := a.json(t)
		route, _ := fields["route"].(map[string]any)
		upstream, _ := fields["upstream"].(map[string]any)
		plugins, _ := fields["plugins"].([]any)
		quota, _ := fields["quota"].([]any)
		if route["name"] != "r" || upstream["url"] != "http://"+up.addr.String()+"/base/x?a=b" || len(plugins) != 2 || len(quota) != 1 {
			t.Fatalf("%s", a.body)
		}
		if q := quota[0].(map[string]any); fmt.Sprintf("%v %v %v", q["left"], q["spent"], q["window"]) != "3 2 year" {
			t.Errorf("quota %v", q)
		}
	}
	if a := n.get("/s/x", "apikey", "secret"); a.status != 200 || a.header.Get("X-Ratelimit-Remaining-Year") != "2" {
		t.Errorf("after the explanations: %d, %s left", a.status, a.header.Get("X-Ratelimit-Remaining-Year"))
	}
}

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// TestJoiningServesNoPast: what the configuration was before is not served by a node
// that applies the log from its beginning.
func TestJoiningServesNoPast(t *testing.T) {
	c := newCluster(t, 1)
	old, joining := c.nodes[0], &testNode{t: t, cluster: c, name: "node2", dir: filepath.Join(t.TempDir(), "node2")}
	joining.takePorts()
	c.nodes = append(c.nodes, joining)
	post := func(path string, form url.Values) {
		t.Helper()
		if a := old.admin("POST", path, form); a.status != 201 {
			t.Fatalf("POST %s: %d %s", path, a.status, a.body)
		}
	}
	post("/routes", url.Values{"name": {"guarded"}, "paths[]": {"/guarded"}})
	// Something that takes a while to apply lies between the route and its plugin.
	var many []string
	for i := range 5_000 {
		many = append(many, fmt.Sprintf(`{"method":"POST","path":"/consumers","body":{"username":"user%d"}}`, i))
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if a, err := old.try("POST", old.adminURL("/transactions"), header, `{"operations":[`+strings.Join(many, ",")+`]}`); err != nil || a.status != 200 {
		t.Fatalf("%d %.300s %v", a.status, a.body, err)
	}
	post("/routes/guarded/plugins", url.Values{"name": {"key-auth"}})
	joining.start()
	unready := 0
	waitFor(t, "the configuration on the second node", func() error {
		a, err := joining.try("GET", joining.proxyURL("/guarded"), http.Header{}, "")
		switch {
		case err != nil:
			return err // it does not listen yet
		case a.status == 401:
			return nil
		case a.status != 503 || !strings.Contains(string(a.body), "no configuration yet"):
			t.Fatalf("a state of the past is served: %d %s", a.status, a.body)
		}
		unready++
		return fmt.Errorf("not ready, %d times", unready)
	})
	if a, err := joining.try("GET", joining.statusURL("/status/ready"), http.Header{}, ""); err != nil || a.status != 200 {
		t.Errorf("ready: %d %s %v", a.status, a.body, err)
	}
}

// TestStatusAPI: what load balancers ask, and nothing else.
func TestStatusAPI(t *testing.T) {
	n := newCluster(t, 1).nodes[0]
	for path, want := range map[string]string{
		"/status": `"reachable":true`, "/status/ready": `"ready"`, "/metrics": "sluice_", "/": "Not found", "/services": "Not found",
	} {
		a, err := n.try("GET", n.statusURL(path), http.Header{}, "")
		if err != nil || !strings.Contains(string(a.body), want) {
			t.Errorf("GET %s: %d %.200s %v", path, a.status, a.body, err)
		}
	}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for body, want := range map[string]int{"": 400, "status=ready": 400, "status=draining&x=1": 400, "status=draining": 204} {
		if a, err := n.try("POST", n.statusURL("/status"), form, body); err != nil || a.status != want {
			t.Errorf("POST %q: %d %s %v", body, a.status, a.body, err)
		}
	}
	if a, err := n.try("GET", n.statusURL("/status/ready"), http.Header{}, ""); err != nil || a.status != 503 || !strings.Contains(string(a.body), "draining") {
		t.Errorf("drained: %d %s %v", a.status, a.body, err)
	}
	if a := n.get("/"); a.status != 404 {
		t.Errorf("a drained node's proxy: %d", a.status)
	}
}

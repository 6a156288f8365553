package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// route makes a service and a route for a path to the demo upstream on the
// node.
func route(t testing.TB, n *testNode, path string) {
	t.Helper()
	up, err := startDemoUpstream(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.close() })
	n.create("/services", "name", "demo", "url", "http://"+up.addr.String())
	n.create("/services/demo/routes", "paths[]", path)
}

// TestThreeNodes: a change is made on one node and served by all, a killed node
// comes back with what it missed, and a lone one serves what there was.
func TestThreeNodes(t *testing.T) {
	c := newCluster(t, 3)
	route(t, c.nodes[0], "/demo")
	for _, n := range c.nodes {
		waitFor(t, n.name+" to serve the route", func() error {
			if a := n.get("/demo"); a.status != 200 {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
	}

	dead := c.leader()
	dead.kill()
	var other *testNode
	for _, n := range c.nodes {
		if n != dead {
			other = n
		}
	}
	waitFor(t, "a write without the old leader", func() error {
		a := other.admin("PUT", "/consumers/alice", url.Values{})
		if a.status != 200 {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	dead.start()
	waitFor(t, "the killed node to catch up", func() error {
		a, err := dead.tryAdmin("GET", "/consumers/alice", nil)
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})

	for _, n := range c.nodes {
		n.stop()
	}
	lone := c.nodes[1]
	lone.start()
	waitFor(t, "the lone node to serve the route", func() error {
		a, err := lone.try("GET", lone.proxyURL("/demo"), nil, "")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	if a := lone.admin("PUT", "/consumers/bob", url.Values{}); a.status != 503 || !strings.Contains(string(a.body), "1 of 3 voters") {
		t.Errorf("a write without a quorum: %d %s", a.status, a.body)
	}
}

// TestLeaveAndRemove: leave takes a live node out and ends it, remove takes out
// a dead one.
func TestLeaveAndRemove(t *testing.T) {
	c := newCluster(t, 3)
	leaver, dead, stayer := c.nodes[0], c.nodes[1], c.nodes[2]
	members := func(want int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d voters", want), func() error {
			status, err := stayer.status()
			if err != nil {
				return err
			}
			voters := 0
			for _, n := range status.Nodes {
				if n.Voter {
					voters++
				}
			}
			if voters != want || !status.Quorum {
				return fmt.Errorf("%d voters, quorum %v", voters, status.Quorum)
			}
			return nil
		})
	}

	out, errs, code := sluice(t, "cluster", "leave", "--admin", leaver.adminURL(""))
	if code != 0 || !strings.Contains(out, "has left") {
		t.Fatalf("leave: exit code %d\n%s%s", code, out, errs)
	}
	if code := leaver.wait(); code != 0 {
		t.Errorf("the node that left ended with exit code %d: %s", code, leaver.stderr.String())
	}
	members(2)

	// The other node of two is needed for the quorum, so a third comes back
	// first: as a new member, because its membership is gone.
	leaver.start()
	c.waitReady()
	members(3)
	status, err := stayer.status()
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, n := range status.Nodes {
		if n.Name == dead.name {
			id = n.ID
		}
	}
	if _, errs, code := sluice(t, "cluster", "remove", id, "--admin", stayer.adminURL("")); code != 1 || !strings.Contains(errs, "alive") {
		t.Errorf("removal of a live node: exit code %d: %s", code, errs)
	}
	dead.kill()
	waitFor(t, "the removal of a dead node", func() error {
		if out, errs, code := sluice(t, "cluster", "remove", id, "--admin", stayer.adminURL("")); code != 0 {
			return fmt.Errorf("exit code %d: %s%s", code, out, errs)
		}
		return nil
	})
	members(2)
	if _, errs, code := sluice(t, "cluster", "remove", "no-such-node", "--admin", stayer.adminURL("")); code != 1 || !strings.Contains(errs, "404") {
		t.Errorf("removal of nobody: exit code %d: %s", code, errs)
	}
}

// TestOneNode looks at what only the process as a whole does.
func TestOneNode(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	route(t, n, "/demo")

	t.Run("tls", func(t *testing.T) {
		for name, port := range map[string]int{"proxy": n.proxyTLSPort, "admin": n.adminTLSPort} {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
			resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get(fmt.Sprintf("https://localhost:%d/demo", port))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			resp.Body.Close()
			transport.CloseIdleConnections()
			if cert := resp.TLS.PeerCertificates[0]; resp.ProtoMajor != 2 || cert.VerifyHostname("localhost") != nil {
				t.Errorf("%s: %s, certificate for %v", name, resp.Proto, cert.DNSNames)
			}
		}
	})
	t.Run("last voter does not leave", func(t *testing.T) {
		if a := n.admin("POST", pathLeave, nil); a.status != 409 || n.get("/demo").status != 200 {
			t.Errorf("leave: %d %s", a.status, a.body)
		}
	})
	t.Run("log level", func(t *testing.T) {
		const pathLevel = "/debug/node/log-level"
		if a := n.admin("PUT", pathLevel+"/debug", nil); a.status != 200 {
			t.Errorf("PUT: %d %s", a.status, a.body)
		}
		if a := n.admin("GET", pathLevel, nil); a.json(t)["message"] != "log level: debug" {
			t.Errorf("GET: %d %s", a.status, a.body)
		}
		if a := n.admin("PUT", pathLevel+"/debug", nil); a.json(t)["message"] != "log level is already debug" {
			t.Errorf("PUT once more: %d %s", a.status, a.body)
		}
		if a := n.admin("PUT", pathLevel+"/loud", nil); a.status != 400 || a.json(t)["message"] != "unknown log level: loud" {
			t.Errorf("PUT of an unknown level: %d %s", a.status, a.body)
		}
		if a := n.admin("PUT", "/debug/cluster/log-level/info?timeout=60", nil); a.status != 200 || n.admin("GET", pathLevel, nil).json(t)["message"] != "log level: info" {
			t.Errorf("PUT for all nodes: %d %s", a.status, a.body)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		text := string(n.admin("GET", "/metrics", nil).body)
		for _, want := range []string{`sluice_raft_state{state="Leader"} 1`, "sluice_cluster_voters 1", "kong_datastore_reachable 1", `sluice_build_info{version="test"} 1`, "sluice_config_index"} {
			if !strings.Contains(text, want) {
				t.Errorf("metrics lack %s", want)
			}
		}
	})
	t.Run("logs are reopened", func(t *testing.T) {
		path := filepath.Join(n.dir, "logs", "admin_access.log")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		n.signal(syscall.SIGUSR1)
		waitFor(t, "a new access log", func() error {
			n.admin("GET", "/status", nil)
			data, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(data), "GET /status") {
				err = errors.New("it has no line for GET /status")
			}
			return err
		})
	})
	t.Run("error log is JSON", func(t *testing.T) {
		f, err := os.Open(filepath.Join(n.dir, "logs", "error.log"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := 0
		for scan := bufio.NewScanner(f); scan.Scan(); lines++ {
			if !json.Valid(scan.Bytes()) {
				t.Errorf("not JSON: %s", scan.Text())
			}
		}
		if lines == 0 {
			t.Error("it is empty")
		}
	})
	n.stop()
	if out := n.stderr.String(); !strings.Contains(out, "node node1 is up") || strings.Count(out, "\n") != 1 {
		t.Errorf("stderr of a clean run:\n%s", out)
	}
}

// TestStopFinishesRequests: a request in flight at SIGTERM is answered, and a
// second SIGTERM waits for nothing.
func TestStopFinishesRequests(t *testing.T) {
	for name, signals := range map[string]int{"one signal": 1, "two signals": 2} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			n := c.nodes[0]
			arrived, release := make(chan struct{}), make(chan struct{})
			up := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(arrived)
				<-release
				fmt.Fprint(w, "done")
			})}
			go up.ListenAndServe()
			t.Cleanup(func() { up.Close() })
			n.create("/services", "name", "slow", "url", "http://"+up.Addr)
			n.create("/services/slow/routes", "paths[]", "/slow")

			type outcome struct {
				answer
				err error
			}
			got := make(chan outcome, 1)
			go func() {
				a, err := n.try("GET", n.proxyURL("/slow"), nil, "")
				got <- outcome{a, err}
			}()
			<-arrived
			n.signal(syscall.SIGTERM)
			waitFor(t, "the listener to close", func() error {
				if _, err := n.try("GET", n.proxyURL("/"), nil, ""); err == nil {
					return errors.New("it still answers")
				}
				return nil
			})
			if signals == 2 {
				n.signal(syscall.SIGTERM)
				if code := n.wait(); code == 0 {
					t.Error("exit code 0 although requests were cut")
				}
				close(release)
				<-got
				return
			}
			close(release)
			if o := <-got; o.err != nil || string(o.body) != "done" {
				t.Errorf("the request in flight: %d %s, %v", o.status, o.body, o.err)
			}
			if code := n.wait(); code != 0 {
				t.Errorf("exit code %d: %s", code, n.stderr.String())
			}
		})
	}
}

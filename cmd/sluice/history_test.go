package main

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// TestHistoryCommands: on a cluster, the history is the same everywhere, and a rollback through any node brings
// an earlier configuration back to all.
func TestHistoryCommands(t *testing.T) {
	c := newCluster(t, 3)
	c.nodes[0].create("/services", "name", "first", "host", "one.test")
	index := c.nodes[0].admin("GET", "/services/first", nil).header.Get("X-Sluice-Index")
	was := c.nodes[0].admin("GET", "/services", nil).body
	body := url.Values{"host": {"two.test"}}
	if a := c.nodes[1].admin("PATCH", "/services/first?wait=all", body); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	at := func(node int) []string { return []string{"--admin", c.nodes[node].adminURL("")} }
	command := func(want string, args ...string) {
		t.Helper()
		out, errs, code := sluice(t, args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("sluice %s: %d\n%s%s\nwithout %q", strings.Join(args, " "), code, out, errs, want)
		}
	}
	command("update services first", append([]string{"history", "--size", "2"}, at(2)...)...)
	command("1 change; nothing was done", append([]string{"config", "rollback", index, "--dry-run"}, at(2)...)...)
	command("1 change at index ", append([]string{"config", "rollback", index}, at(2)...)...)
	command("Nothing to do", append([]string{"config", "rollback", index}, at(2)...)...)
	if now := c.nodes[2].admin("GET", "/services", nil).body; string(now) != string(was) {
		t.Errorf("%s, was %s", now, was)
	}
	last := c.nodes[2].admin("GET", "/services", nil).header.Get("X-Sluice-Index")
	for i, n := range c.nodes {
		a, err := n.try("GET", n.adminURL("/services/first"), map[string][]string{"X-Sluice-Min-Index": {last}}, "")
		if err != nil || !strings.Contains(string(a.body), "one.test") {
			t.Errorf("node %s: %s, %v", strconv.Itoa(i), a.body, err)
		}
	}
	command("are whole, up to index "+last, append(append(append([]string{"audit", "verify"}, at(0)...), at(1)...), at(2)...)...)
	if _, errs, code := sluice(t, append([]string{"config", "rollback", "99999999"}, at(0)...)...); code != 1 || !strings.Contains(errs, "no such state") {
		t.Errorf("%d %s", code, errs)
	}
}

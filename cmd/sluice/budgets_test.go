package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestBudgets runs three nodes with 5 a minute: the Admin API of any of them shows
// all of a budget, what is granted is admitted and no more, and a reset gives the
// whole budget again.
func TestBudgets(t *testing.T) {
	c := newCluster(t, 3)
	up, err := startDemoUpstream(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.close() })
	first := c.nodes[0]
	first.create("/services", "name", "s", "url", "http://"+up.addr.String())
	first.create("/services/s/routes", "paths[]", "/s")
	if a := first.admin("POST", "/services/s/plugins?wait=all", url.Values{"name": {"rate-limiting"}, "instance_name": {"five"},
		"config.minute": {"5"}, "config.limit_by": {"header"}, "config.header_name": {"X-Key"}}); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	inOneMinute(t, func(run string) error { return grantAndReset(t, c, run) })
	admitted := 0.0
	for _, n := range c.nodes {
		admitted += n.metric("sluice_limit_decisions_total", `decision="admitted"`)
		if n.metric("sluice_limit_mode", `mode="quorum"`) != 1 || n.metric("sluice_limit_cells", "") < 1 {
			t.Errorf("%s: mode or cells are wrong", n.name)
		}
	}
	if admitted < 13 {
		t.Errorf("%v admissions are counted of 13 at least", admitted)
	}
	c.nodes[2].kill()
	waitFor(t, "a killed node to be named", func() error {
		var list shownBudgets
		if err := json.Unmarshal(first.admin("GET", pathBudgets, nil).body, &list); err != nil {
			return err
		}
		if len(list.Unreachable) != 1 || list.Unreachable[0].Name != "node3" {
			return fmt.Errorf("unreachable: %+v", list.Unreachable)
		}
		return nil
	})
}

// grantAndReset uses up a new key's budget, three times.
func grantAndReset(t *testing.T, c *testCluster, key string) (err error) {
	t.Helper()
	next := 0
	requests := func(n, want int) {
		t.Helper()
		got := 0
		for range n {
			if c.nodes[next%len(c.nodes)].get("/s", "X-Key", key).status == 200 {
				got++
			}
			next++
		}
		if got != want {
			err = errors.Join(err, fmt.Errorf("%d of %d requests admitted, want %d", got, n, want))
		}
	}
	find := func(n *testNode) shownBudget {
		t.Helper()
		var list shownBudgets
		a := n.admin("GET", pathBudgets+"?limit=five&key="+url.QueryEscape(key), nil)
		if json.Unmarshal(a.body, &list) != nil || len(list.Data) != 1 || len(list.Unreachable) != 0 {
			t.Fatalf("%s: %d %s", n.name, a.status, a.body)
		}
		return list.Data[0]
	}
	check := func(what string, b shownBudget, granted, spent, left int64) {
		if b.Max != 5 || b.Granted != granted || b.Spent != spent || b.Left != left || b.Limit == nil || b.Limit.InstanceName != "five" {
			err = errors.Join(err, fmt.Errorf("%s: %+v", what, b))
		}
	}
	requests(2, 2)
	for _, n := range c.nodes {
		check(n.name+", after two", find(n), 0, 2, 3)
	}
	requests(6, 3)
	b := find(c.nodes[1])
	check("used up", b, 0, 5, 0)

	var now shownBudget
	a := c.nodes[1].admin("POST", pathBudgets+"/"+b.ID+"/grant", url.Values{"tokens": {"3"}})
	if json.Unmarshal(a.body, &now) != nil || a.status != 200 {
		t.Fatalf("grant: %d %s", a.status, a.body)
	}
	check("granted", now, 3, 5, 3)
	requests(7, 3)
	check("used up again", find(c.nodes[0]), 3, 8, 0)

	out, errs, code := sluice(t, "budgets", "reset", b.ID, "--admin", c.nodes[2].adminURL(""))
	if code != 0 || !strings.HasPrefix(out, "5 left of 5 and 8 granted, for ") {
		err = errors.Join(err, fmt.Errorf("reset: %q %q", out, errs))
	}
	requests(9, 5)
	out, _, _ = sluice(t, "budgets", "--limit", "five", "--key", key, "--admin", c.nodes[0].adminURL(""))
	if line := `(?m)^five +` + regexp.QuoteMeta(key) + ` +minute +5\+8 +13 +0 +\d+s +- +` + b.ID + `$`; !regexp.MustCompile(line).MatchString(out) {
		err = errors.Join(err, fmt.Errorf("sluice budgets printed %s", out))
	}
	return err
}

// metric gives the sum of a metric's series that have a label.
func (n *testNode) metric(name, label string) (sum float64) {
	n.t.Helper()
	for line := range strings.Lines(string(n.admin("GET", "/metrics", nil).body)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if got, labels, _ := strings.Cut(series, "{"); got == name && strings.Contains(labels, label) {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				n.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

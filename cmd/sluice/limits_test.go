package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// TestLimits runs the rate limiting plugins on three nodes, each with a route of
// its own.
func TestLimits(t *testing.T) {
	c := newCluster(t, 3)
	route(t, c.nodes[0], "/none")
	t.Run("sliding", func(t *testing.T) {
		limited(t, c, "sliding", "rate-limiting-advanced", "config.limit", "5", "config.window_size", "60")
		inOneSpan(t, time.Minute, func(run string) error { return inTurn(c.nodes, run, 5, "/sliding") })
	})
	t.Run("two windows", func(t *testing.T) {
		limited(t, c, "two", "rate-limiting-advanced", "config.limit[1]", "2", "config.limit[2]", "5",
			"config.window_size[1]", "1", "config.window_size[2]", "10")
		inOneSpan(t, 10*time.Second, func(run string) error { return twoASecond(c, run) })
	})
	t.Run("bucket", func(t *testing.T) {
		limited(t, c, "bucket", "rate-limiting-advanced", "config.limit", "5", "config.window_size", "60", "config.burst", "7")
		inOneSpan(t, 10*time.Second, func(run string) error { return inTurn(c.nodes, run, 7, "/bucket") })
	})
	t.Run("one namespace", func(t *testing.T) {
		for _, name := range []string{"first", "second"} {
			limited(t, c, name, "rate-limiting-advanced", "config.limit", "5", "config.window_size", "10", "config.namespace", "shared")
		}
		inOneSpan(t, 10*time.Second, func(run string) error { return inTurn(c.nodes, run, 5, "/first", "/second") })
	})
	t.Run("strategy node", func(t *testing.T) {
		limited(t, c, "strategy", "rate-limiting-advanced", "config.limit", "5", "config.window_size", "60", "config.strategy", "node")
		inOneSpan(t, time.Minute, func(run string) error { return onEachNode(c, run, "/strategy") })
	})
	t.Run("policy node", func(t *testing.T) {
		limited(t, c, "policy", "rate-limiting", "config.minute", "5", "config.policy", "node")
		inOneMinute(t, func(run string) error { return onEachNode(c, run, "/policy") })
	})
}

// limited makes a route with a plugin that counts by the header X-Run.
func limited(t *testing.T, c *testCluster, name, plugin string, config ...string) {
	t.Helper()
	n := c.nodes[0]
	n.create("/services/demo/routes", "name", name, "paths[]", "/"+name)
	by := "config.limit_by"
	if plugin == "rate-limiting-advanced" {
		by = "config.identifier"
	}
	form := url.Values{"name": {plugin}, by: {"header"}, "config.header_name": {"X-Run"}}
	for i := 0; i+1 < len(config); i += 2 {
		form.Set(config[i], config[i+1])
	}
	a := n.admin("POST", "/routes/"+name+"/plugins?wait=all", form)
	if a.status != 201 || a.header.Get("X-Sluice-Not-Served") != "" {
		t.Fatalf("%d %s, not served by %q", a.status, a.body, a.header.Get("X-Sluice-Not-Served"))
	}
}

// errTooFew says that fewer requests were admitted than the limit is, or later.
var errTooFew = errors.New("too few admitted, or too late")

// inOneSpan runs f with a new name until it took less than a window, so that no
// request's room comes back meanwhile, and as many were admitted as the limit
// is. That may take until a window after the last node has joined, which has no
// part in what others may have spent before. More is a failure at once.
func inOneSpan(t *testing.T, window time.Duration, f func(run string) error) {
	t.Helper()
	for try, end := 0, time.Now().Add(window+patience); ; try++ {
		start := time.Now()
		err := f(fmt.Sprintf("%s-%d", t.Name(), try))
		switch {
		case errors.Is(err, errTooFew) || time.Since(start) >= window:
			if time.Now().After(end) {
				t.Fatalf("run %d: %v", try, err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			return
		}
	}
}

// inTurn sends twice as many requests as the limit is, to all nodes and paths in
// turn, and wants the first ones admitted.
func inTurn(nodes []*testNode, run string, limit int, paths ...string) error {
	admitted, late := 0, false
	for i := range 2 * limit {
		a := nodes[i%len(nodes)].get(paths[i%len(paths)], "X-Run", run)
		retry, _ := strconv.Atoi(a.header.Get("Retry-After"))
		switch {
		case a.status == 200 && retry == 0:
			admitted++
			late = late || i >= limit
		case a.status == 429 && 1 <= retry && retry <= 61:
		default:
			return fmt.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
	switch {
	case admitted > limit:
		return fmt.Errorf("%d admitted, the limit is %d", admitted, limit)
	case admitted < limit || late:
		return fmt.Errorf("%d admitted, the limit is %d: %w", admitted, limit, errTooFew)
	}
	return nil
}

// onEachNode wants five admitted by each node.
func onEachNode(c *testCluster, run, path string) error {
	for _, n := range c.nodes {
		if err := inTurn([]*testNode{n}, run, 5, path); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	return nil
}

// twoASecond asks until five requests are admitted and five more refused, of
// which at most two may have been admitted in one second.
func twoASecond(c *testCluster, run string) error {
	type span struct{ sent, answered time.Time }
	var admitted []span
	const enough = 8 * time.Second
	end := time.Now().Add(enough)
	for i, refused := 0, 0; refused < 5; i++ {
		if time.Now().After(end) {
			return fmt.Errorf("%d admitted within %s: %w", len(admitted), enough, errTooFew)
		}
		sent := time.Now()
		a := c.nodes[i%3].get("/two", "X-Run", run)
		switch a.status {
		case 200:
			admitted = append(admitted, span{sent, time.Now()})
		case 429:
			if len(admitted) >= 5 {
				refused++
			}
		default:
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		for _, field := range []string{"X-Ratelimit-Limit-Second", "X-Ratelimit-Limit-10"} {
			if a.header.Get(field) == "" {
				return fmt.Errorf("no %s in %v", field, a.header)
			}
		}
	}
	if len(admitted) > 5 {
		return fmt.Errorf("%d admitted in ten seconds, the limit is 5", len(admitted))
	}
	for i := range len(admitted) - 2 {
		// All three decisions lie between these two times, however slow the answers.
		if took := admitted[i+2].answered.Sub(admitted[i].sent); took < time.Second-10*time.Millisecond {
			return fmt.Errorf("three were admitted within %s", took)
		}
	}
	return nil
}

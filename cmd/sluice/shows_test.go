package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// inOneMinute runs f with a new name until it ran inside one minute of the
// clock, so that its count of admissions concerns one window. A second run is
// enough unless f takes longer than a minute, which is a failure.
func inOneMinute(t *testing.T, f func(run string) error) {
	t.Helper()
	for try := range 3 {
		minute := time.Now().Unix() / 60
		err := f(fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), try))
		if time.Now().Unix()/60 != minute {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("it never fits into one minute")
}

// TestTutorial runs the tutorial's commands against one node and looks at what
// all three make of it.
func TestTutorial(t *testing.T) {
	c := newCluster(t, 3)
	up, err := startDemoUpstream(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { up.close() })
	first := c.nodes[0]
	first.create("/services", "name", "student-service", "url", "http://"+up.addr.String())
	first.create("/services/student-service/routes", "paths[]", "/students")
	first.create("/services/student-service/plugins", "name", "jwt")
	if a := first.admin("POST", "/services/student-service/plugins?wait=all", url.Values{
		"name": {"rate-limiting"}, "config.minute": {"5"}, "config.policy": {"local"}}); a.status != 201 || a.header.Get("X-Sluice-Not-Served") != "" {
		t.Fatalf("%d %s, not served by %q", a.status, a.body, a.header.Get("X-Sluice-Not-Served"))
	}
	for _, n := range c.nodes {
		if a := n.get("/students"); a.status != 401 {
			t.Errorf("%s without a token: %d %s", n.name, a.status, a.body)
		}
	}
	for name, node := range map[string]*testNode{"in turn": nil, "all on one": c.nodes[1]} {
		t.Run(name, func(t *testing.T) {
			inOneMinute(t, func(run string) error { return fiveAMinute(t, c, node, run) })
		})
	}
}

// fiveAMinute sends nine requests of a new consumer, to one node or to all in
// turn, and wants five of them admitted.
func fiveAMinute(t *testing.T, c *testCluster, only *testNode, consumer string) (err error) {
	t.Helper()
	out, errs, code := sluice(t, "jwt", "--consumer", consumer, "--admin", c.nodes[0].adminURL(""))
	if code != 0 {
		t.Fatalf("sluice jwt: exit code %d: %s", code, errs)
	}
	bearer := "Bearer " + strings.TrimSpace(out)
	// The credential was served by the node that was asked; the others follow.
	for _, n := range c.nodes {
		waitFor(t, n.name+" to know the credential", func() error {
			list, err := n.tryAdmin("GET", "/consumers/"+url.PathEscape(consumer)+"/jwt", nil)
			if err == nil && !strings.Contains(string(list.body), `"key"`) {
				err = fmt.Errorf("%d %s", list.status, list.body)
			}
			return err
		})
	}
	for i := range 9 {
		n := c.nodes[i%len(c.nodes)]
		if only != nil {
			n = only
		}
		a := n.get("/students", "Authorization", bearer)
		want, left := 200, 4-i
		if i >= 5 {
			want, left = 429, 0
		}
		if got := a.header.Get("RateLimit-Remaining"); a.status != want || got != fmt.Sprint(left) {
			err = errors.Join(err, fmt.Errorf("request %d through %s: %d with %q remaining, want %d with %d: %s", i+1, n.name, a.status, got, want, left, a.body))
		}
		if want == 429 && (a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "API rate limit exceeded")) {
			err = errors.Join(err, fmt.Errorf("request %d through %s: Retry-After %q, %s", i+1, n.name, a.header.Get("Retry-After"), a.body))
		}
	}
	return err
}

// TestNoWriteIsLost kills the leader with kill -9 in the middle of 300 writes
// over three nodes. What was acknowledged is on every node, and nothing is
// there twice.
func TestNoWriteIsLost(t *testing.T) {
	c := newCluster(t, 3)
	c.nodes[0].create("/services", "name", "s", "host", "h")
	leader := c.leader()
	const writes, writers = 300, 6
	var acknowledged sync.Map // path -> struct{}
	var done atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < writes; i += writers {
				path := fmt.Sprintf("/w%d", i)
				// A route without a name may be there twice: no unique key hides it.
				a, err := c.nodes[i%3].tryAdmin("POST", "/services/s/routes", url.Values{"paths[]": {path}})
				if err == nil && a.status == 201 {
					acknowledged.Store(path, struct{}{})
				}
				if done.Add(1) == writes/3 {
					leader.kill()
				}
			}
		})
	}
	wg.Wait()
	if leader.running() {
		t.Fatal("the leader was never killed")
	}
	leader.start()
	acked := 0
	acknowledged.Range(func(any, any) bool { acked++; return true })
	if acked < writes/3 {
		t.Errorf("only %d of %d writes were acknowledged", acked, writes)
	}
	var seen []map[string]int
	for _, n := range c.nodes {
		waitFor(t, n.name+" to have every acknowledged write", func() error {
			paths, err := n.routePaths()
			if err != nil {
				return err
			}
			missing := 0
			acknowledged.Range(func(path, _ any) bool {
				if paths[path.(string)] == 0 {
					missing++
				}
				return true
			})
			if missing > 0 {
				return fmt.Errorf("%d of %d are missing", missing, acked)
			}
			seen = append(seen, paths)
			return nil
		})
	}
	for i, paths := range seen {
		for path, times := range paths {
			if times != 1 {
				t.Errorf("%s: %s is there %d times", c.nodes[i].name, path, times)
			}
		}
		if len(paths) != len(seen[0]) {
			t.Errorf("%s has %d routes, %s has %d", c.nodes[i].name, len(paths), c.nodes[0].name, len(seen[0]))
		}
	}
}

// routePaths counts the routes of each path.
func (n *testNode) routePaths() (map[string]int, error) {
	counts := map[string]int{}
	for next := "/routes?size=1000"; next != ""; {
		a, err := n.tryAdmin("GET", next, nil)
		if err != nil || a.status != 200 {
			return nil, errors.Join(err, fmt.Errorf("%d %s", a.status, a.body))
		}
		var page struct {
			Data []struct {
				Paths []string `json:"paths"`
			} `json:"data"`
			Next *string `json:"next"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, err
		}
		for _, r := range page.Data {
			for _, p := range r.Paths {
				counts[p]++
			}
		}
		next = ""
		if page.Next != nil {
			next = *page.Next
		}
	}
	return counts, nil
}

// TestAllStop stops all three nodes. One alone serves the last change and takes
// no writes; all three, on other ports, are a cluster again.
func TestAllStop(t *testing.T) {
	for name, stop := range map[string]func(*testNode){"SIGTERM": (*testNode).stop, "kill -9": (*testNode).kill} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3)
			route(t, c.nodes[0], "/first")
			last := c.nodes[2].admin("PUT", "/services/demo/routes/last?wait=all", url.Values{"paths[]": {"/last"}})
			if last.status != 200 {
				t.Fatalf("%d %s", last.status, last.body)
			}
			// A killed node has what its last snapshot has: half a second after the
			// change at the latest. Metrics say when it is on disk.
			for _, n := range c.nodes {
				waitFor(t, n.name+" to have the change on disk", func() error { return onDisk(n, last.header.Get("X-Sluice-Index")) })
			}
			for _, n := range c.nodes {
				stop(n)
			}
			lone := c.nodes[1]
			lone.start()
			waitFor(t, "the lone node to serve the last change", func() error {
				a, err := lone.try("GET", lone.proxyURL("/last"), nil, "")
				if err == nil && a.status != 200 {
					return fmt.Errorf("%d %s", a.status, a.body)
				}
				return err
			})
			a := lone.admin("POST", "/services", url.Values{"name": {"x"}, "host": {"h"}})
			if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "1 of 3 voters reachable") {
				t.Errorf("a write without a quorum: %d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.body)
			}
			lone.kill()
			for _, n := range c.nodes {
				n.takePorts()
			}
			for _, n := range c.nodes {
				n.start()
			}
			c.waitReady()
			c.nodes[0].create("/services", "name", "x", "host", "h")
			for _, n := range c.nodes {
				if a := n.get("/last"); a.status != 200 {
					t.Errorf("%s: %d %s", n.name, a.status, a.body)
				}
			}
		})
	}
}

// onDisk says whether the node's newest snapshot holds the index.
func onDisk(n *testNode, index string) error {
	a, err := n.tryAdmin("GET", "/metrics", nil)
	if err != nil {
		return err
	}
	var want, have uint64
	if _, err := fmt.Sscan(index, &want); err != nil {
		return fmt.Errorf("X-Sluice-Index %q: %w", index, err)
	}
	for line := range strings.Lines(string(a.body)) {
		if rest, ok := strings.CutPrefix(line, "sluice_raft_snapshot_index "); ok {
			var f float64
			if _, err := fmt.Sscan(rest, &f); err != nil {
				return err
			}
			have = uint64(f)
		}
	}
	if have < want {
		return fmt.Errorf("the snapshot holds %d, the change is %d", have, want)
	}
	return nil
}

// TestRoutesLoadUnderTraffic loads a thousand routes by a thousand writes over
// three nodes while requests go through all of them.
func TestRoutesLoadUnderTraffic(t *testing.T) {
	c := newCluster(t, 3)
	route(t, c.nodes[0], "/probe")
	stop := make(chan struct{})
	var traffic sync.WaitGroup
	for _, n := range c.nodes {
		waitFor(t, n.name+" to serve", func() error {
			if a := n.get("/probe"); a.status != 200 {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
		traffic.Go(func() { probe(t, n, stop, func(time.Duration) {}) })
	}
	loadRoutes(t, c, 1000)
	close(stop)
	traffic.Wait()
	for _, n := range c.nodes {
		waitFor(t, n.name+" to serve the last routes", func() error {
			for i := 990; i < 1000; i++ {
				if a := n.get(fmt.Sprintf("/r%d", i)); a.status != 200 {
					return fmt.Errorf("/r%d: %d %s", i, a.status, a.body)
				}
			}
			return nil
		})
	}
}

// probe sends two hundred requests a second, one after the other, until stop is
// closed and wants 200 from each; took hears how long each took.
func probe(t testing.TB, n *testNode, stop <-chan struct{}, took func(time.Duration)) {
	keep := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	defer keep.CloseIdleConnections()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		start := time.Now()
		resp, err := keep.Get(n.proxyURL("/probe"))
		if err != nil {
			t.Errorf("%s: %v", n.name, err)
			return
		}
		resp.Body.Close()
		took(time.Since(start))
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", n.name, resp.StatusCode)
		}
	}
}

// loadRoutes makes n routes by n writes, eight at a time, over all nodes.
func loadRoutes(t testing.TB, c *testCluster, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				a, err := c.nodes[i%len(c.nodes)].tryAdmin("POST", "/services/demo/routes", url.Values{"paths[]": {fmt.Sprintf("/r%d", i)}})
				if err != nil || a.status != 201 {
					t.Errorf("route %d: %d %s, %v", i, a.status, a.body, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestLimitIsExact: a hundred clients over three nodes ask twice as often as a
// limit of a thousand a minute allows, three times.
func TestLimitIsExact(t *testing.T) {
	c := newCluster(t, 3)
	route(t, c.nodes[0], "/limited")
	a := c.nodes[0].admin("POST", "/services/demo/plugins?wait=all", url.Values{"name": {"rate-limiting"},
		"config.minute": {"1000"}, "config.limit_by": {"header"}, "config.header_name": {"X-Run"}})
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			inOneMinute(t, func(run string) error {
				admitted, refused := hundredClients(t, c, run)
				if admitted != 1000 || refused != 1000 {
					return fmt.Errorf("%s: %d admitted and %d refused of 2000", run, admitted, refused)
				}
				return nil
			})
		})
	}
}

func hundredClients(t *testing.T, c *testCluster, key string) (admitted, refused int64) {
	t.Helper()
	var yes, no atomic.Int64
	var wg sync.WaitGroup
	keep := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer keep.CloseIdleConnections()
	for w := range 100 {
		wg.Go(func() {
			for i := range 20 {
				req, err := http.NewRequestWithContext(t.Context(), "GET", c.nodes[(w+i)%3].proxyURL("/limited"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Run", key)
				resp, err := keep.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				switch resp.StatusCode {
				case 200:
					yes.Add(1)
				case 429:
					no.Add(1)
				default:
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	return yes.Load(), no.Load()
}

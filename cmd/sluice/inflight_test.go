package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// TestInFlight: with concurrency-limiting no more requests are at the upstream at
// the same time than the limit says, whichever nodes they come through; and when
// a node is killed with some in flight, others have its room.
func TestInFlight(t *testing.T) {
	var now, most atomic.Int64
	arrived, leave := make(chan struct{}, 100), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		arrived <- struct{}{}
		<-leave
	}))
	t.Cleanup(up.Close)
	c := newCluster(t, 3)
	n := c.nodes[0]
	n.create("/services", "name", "slow", "url", up.URL)
	n.create("/services/slow/routes", "name", "slow", "paths[]", "/slow")
	a := n.admin("POST", "/routes/slow/plugins?wait=all", url.Values{"name": {"concurrency-limiting"}, "config.limit": {"3"}, "config.limit_by": {"service"}})
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}

	var clients sync.WaitGroup
	admitted := func(nodes []*testNode, requests int) (ok, refused int64) {
		var got, denied atomic.Int64
		for i := range requests {
			clients.Go(func() {
				switch a, err := nodes[i%len(nodes)].try("GET", nodes[i%len(nodes)].proxyURL("/slow"), http.Header{}, ""); {
				case err != nil: // killed
				case a.status == 200:
					got.Add(1)
				case a.status == 429 && a.header.Get("Retry-After") == "1":
					denied.Add(1)
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		for range 3 {
			<-arrived
		}
		waitFor(t, "the others to be refused", func() error {
			if n := denied.Load(); n != int64(requests-3) {
				return errTooFew
			}
			return nil
		})
		for range 3 {
			leave <- struct{}{}
		}
		clients.Wait()
		return got.Load(), denied.Load()
	}
	for range 3 {
		if ok, refused := admitted(c.nodes, 12); ok != 3 || refused != 9 {
			t.Errorf("%d of 12 are admitted, and %d refused", ok, refused)
		}
	}
	if n := most.Load(); n != 3 {
		t.Errorf("%d at once", n)
	}

	// All three are held by one node, which is killed.
	dead := c.nodes[1]
	for range 3 {
		clients.Go(func() { _, _ = dead.try("GET", dead.proxyURL("/slow"), http.Header{}, "") })
	}
	for range 3 {
		<-arrived
	}
	dead.kill()
	clients.Wait()
	for range 3 {
		leave <- struct{}{}
	}
	survivor := c.nodes[2]
	for range 3 { // stays in flight until all are
		waitFor(t, "the room of the dead", func() error {
			result := make(chan int, 1)
			clients.Go(func() {
				a, err := survivor.try("GET", survivor.proxyURL("/slow"), http.Header{}, "")
				if err != nil {
					t.Error(err)
				}
				result <- a.status
			})
			select {
			case <-arrived:
				return nil
			case status := <-result:
				return fmt.Errorf("%d", status)
			}
		})
	}
	close(leave)
	clients.Wait()
	if n := most.Load(); n != 3 {
		t.Errorf("%d at once", n)
	}
}

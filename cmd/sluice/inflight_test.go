package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowUpstream answers when it is told to, and counts who waits.
type slowUpstream struct {
	now, most atomic.Int64
	mu        sync.Mutex
	answer    chan struct{} // closed to answer all who wait
}

func (u *slowUpstream) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	answer := u.answer
	u.mu.Unlock()
	n := u.now.Add(1)
	defer u.now.Add(-1)
	for was := u.most.Load(); n > was && !u.most.CompareAndSwap(was, n); was = u.most.Load() {
	}
	select {
	case <-answer:
	case <-r.Context().Done(): // its node has died
	}
}

// answerAll lets all go who wait now.
func (u *slowUpstream) answerAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.answer)
	u.answer = make(chan struct{})
}

// askers send requests to nodes, each one after the other, until they are stopped.
func askers(t *testing.T, nodes []*testNode, number int) (stop func()) {
	var stopped atomic.Bool
	var all sync.WaitGroup
	for i := range number {
		n := nodes[i%len(nodes)]
		all.Go(func() {
			for !stopped.Load() {
				a, err := n.try("GET", n.proxyURL("/slow"), http.Header{}, "")
				switch {
				case err != nil || a.status == 200:
				case a.status != 429 || a.header.Get("Retry-After") != "1":
					t.Errorf("%d %s", a.status, a.body)
					return
				}
				time.Sleep(5 * time.Millisecond) // be no busier than needed
			}
		})
	}
	return func() { stopped.Store(true); all.Wait() }
}

// TestInFlight: with concurrency-limiting no more requests are at the upstream at
// the same time than the limit says, whichever nodes they come through; and when
// a node is killed with some in flight, others have its room.
func TestInFlight(t *testing.T) {
	u := &slowUpstream{answer: make(chan struct{})}
	up := httptest.NewServer(u)
	t.Cleanup(up.Close)
	c := newCluster(t, 3)
	n := c.nodes[0]
	n.create("/services", "name", "slow", "url", up.URL)
	n.create("/services/slow/routes", "name", "slow", "paths[]", "/slow")
	a := n.admin("POST", "/routes/slow/plugins?wait=all", url.Values{"name": {"concurrency-limiting"}, "config.limit": {"3"}, "config.limit_by": {"service"}})
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	full := func(what string) {
		t.Helper()
		waitFor(t, "three requests "+what, func() error {
			if n := u.now.Load(); n != 3 {
				return fmt.Errorf("%d are in flight", n)
			}
			return nil
		})
	}
	// Whoever waits at the end is answered until nobody does.
	end := func(stop func()) {
		done := make(chan struct{})
		go func() { stop(); close(done) }()
		for {
			u.answerAll()
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	stop := askers(t, c.nodes, 12)
	for range 3 {
		full("through all nodes")
		u.answerAll()
	}
	end(stop)

	dead := c.nodes[1]
	stop = askers(t, []*testNode{dead}, 4)
	full("through one node")
	dead.kill()
	end(stop)
	stop = askers(t, []*testNode{c.nodes[0], c.nodes[2]}, 6)
	full("after the death of a node that had them")
	end(stop)
	if n := u.most.Load(); n != 3 {
		t.Errorf("%d at once", n)
	}
}

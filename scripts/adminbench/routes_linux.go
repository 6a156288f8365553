package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// serveLimit is for a proxy to serve what it was told to be served.
const serveLimit = 30 * time.Second

// measureRoutes starts an empty cluster for every round.
func measureRoutes(ctx context.Context, b *bench, rounds int) ([]*figure, error) {
	count := b.opts.sizes.routes
	served := (&figure{what: fmt.Sprintf("%d routes with their services imported, until all three proxies serve the last", count), unit: "s"}).
		withGoal(count == usualSizes().routes, 5)
	answered := &figure{what: "until the import is answered (wait=all)", unit: "s"}
	figures := []*figure{served, answered}
	address, stop, err := serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(r.URL.Path)))
		_, _ = w.Write([]byte(r.URL.Path)) // the client sees what it lacks
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	for round := range rounds {
		if err := b.routesRound(ctx, address, served, answered); err != nil {
			return figures, err
		}
		b.say("routes, round %d: %.2f s, answered after %.2f s", round+1, last(served), last(answered))
	}
	return figures, nil
}

func (b *bench) routesRound(ctx context.Context, upstream string, served, answered *figure) error {
	c, err := b.startCluster(ctx, "routes")
	if err != nil {
		return err
	}
	defer c.stop()
	defer b.watch(c)()
	n, err := c.follower(ctx)
	if err != nil {
		return err
	}
	count := b.opts.sizes.routes
	done, err := b.bringIn(ctx, n, set{routes: count, upstream: upstream})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serveLimit)
	defer cancel()
	ends, errs := make([]time.Time, len(c.nodes)), make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { ends[i], errs[i] = n.serves(ctx, count-1) })
	}
	all.Wait()
	latest := time.Duration(0)
	for i, err := range errs {
		if err != nil {
			return err
		}
		latest = max(latest, ends[i].Sub(done.answered))
	}
	answered.add(done.took.Seconds())
	served.add((done.took + latest).Seconds())
	answered.note = fmt.Sprintf("POST /config?merge=1 through a follower, requests: %d; the last, first and middle route are asked for through each proxy", done.requests)
	for _, n := range c.nodes {
		for _, i := range []int{0, count / 2} {
			if _, err := n.serves(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// serves waits until the node's proxy leads a request for a route to its service, and gives when it was answered.
func (n *node) serves(ctx context.Context, i int) (at time.Time, err error) {
	c, err := dial(ctx, n.proxy)
	if err != nil {
		return at, err
	}
	defer c.close()
	err = n.await(ctx, func() error {
		a, err := c.do(http.MethodGet, routePath(i)+"/x", nil)
		if err != nil {
			return err
		}
		at = time.Now()
		if err := a.is(http.StatusOK); err != nil {
			return err
		}
		if want := servicePath(i) + "/x"; string(a.body) != want {
			return fmt.Errorf("%s: led to %s, and not %s", a.what, a.body, want)
		}
		return nil
	})
	return at, err
}

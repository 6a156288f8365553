package main

import (
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkServedEverywhere makes 200 writes, each on one node, and measures how
// long after the answer each node serves the change: by its data plane, asked
// all the time. "served-here" is of the node that answered.
//
// Run it with -benchtime 1x: the writes are the repetition.
func BenchmarkServedEverywhere(b *testing.B) {
	c := newCluster(b, 3)
	route(b, c.nodes[0], "/probe")
	for b.Loop() {
		var here, there, writes []time.Duration
		for i := range 200 {
			path := fmt.Sprintf("/p%d-%d", b.N, i)
			answering := c.nodes[i%3]
			// The others are asked from before the write on, so that the first
			// request that finds it is close to the moment it is served.
			var wg sync.WaitGroup
			served := make([]time.Time, 3)
			for j, n := range c.nodes {
				if n != answering {
					wg.Go(func() { served[j] = firstServed(b, n, path) })
				}
			}
			begin := time.Now()
			a := answering.admin("POST", "/services/demo/routes", url.Values{"paths[]": {path}})
			answered := time.Now()
			if a.status != 201 {
				b.Fatalf("%d %s", a.status, a.body)
			}
			served[i%3] = firstServed(b, answering, path)
			wg.Wait()
			writes = append(writes, answered.Sub(begin))
			for j, at := range served {
				if j == i%3 {
					here = append(here, at.Sub(answered))
				} else {
					there = append(there, max(0, at.Sub(answered)))
				}
			}
		}
		report(b, "write", writes)
		report(b, "served-here", here)
		report(b, "served-by-others", there)
	}
	b.ReportMetric(0, "ns/op")
}

// firstServed asks a node's proxy until a path has a route, and gives when the
// request that found it was sent.
func firstServed(tb testing.TB, n *testNode, path string) time.Time {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		sent := time.Now()
		a, err := n.try("GET", n.proxyURL(path), nil, "")
		if err != nil {
			tb.Errorf("%s: %v", n.name, err)
			return sent
		}
		if a.status == 200 {
			return sent
		}
	}
	tb.Errorf("%s never served %s", n.name, path)
	return deadline
}

// BenchmarkRoutesUnderTraffic loads a thousand routes by a thousand writes, one
// after the other over three nodes, while each node is asked two hundred times a
// second, and reports what the requests felt.
func BenchmarkRoutesUnderTraffic(b *testing.B) {
	for b.Loop() {
		c := newCluster(b, 3)
		route(b, c.nodes[0], "/probe")
		for _, n := range c.nodes {
			firstServed(b, n, "/probe")
		}
		stop := make(chan struct{})
		var mu sync.Mutex
		var took []time.Duration
		var traffic sync.WaitGroup
		for _, n := range c.nodes {
			traffic.Go(func() {
				probe(b, n, stop, func(d time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					took = append(took, d)
				})
			})
		}
		start := time.Now()
		loadRoutes(b, c, 1000)
		b.ReportMetric(1000/time.Since(start).Seconds(), "writes/s")
		close(stop)
		traffic.Wait()
		report(b, "request", took)
	}
	b.ReportMetric(0, "ns/op")
}

// report gives the median, the 99th percentile and the worst in milliseconds.
func report(b *testing.B, what string, all []time.Duration) {
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.Logf("%s: median %.3f ms, 99 of 100 within %.3f ms, longest %.3f ms (%d)", what,
		ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1]), len(all))
	b.ReportMetric(ms(all[len(all)/2]), what+"-median-ms")
	b.ReportMetric(ms(all[len(all)*99/100]), what+"-p99-ms")
	b.ReportMetric(ms(all[len(all)-1]), what+"-max-ms")
}

//go:build !race

package proxy

import (
	"fmt"
	"testing"
)

// TestPassThroughAllocates: the plain way of a request through the proxy, with
// access log and metrics, costs no allocation. The race detector makes pools
// forget, so it is run without.
func TestPassThroughAllocates(t *testing.T) {
	for _, size := range []int{100, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			request := passThrough(t, size)
			for range 100 {
				request()
			}
			if n := testing.AllocsPerRun(500, request); n > 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

package cluster

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkApply is a write on a cluster of one node, its disk included: alone,
// and with others that share the disk's round trip.
func BenchmarkApply(b *testing.B) {
	conf := config(b, b.TempDir())
	conf.noSync = false
	n := open(b, conf)
	waitLeader(b, n)
	put(b, n, "first")
	var count atomic.Uint64
	one := func() {
		if result, err := n.Apply(b.Context(), create(fmt.Sprint("b", count.Add(1)))); err != nil || result.Err != nil {
			b.Errorf("%v, %v", result, err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
	b.Run("together", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}

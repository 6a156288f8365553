package main

import (
	"fmt"
	"math"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
	"github.com/sluicegate/sluice/scripts/bench/stats"
)

// apart is how far the proxy's core is from the load's, where each has its own.
func (b *bench) apart(proxy []int) time.Duration {
	if len(proxy) != 1 || len(b.loadCores) != 1 || proxy[0] == b.loadCores[0] {
		return 0
	}
	return machine.Apart(proxy[0], b.loadCores[0])
}

// farther than this times the least of a work are cores that were moved apart.
const farther = 2

// apartText tells of rounds in which the cores were moved apart, and what the last
// contestant's ratio was in those and in the others; empty if there were none.
func apartText(r *result) string {
	if r.work.absolute {
		return ""
	}
	nearest := time.Duration(math.MaxInt64)
	farthest := make([]time.Duration, len(r.samples[0])) // by round
	for _, list := range r.samples {
		for i, s := range list {
			if s.Apart == 0 {
				return ""
			}
			nearest, farthest[i] = min(nearest, s.Apart), max(farthest[i], s.Apart)
		}
	}
	of := r.work.figure.of
	var near, far, distance []float64
	for i, d := range farthest {
		ratio := of(r.samples[len(r.samples)-1][i]) / of(r.samples[0][i])
		if d > farther*nearest {
			far, distance = append(far, ratio), append(distance, float64(d.Nanoseconds()))
		} else {
			near = append(near, ratio)
		}
	}
	switch {
	case len(far) == 0:
		return ""
	case len(near) == 0:
		return fmt.Sprintf("; the cores were moved between %d and %.0f ns apart all the time", nearest.Nanoseconds(), stats.Median(distance))
	}
	return fmt.Sprintf("; in %d of %d rounds the cores were %.0f ns apart in place of %d: %.2f x there, %.2f x in the others",
		len(far), len(farthest), stats.Median(distance), nearest.Nanoseconds(), stats.Median(far), stats.Median(near))
}

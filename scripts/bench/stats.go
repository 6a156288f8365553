//go:build linux

package main

import (
	"math"
	"slices"

	"github.com/sluicegate/sluice/scripts/bench/stats"
)

// spread is a median, what lies around it, and its standard error, 0 if that is not known.
type spread struct{ median, min, max, err float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN(), 0}
	}
	return spread{stats.Median(values), slices.Min(values), slices.Max(values), stats.MedianError(values)}
}

// ratios divides round by round, so that what the machine did in a round
// strikes both.
func ratios(values, base []float64) []float64 {
	var list []float64
	for i := range min(len(values), len(base)) {
		if base[i] > 0 {
			list = append(list, values[i]/base[i])
		}
	}
	return list
}

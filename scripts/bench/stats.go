//go:build linux

package main

import (
	"math"
	"slices"
)

// median of an even number of values is the mean of the two in the middle; NaN
// of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// spread is a median and what lies around it.
type spread struct{ median, min, max float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}
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

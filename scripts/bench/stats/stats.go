// Package stats is the arithmetic of programs that measure.
package stats

import (
	"math"
	"slices"
)

// Median of an even number of values is the mean of the two in the middle; NaN of
// none. It does not change the values.
func Median(values []float64) float64 {
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

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

// MedianError is the standard error of the median, from the distance of the
// quartiles (of a normal distribution, 1.35 standard deviations; the median's error
// is 1.25 times the mean's); 0 of fewer than 8 values, which do not tell.
func MedianError(values []float64) float64 {
	n := len(values)
	if n < 8 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return 1.25 / 1.35 * (sorted[3*n/4] - sorted[n/4]) / math.Sqrt(float64(n))
}

//go:build linux

package main

import (
	"math"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/scripts/bench/stats"
)

func TestMedianAndSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{3}, spread{3, 3, 3, 0}},
		{[]float64{3, 1}, spread{2, 1, 3, 0}},
		{[]float64{9, 1, 2}, spread{2, 1, 9, 0}},
		{[]float64{4, 1, 9, 2}, spread{3, 1, 9, 0}},
	} {
		given := slices.Clone(test.values)
		if got := spreadOf(test.values); got != test.want {
			t.Errorf("%v: %+v", test.values, got)
		}
		if !slices.Equal(given, test.values) {
			t.Errorf("%v became %v", given, test.values)
		}
	}
	many := make([]float64, 400)
	for i := range many {
		many[i] = float64(i) // quartiles 200 apart
	}
	if got := spreadOf(many).err; math.Abs(got-200*1.25/1.35/20) > 1e-9 {
		t.Errorf("the median's error is %g", got)
	}
	if !math.IsNaN(stats.Median(nil)) || !math.IsNaN(spreadOf(nil).min) {
		t.Error("nothing has a median")
	}
}

func TestRatiosArePaired(t *testing.T) {
	got := ratios([]float64{2, 40, 5}, []float64{1, 20, 0})
	if !slices.Equal(got, []float64{2, 2}) {
		t.Error(got)
	}
}

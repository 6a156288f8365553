package main

import (
	"math"
	"slices"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/stats"
)

// figure is one row of the table: a value of every round.
type figure struct {
	what, unit string
	goal       float64 // 0: none
	atLeast    bool    // the goal is a least value, not a greatest
	values     []float64
	note       string
}

// withGoal gives a figure a goal if what was measured has its usual size.
func (f *figure) withGoal(usual bool, goal float64) *figure {
	if usual {
		f.goal = goal
	}
	return f
}

func (f *figure) add(value float64) { f.values = append(f.values, value) }

// met is judged by the median of the rounds.
func (f *figure) met() bool {
	if f.atLeast {
		return stats.Median(f.values) >= f.goal
	}
	return stats.Median(f.values) <= f.goal
}

// quantile gives the value of which a share q of all are not greater; 0 of none. It sorts.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[max(0, int(math.Ceil(q*float64(len(times))))-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func megabytes(n float64) float64          { return n / 1e6 }

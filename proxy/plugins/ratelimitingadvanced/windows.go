package ratelimitingadvanced

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

// The values of window_type, and the strategy that is not Kong's.
const (
	fixed        = "fixed"
	sliding      = "sliding"
	strategyNode = "node"
)

var (
	//lint:ignore ST1005 these are Kong's words
	errLengths = errors.New("You must provide the same number of windows and limits")
	errSeconds = errors.New("must be whole seconds, at least 1")
	errTooLong = errors.New("must be at most two years, and above twelve days whole minutes")
	errBursts  = errors.New("you must provide the same number of bursts and limits")
	errFixed   = errors.New("burst: windows with one are not fixed: leave out window_type, or burst")
)

// windows are those of limit and window_size, shortest first: so the longest of
// those with the least left is what a client is told to wait for.
func (c *Config) windows() ([]ratelimit.Window, error) {
	if len(c.Limit) != len(c.WindowSize) {
		return nil, errLengths
	}
	if err := c.checkBurst(); err != nil {
		return nil, err
	}
	list := make([]ratelimit.Window, 0, len(c.Limit))
	for _, i := range c.shortestFirst() {
		if i > 0 && slices.Contains(c.WindowSize[:i], c.WindowSize[i]) {
			return nil, fmt.Errorf("window_size has %s twice", decimal(c.WindowSize[i]))
		}
		w, err := c.window(i)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

func (c *Config) checkBurst() error {
	switch {
	case len(c.Burst) == 0:
		return nil
	case c.WindowType == fixed:
		return errFixed
	case len(c.Burst) != len(c.Limit):
		return errBursts
	}
	return nil
}

// shortestFirst gives the places in the two lists, by length of the windows.
func (c *Config) shortestFirst() []int {
	order := make([]int, len(c.WindowSize))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(c.WindowSize[a], c.WindowSize[b]) })
	return order
}

// window is the nth one of the two lists.
func (c *Config) window(n int) (ratelimit.Window, error) {
	if err := checkSeconds(c.WindowSize[n]); err != nil {
		return ratelimit.Window{}, fmt.Errorf("window_size %s: %w", decimal(c.WindowSize[n]), err)
	}
	seconds := int64(c.WindowSize[n])
	w := ratelimit.Window{Period: c.period(seconds), Max: c.Limit[n], Title: title(seconds)}
	most := limiter.MaxTokens(w.Period)
	if w.Max > float64(most) {
		return ratelimit.Window{}, fmt.Errorf("limit %s: a %s window admits at most %d", decimal(w.Max), c.WindowType, most)
	}
	if w.Period.IsBucket() {
		if w.Burst = c.Burst[n]; w.Burst > float64(most) {
			return ratelimit.Window{}, fmt.Errorf("burst %s: must be at most %d", decimal(w.Burst), most)
		}
	}
	if c.Strategy == strategyNode {
		w.Period = w.Period.Local()
	}
	return w, nil
}

// period is that of windows, or a bucket, of so many seconds, of which there are
// some.
func (c *Config) period(seconds int64) limiter.Period {
	of := limiter.Sliding
	switch {
	case len(c.Burst) > 0:
		of = limiter.Bucket
	case c.WindowType == fixed:
		of = limiter.Fixed
	}
	p, _ := of(seconds)
	return p
}

// checkSeconds says whether there are windows of this length.
func checkSeconds(seconds float64) error {
	if seconds < 1 || seconds != math.Trunc(seconds) {
		return errSeconds
	}
	if _, ok := limiter.Sliding(int64(min(seconds, math.MaxInt32))); !ok {
		return errTooLong
	}
	return nil
}

// title is how a window's fields end: with Kong's name of its length, or with
// its seconds.
func title(seconds int64) string {
	switch seconds {
	case 1:
		return "Second"
	case 60:
		return "Minute"
	case 3600:
		return "Hour"
	case 86400:
		return "Day"
	case 30 * 86400:
		return "Month"
	case 365 * 86400:
		return "Year"
	}
	return strconv.FormatInt(seconds, 10)
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

package check

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// Arithmetic of the calendar in UTC, written for the checker alone. Times are
// microseconds since 1970.

const (
	second = int64(1_000_000)
	day    = 86400 * second
)

var errNoWindow = errors.New("check: no such window")

// kind is a sort of window.
type kind struct {
	unit   audit.Unit
	length uint32 // of fixed and sliding ones and of buckets, in seconds
}

func (k kind) String() string {
	switch {
	case k.unit == audit.Bucket:
		return fmt.Sprintf("bucket of %d s", k.length)
	case k.length > 0:
		return fmt.Sprintf("%s window of %d s", unitName(k.unit), k.length)
	}
	return unitName(k.unit)
}

// unitName is the name of a unit in a configuration.
func unitName(u audit.Unit) string {
	names := []string{"?", "second", "minute", "hour", "day", "month", "year", book.Fixed, book.Sliding, book.InFlight, book.Bucket}
	if int(u) >= len(names) {
		return fmt.Sprintf("unit %d", u)
	}
	return names[u]
}

func unitOf(name string) audit.Unit {
	for u := audit.Second; u <= audit.Bucket; u++ {
		if strings.EqualFold(name, unitName(u)) {
			return u
		}
	}
	return 0
}

// at gives the window of the kind that a time is in. Of sliding windows there is
// no one such.
func (k kind) at(t int64) (start, end int64, err error) {
	switch k.unit {
	case audit.Second:
		start = floor(t, second)
		return start, start + second, nil
	case audit.Minute:
		start = floor(t, 60*second)
		return start, start + 60*second, nil
	case audit.Hour:
		start = floor(t, 3600*second)
		return start, start + 3600*second, nil
	case audit.Day:
		start = floor(t, day)
		return start, start + day, nil
	case audit.Month:
		y, m := yearAndMonth(floor(t, day) / day)
		return daysTo(y, m) * day, daysTo(y, m+1) * day, nil
	case audit.Year:
		y, _ := yearAndMonth(floor(t, day) / day)
		return daysTo(y, 1) * day, daysTo(y+1, 1) * day, nil
	case audit.Fixed:
		if length := int64(k.length) * second; length > 0 {
			start = floor(t, length)
			return start, start + length, nil
		}
	case audit.InFlight, audit.Bucket:
		return 0, math.MaxInt64, nil
	}
	return 0, 0, fmt.Errorf("%w: %s", errNoWindow, k)
}

// slot gives the time, around t, for which it is told how much was used: a window
// if there are such, and else times of the window's length, or of a second.
func (k kind) slot(t int64) (start, end int64, err error) {
	length := int64(k.length) * second
	switch k.unit {
	case audit.InFlight:
		length = second
	case audit.Sliding, audit.Bucket:
	default:
		return k.at(t)
	}
	if length <= 0 {
		return 0, 0, fmt.Errorf("%w: %s", errNoWindow, k)
	}
	start = floor(t, length)
	return start, start + length, nil
}

func floor(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

// daysTo counts the days from 1970 to the first of a month; month 13 is the next
// January.
func daysTo(year, month int64) int64 {
	days := int64(0)
	for y := int64(1970); y < year; y++ {
		days += 365 + leap(y)
	}
	for m := int64(1); m < month; m++ {
		days += daysIn(year, m)
	}
	return days
}

func leap(year int64) int64 {
	if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 1
	}
	return 0
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		return 28 + leap(year)
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// yearAndMonth says in which month a day is, counted from 1970.
func yearAndMonth(days int64) (year, month int64) {
	year, month = 1970, 1
	for days >= 365+leap(year) {
		days -= 365 + leap(year)
		year++
	}
	for days >= daysIn(year, month) {
		days -= daysIn(year, month)
		month++
	}
	return year, month
}

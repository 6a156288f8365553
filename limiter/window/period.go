// Package window knows the calendar windows in which requests are counted.
package window

import "time"

// Period is the length of a fixed window. Windows are those of the calendar in
// UTC, as Kong's rate-limiting counts them: a minute starts at second 0, a
// month on its first day.
type Period uint8

// The periods, shortest first. A request is checked in this order.
const (
	Second Period = iota
	Minute
	Hour
	Day
	Month
	Year

	// Periods is the number of periods, for arrays indexed by Period.
	Periods = 6
)

// MaxUnix bounds the times the calendar is asked about (year 3084), so that no
// sum of a decoded time and a window length overflows.
const MaxUnix = int64(1) << 35

var periodNames = [Periods]string{"second", "minute", "hour", "day", "month", "year"}

// String returns Kong's name of the period ("minute"), or "invalid".
func (p Period) String() string {
	if p >= Periods {
		return "invalid"
	}
	return periodNames[p]
}

// Window returns the window of length p that contains t, as unix seconds:
// start is inside the window, end is the first second after it.
func (p Period) Window(t time.Time) (start, end int64) {
	return p.At(t.Unix())
}

// At is Window for a unix time in seconds.
func (p Period) At(unix int64) (start, end int64) {
	switch p {
	case Second:
		return unix, unix + 1
	case Minute:
		return aligned(unix, 60)
	case Hour:
		return aligned(unix, 3600)
	case Day:
		return aligned(unix, 86400)
	case Month:
		y, m, _ := time.Unix(unix, 0).UTC().Date()
		return date(y, m), date(y, m+1)
	default:
		y := time.Unix(unix, 0).UTC().Year()
		return date(y, time.January), date(y+1, time.January)
	}
}

func aligned(unix, length int64) (start, end int64) {
	start = unix - ((unix%length)+length)%length
	return start, start + length
}

func date(y int, m time.Month) int64 {
	return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix()
}

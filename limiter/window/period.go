// Package window knows the windows in which requests are counted.
package window

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Period is a kind of window: which ones there are, and how long they last. It
// is a code of 26 bits:
//
//	0-3   Second to Year, or fixed, sliding, bucket, or InFlight
//	4     counted on each node by itself
//	5     the length is in minutes, else in seconds
//	6-25  the length, of fixed and sliding windows and of buckets
//
// The windows of the calendar are in UTC, as Kong's rate-limiting counts them: a
// minute starts at second 0, a month on its first day. Fixed windows of n
// seconds start at multiples of n of unix time, as Kong's rate-limiting-advanced
// has them.
//
// A sliding window of length T is every span of that length. It is counted in
// slices, which are what At returns: a budget is kept if no slice and the Slices
// before it together have more than it. So it is exact for every span of length
// T, and a token comes back at most a slice later than T after it was spent.
//
// A bucket is one window without an end: a token comes back a while after it was
// spent, and the length is of the time in which as many come back as the limit is.
//
// InFlight is one window without an end: a token comes back when who took it is
// done.
type Period uint32

// The periods of the calendar, shortest first.
const (
	Second Period = iota
	Minute
	Hour
	Day
	Month
	Year

	// Periods is the number of periods of the calendar.
	Periods = 6
)

// InFlight counts requests that are being answered.
const InFlight Period = 9

const (
	fixed   = 6
	sliding = 7
	bucket  = 8

	kindMask   = 1<<4 - 1
	local      = 1 << 4
	inMinutes  = 1 << 5
	lengthBits = 20
	lengthAt   = 6

	// Bits is how many bits a period has.
	Bits = lengthAt + lengthBits
	most = 1<<lengthBits - 1
)

// MaxUnix bounds the times the calendar is asked about, in seconds (year 3084),
// so that no sum of a decoded time and a window length overflows.
const MaxUnix = int64(1) << 35

// MaxSeconds is the longest fixed or sliding window, and bucket's time, in seconds: two years, which
// above twelve days must be whole minutes.
const MaxSeconds = int64(most) * 60

const micro = int64(1_000_000)

var periodNames = [Periods]string{"second", "minute", "hour", "day", "month", "year"}

// Fixed returns the period of fixed windows of so many seconds, false if there
// is none. Where the calendar has the same windows, it is the calendar's.
func Fixed(seconds int64) (Period, bool) {
	switch seconds {
	case 1:
		return Second, true
	case 60:
		return Minute, true
	case 3600:
		return Hour, true
	case 86400:
		return Day, true
	}
	return lasting(fixed, seconds)
}

// Sliding returns the period of sliding windows of so many seconds, false if
// there is none.
func Sliding(seconds int64) (Period, bool) { return lasting(sliding, seconds) }

// Bucket returns the period of token buckets that so many seconds refill by their
// limit, false if there is none.
func Bucket(seconds int64) (Period, bool) { return lasting(bucket, seconds) }

func lasting(kind Period, seconds int64) (Period, bool) {
	switch {
	case seconds <= 0:
		return 0, false
	case seconds <= most:
		return kind | Period(seconds)<<lengthAt, true
	case seconds%60 == 0 && seconds <= MaxSeconds:
		return kind | inMinutes | Period(seconds/60)<<lengthAt, true
	}
	return 0, false
}

// Local returns the same windows, counted on each node by itself.
func (p Period) Local() Period { return p | local }

// IsLocal says whether each node counts by itself.
func (p Period) IsLocal() bool { return p&local != 0 }

// IsSliding says whether At returns slices.
func (p Period) IsSliding() bool { return p&kindMask == sliding }

// IsBucket says whether tokens come back one after the other.
func (p Period) IsBucket() bool { return p&kindMask == bucket }

// IsInFlight says whether the period is InFlight, of the cluster or of a node.
func (p Period) IsInFlight() bool { return p&kindMask == InFlight }

// Valid says whether there is such a period, in this one encoding.
func (p Period) Valid() bool {
	kind, length := p&kindMask, int64(p>>lengthAt)
	switch {
	case p>>Bits != 0:
		return false
	case kind < Periods || kind == InFlight:
		return p&^local == kind
	case kind > bucket:
		return false
	}
	seconds := length
	if p&inMinutes != 0 {
		seconds *= 60
	}
	q, ok := lasting(kind, seconds)
	if kind == fixed {
		q, ok = Fixed(seconds)
	}
	return ok && q == p&^local
}

// Seconds is how long a window lasts, of a month or a year at least, of slices
// all of the sliding window, of a bucket the time that its limit is for, and of InFlight as long as there is a calendar.
func (p Period) Seconds() int64 {
	switch p & kindMask {
	case Second:
		return 1
	case Minute:
		return 60
	case Hour:
		return 3600
	case Day:
		return 86400
	case Month:
		return 28 * 86400
	case Year:
		return 365 * 86400
	case InFlight:
		return MaxUnix
	}
	if p&inMinutes != 0 {
		return int64(p>>lengthAt) * 60
	}
	return int64(p >> lengthAt)
}

// sliceLengths are the lengths of slices, in microseconds: at most 64 make a
// window, and in none of them is a clock's doubt of a millisecond a large part.
var sliceLengths = [...]int64{
	micro / 16, micro / 8, micro / 4, micro / 2, micro, 2 * micro, 5 * micro, 10 * micro, 15 * micro, 30 * micro,
	60 * micro, 120 * micro, 300 * micro, 600 * micro, 900 * micro, 1800 * micro, 3600 * micro, 7200 * micro,
	14400 * micro, 43200 * micro, 86400 * micro, 12 * 86400 * micro,
}

// slice is the length of a sliding window's slices.
func (p Period) slice() int64 {
	length := p.Seconds() * micro
	for _, l := range sliceLengths {
		if l*64 >= length {
			return l
		}
	}
	return sliceLengths[len(sliceLengths)-1]
}

// Slices is into how many slices a sliding window is cut; 0 for others.
func (p Period) Slices() int64 {
	if !p.IsSliding() {
		return 0
	}
	l := p.slice()
	return (p.Seconds()*micro + l - 1) / l
}

// String returns Kong's name of a period of the calendar ("minute"); others are
// "45s", "45s sliding", "minute on each node"; or "invalid".
func (p Period) String() string {
	if !p.Valid() {
		return "invalid"
	}
	text := ""
	switch kind := p & kindMask; {
	case kind < Periods:
		text = periodNames[kind]
	case kind == InFlight:
		text = "in flight"
	default:
		text = (time.Duration(p.Seconds()) * time.Second).String()
	}
	switch {
	case p.IsSliding():
		text += " sliding"
	case p.IsBucket():
		text += " bucket"
	}
	if p.IsLocal() {
		text += " on each node"
	}
	return text
}

// Parts of codes.
const (
	localCode    = "local."
	slidingCode  = "sliding."
	bucketCode   = "bucket."
	inFlightCode = "inflight"
)

// Code names the period in one word for URLs: "minute", "90s", "sliding.60s",
// "bucket.60s", "inflight", "local.minute".
func (p Period) Code() string {
	text := ""
	if p.IsLocal() {
		text = localCode
	}
	switch kind := p & kindMask; {
	case kind < Periods:
		return text + periodNames[kind]
	case kind == InFlight:
		return text + inFlightCode
	case kind == sliding:
		text += slidingCode
	case kind == bucket:
		text += bucketCode
	}
	return text + strconv.FormatInt(p.Seconds(), 10) + "s"
}

// ParseCode reads what Code gives.
func ParseCode(code string) (Period, bool) {
	rest, onNode := strings.CutPrefix(code, localCode)
	p, ok := Period(slices.Index(periodNames[:], rest)), slices.Contains(periodNames[:], rest)
	switch {
	case ok:
	case rest == inFlightCode:
		p, ok = InFlight, true
	default:
		length, slides := strings.CutPrefix(strings.TrimSuffix(rest, "s"), slidingCode)
		length, fills := strings.CutPrefix(length, bucketCode)
		seconds, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return 0, false
		}
		switch p, ok = Fixed(seconds); {
		case slides && fills:
			return 0, false
		case slides:
			p, ok = Sliding(seconds)
		case fills:
			p, ok = Bucket(seconds)
		}
	}
	if onNode {
		p = p.Local()
	}
	return p, ok && p.Code() == code // there is one code only
}

// Window is one window, or one slice, of a period.
type Window struct {
	// Start names it: its beginning in unix seconds, or the number of the slice,
	// counted from 1970.
	Start int64
	// From is its first microsecond of unix time, Until the first one after it.
	From, Until int64
}

// At returns the window that a time is in, in unix microseconds, not before 1970.
func (p Period) At(us int64) Window {
	unix := us / micro
	switch p & kindMask {
	case Second:
		return between(unix, unix+1)
	case Minute:
		return aligned(unix, 60)
	case Hour:
		return aligned(unix, 3600)
	case Day:
		return aligned(unix, 86400)
	case Month:
		y, m, _ := time.Unix(unix, 0).UTC().Date()
		return between(date(y, m), date(y, m+1))
	case Year:
		y := time.Unix(unix, 0).UTC().Year()
		return between(date(y, time.January), date(y+1, time.January))
	case sliding:
		return p.slices(us / p.slice())
	case bucket, InFlight:
		return Window{Start: 1, Until: MaxUnix * micro}
	}
	return aligned(unix, p.Seconds())
}

// Named returns the window of a name, false if there is none of that.
func (p Period) Named(start int64) (Window, bool) {
	switch {
	case start < 0 || !p.Valid():
		return Window{}, false
	case p.IsSliding():
		return p.slices(start), start <= MaxUnix*micro/p.slice()
	case start > MaxUnix:
		return Window{}, false
	}
	w := p.At(start * micro)
	return w, w.Start == start
}

func (p Period) slices(n int64) Window {
	l := p.slice()
	return Window{Start: n, From: n * l, Until: (n + 1) * l}
}

func between(start, end int64) Window {
	return Window{Start: start, From: start * micro, Until: end * micro}
}

func aligned(unix, length int64) Window {
	start := unix - unix%length
	return between(start, start+length)
}

func date(y int, m time.Month) int64 {
	return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix()
}

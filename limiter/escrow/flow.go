package escrow

import (
	"math"
	"math/bits"

	"github.com/sluicegate/sluice/limiter/window"
)

// The arithmetic of token buckets: the generic cell rate algorithm (ITU-T I.371).
// A bucket is one number, the time at which it will be full again; a token taken
// moves that on by what a token takes to come back. Times are in ticks.

// perMicro is how many ticks a microsecond has: of 10^6 tokens a second on a node,
// rounding costs a thousandth.
const perMicro = 1024

// maxFill is the longest time in which a bucket is filled, in seconds: a hundred
// years, so that no sum of times overflows before the year 2200.
const maxFill = 100 * 365 * 86400

// never is a time that does not come.
const never = math.MaxInt64

func ticks(us int64) int64 { return us * perMicro }

// micros rounds up.
func micros(ticks int64) int64 { return (ticks + perMicro - 1) / perMicro }

// flow is what a node has of a bucket: how many tokens it has when it is full, and
// how long each takes to come back.
type flow struct{ size, each int64 }

// fill is how long the empty bucket takes to be full.
func (f flow) fill() int64 { return f.size * f.each }

// flowOf is the part that size has of a bucket of burst tokens, of which limit
// come back in the period's time. All parts together let through no more: the
// time of a token is rounded up.
func flowOf(p window.Period, limit, burst, size int64) flow {
	if size <= 0 || limit <= 0 {
		return flow{}
	}
	by := uint64(limit) * uint64(size)
	hi, lo := bits.Mul64(uint64(ticks(p.Seconds()*second)), uint64(burst))
	lo, carry := bits.Add64(lo, by-1, 0)
	each, _ := bits.Div64(hi+carry, lo, by)
	return flow{size, int64(each)}
}

// bucketBounds cuts what a bucket is configured with to what flowOf can do; with
// no burst, that is the limit.
func bucketBounds(p window.Period, limit, burst int64) (int64, int64) {
	limit = max(0, min(limit, MaxTokens(p)))
	if burst <= 0 {
		burst = limit
	}
	return limit, max(min(1, limit), min(burst, MaxTokens(p), limit*maxFill/p.Seconds()))
}

// tokens is how many there are at a time between lo and hi if the bucket is full
// at full, less those that are reserved: they are in it still, and may be
// taken when it has refilled otherwise.
func (f flow) tokens(full, lo, hi, reserved int64) int64 {
	if f.size == 0 {
		return 0
	}
	from := max(full, lo)
	if reserved > 0 {
		from = max(full, hi+reserved*f.each)
	}
	return max(0, (lo+f.fill()-from)/f.each)
}

// less is when the bucket is full if n tokens are taken at a time not after hi.
func (f flow) less(full, hi, reserved, n int64) int64 {
	return max(full, hi+reserved*f.each) + n*f.each
}

// next is how long after lo there is a token.
func (f flow) next(full, lo, reserved int64) int64 {
	if f.size == 0 {
		return 0
	}
	return max(1, max(full, lo+reserved*f.each)+f.each-f.fill()-lo)
}

// become is when the bucket is full if its flow is another one from a time on: it
// has as many tokens as it had, or as many as there is room for.
func (f flow) become(g flow, full, at int64) int64 {
	if f.size == 0 || g.size == 0 {
		return at + g.fill()
	}
	there := at + f.fill() - max(full, at)
	switch {
	case there < 0: // what is lent is not forgotten faster
		return at + g.fill() + max(-there, scale(-there, g.each, f.each))
	case there/f.each >= g.size:
		return at
	}
	return at + g.fill() - min(scale(there, g.each, f.each), g.fill())
}

// scale is n times a / b, rounded down, at most a time that can be added to
// another one.
func scale(n, a, b int64) int64 {
	const most = 1 << 61
	hi, lo := bits.Mul64(uint64(n), uint64(a))
	if hi >= uint64(b) {
		return most
	}
	q, _ := bits.Div64(hi, lo, uint64(b))
	return int64(min(q, most))
}

package ratelimiting

import (
	"strconv"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// window is what an instance says of one of its periods.
type window struct {
	limitName, remainingName string
	limitText                string
	// excess is how much the whole-numbered budget is above a fractional limit;
	// what is said to remain counts from the limit.
	excess float64
}

// newWindow prepares the fields of a period. The names are Kong's:
// X-RateLimit-Limit-Minute, in canonical form on the wire.
func newWindow(p limiter.Period, limit float64) window {
	title := [limiter.Periods]string{"Second", "Minute", "Hour", "Day", "Month", "Year"}[p]
	return window{
		limitName:     "X-RateLimit-Limit-" + title,
		remainingName: "X-RateLimit-Remaining-" + title,
		limitText:     strconv.FormatFloat(limit, 'f', -1, 64),
		excess:        float64(roundUp(limit)) - limit,
	}
}

// describe sets the rate limit fields of an answer: two for each period, and
// those without X- for the tightest one, which is the one with the least left
// and among equals the longest.
func (p *Plugin) describe(h plugin.Header, d *limiter.Decision) {
	tightest, left := 0, ""
	for i := range p.windows {
		w, remaining := &p.windows[i], p.remaining(i, d)
		if d.Remaining[i] <= d.Remaining[tightest] {
			tightest, left = i, remaining
		}
		h.Set(w.limitName, w.limitText)
		h.Set(w.remainingName, remaining)
	}
	if len(p.windows) == 0 {
		return
	}
	reset := p.numbers.text(max(1, d.Reset[tightest]))
	h.Set("RateLimit-Limit", p.windows[tightest].limitText)
	h.Set("RateLimit-Remaining", left)
	h.Set("RateLimit-Reset", reset)
	if !d.Admitted {
		h.Set("Retry-After", reset)
	}
}

func (p *Plugin) remaining(i int, d *limiter.Decision) string {
	left := max(0, d.Remaining[i])
	if excess := p.windows[i].excess; excess > 0 {
		return strconv.FormatFloat(max(0, float64(left)-excess), 'f', -1, 64)
	}
	return p.numbers.text(left)
}

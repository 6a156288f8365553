package ratelimit

import (
	"strconv"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// says is what a gate says of one of its windows.
type says struct {
	limitName, remainingName string
	limitText                string
	// excess is how much the whole-numbered budget is above a fractional limit;
	// what is said to remain counts from the limit.
	excess float64
}

// newSays prepares the fields of a window. The names are Kong's:
// X-RateLimit-Limit-Minute, in canonical form on the wire.
func newSays(w Window) says {
	most := w.Max
	if w.Period.IsBucket() {
		most = w.Burst
	}
	return says{
		limitName:     "X-RateLimit-Limit-" + w.Title,
		remainingName: "X-RateLimit-Remaining-" + w.Title,
		limitText:     strconv.FormatFloat(most, 'f', -1, 64),
		excess:        float64(roundUp(most)) - most,
	}
}

// describe sets the rate limit fields of an answer: two for each window, and
// those without X- for the tightest one, which is the one with the least left
// and among equals the last.
func (g *Gate) describe(h plugin.Header, d *limiter.Decision) {
	tightest, left := 0, ""
	for i := range g.says {
		w, remaining := &g.says[i], g.remaining(i, d)
		if d.Remaining[i] <= d.Remaining[tightest] {
			tightest, left = i, remaining
		}
		h.Set(w.limitName, w.limitText)
		h.Set(w.remainingName, remaining)
	}
	if len(g.says) == 0 {
		return
	}
	wait := max(1, d.Reset[tightest])
	reset := g.shared.numbers.text(wait)
	h.Set("RateLimit-Limit", g.says[tightest].limitText)
	h.Set("RateLimit-Remaining", left)
	h.Set("RateLimit-Reset", reset)
	if d.Admitted {
		return
	}
	if g.Jitter != nil {
		reset = g.shared.numbers.text(wait + g.Jitter())
	}
	h.Set("Retry-After", reset)
}

func (g *Gate) remaining(i int, d *limiter.Decision) string {
	left := max(0, d.Remaining[i])
	if excess := g.says[i].excess; excess > 0 {
		return strconv.FormatFloat(max(0, float64(left)-excess), 'f', -1, 64)
	}
	return g.shared.numbers.text(left)
}

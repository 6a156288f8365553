package limiter_test

import (
	"testing"

	"github.com/sluicegate/sluice/limiter"
)

// BenchmarkTake is a decision as the plugins ask for it: with the reading of the
// clock.
func BenchmarkTake(b *testing.B) {
	c := cluster(b, 1, nil)
	lim := &limiter.Limit{ID: "9c1f2a34-0000-4000-8000-5d6e7f8a9b0c", Version: 1, Rates: []limiter.Rate{{Period: limiter.Year, Max: 1 << 38}}}
	lim.Prepare()
	const key = "3f2c8a10-1111-4111-8111-0a1b2c3d4e5f"
	ctx, l := b.Context(), c.Limiter(0)
	for range 10_000 {
		l.Take(ctx, lim, key)
	}
	b.ReportAllocs()
	for b.Loop() {
		if d := l.Take(ctx, lim, key); d.Err != nil {
			b.Fatalf("%+v", d)
		}
	}
}

package limiter_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/sluicegate/sluice/limiter"
)

// TestBucket: a cluster just born admits the burst of a bucket, to the token, and
// shows where it is. In time that does not pass while somebody computes: a loan that
// comes some milliseconds late is void, and a refusal right.
func TestBucket(t *testing.T) { synctest.Test(t, testBucket) }

func testBucket(t *testing.T) {
	c := cluster(t, 3, nil)
	hour, _ := limiter.Bucket(3600)
	lim := &limiter.Limit{ID: "l", Version: 1, Rates: []limiter.Rate{{Period: hour, Max: 12, Burst: 7}}}
	lim.Prepare()
	for i := range 9 {
		d := c.Limiter(i%3).Take(t.Context(), lim, "key")
		if d.Err != nil || d.Admitted != (i < 7) {
			t.Fatalf("request %d: %+v", i, d)
		}
		if i != 3 {
			continue
		}
		b := only(t, c, i%3, limiter.BudgetQuery{Limit: lim.ID})
		if b.Max != 7 || b.Spent != 4 || b.Left != 3 || b.Reset < 300 || b.Reset > 2100 || b.From != 0 || b.Until != 0 {
			t.Errorf("%+v", b)
		}
		if _, err := c.Limiter(0).TopUp(t.Context(), op(1), b.Budget, 1); !errors.Is(err, limiter.ErrUnchangeable) {
			t.Errorf("it is changed: %v", err)
		}
	}
}

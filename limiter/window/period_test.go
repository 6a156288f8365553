package window

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWindow(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		p           Period
		now         string
		start, ends string
	}{
		{Second, "2026-06-15 12:30:59", "2026-06-15 12:30:59", "2026-06-15 12:31:00"},
		{Minute, "2026-06-15 12:30:59", "2026-06-15 12:30:00", "2026-06-15 12:31:00"},
		{Hour, "2026-06-15 12:30:59", "2026-06-15 12:00:00", "2026-06-15 13:00:00"},
		{Day, "2026-12-31 23:59:59", "2026-12-31 00:00:00", "2027-01-01 00:00:00"},
		{Day, "1969-12-31 23:59:59", "1969-12-31 00:00:00", "1970-01-01 00:00:00"},
		{Month, "2026-01-31 12:00:00", "2026-01-01 00:00:00", "2026-02-01 00:00:00"},
		{Month, "2026-12-31 12:00:00", "2026-12-01 00:00:00", "2027-01-01 00:00:00"},
		{Month, "2028-02-29 12:00:00", "2028-02-01 00:00:00", "2028-03-01 00:00:00"},
		{Year, "2028-12-30 12:00:00", "2028-01-01 00:00:00", "2029-01-01 00:00:00"},
	} {
		start, end := c.p.Window(at(c.now))
		if start != at(c.start).Unix() || end != at(c.ends).Unix() {
			t.Errorf("%s of %s: %s to %s", c.p, c.now, time.Unix(start, 0).UTC(), time.Unix(end, 0).UTC())
		}
	}
}

// TestWindowsTile: a window contains its moment, begins where it says, and the
// next one begins where it ends.
func TestWindowsTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Period(rapid.IntRange(0, Periods-1).Draw(t, "period"))
		now := rapid.Int64Range(-1<<33, MaxUnix).Draw(t, "now")
		start, end := p.At(now)
		if now < start || now >= end {
			t.Fatalf("%d is outside [%d, %d)", now, start, end)
		}
		if s, e := p.At(end - 1); s != start || e != end {
			t.Fatalf("the last second is in [%d, %d), not in [%d, %d)", s, e, start, end)
		}
		if s, _ := p.At(end); s != end {
			t.Fatalf("the next window begins at %d, not at %d", s, end)
		}
	})
}

func TestPeriodString(t *testing.T) {
	if Month.String() != "month" || Period(9).String() != "invalid" {
		t.Errorf("%s, %s", Month, Period(9))
	}
}

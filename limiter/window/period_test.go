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
		{Month, "2026-01-31 12:00:00", "2026-01-01 00:00:00", "2026-02-01 00:00:00"},
		{Month, "2026-12-31 12:00:00", "2026-12-01 00:00:00", "2027-01-01 00:00:00"},
		{Month, "2028-02-29 12:00:00", "2028-02-01 00:00:00", "2028-03-01 00:00:00"},
		{Year, "2028-12-30 12:00:00", "2028-01-01 00:00:00", "2029-01-01 00:00:00"},
	} {
		w := c.p.At(at(c.now).UnixMicro())
		if w.Start != at(c.start).Unix() || w.From != at(c.start).UnixMicro() || w.Until != at(c.ends).UnixMicro() {
			t.Errorf("%s of %s: %s to %s", c.p, c.now, time.UnixMicro(w.From).UTC(), time.UnixMicro(w.Until).UTC())
		}
	}
}

// anyPeriod draws a period of any kind.
func anyPeriod(t *rapid.T) Period {
	p, ok := Period(rapid.IntRange(0, Periods-1).Draw(t, "period")), true
	seconds := rapid.OneOf(rapid.Int64Range(1, 5000), rapid.Int64Range(1, 1<<20-1), rapid.Map(rapid.Int64Range(1, MaxSeconds/60), func(n int64) int64 { return 60 * n })).Draw(t, "seconds")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 4:
		p, ok = Bucket(seconds)
	case 3:
		p = InFlight
	case 1:
		p, ok = Fixed(seconds)
	case 2:
		p, ok = Sliding(seconds)
	}
	if rapid.Bool().Draw(t, "local") {
		p = p.Local()
	}
	if !ok || !p.Valid() {
		t.Fatalf("no period of %d seconds: %#x", seconds, p)
	}
	return p
}

// TestWindowsTile: a window contains its moment, has its name, and the next one
// begins where it ends.
func TestWindowsTile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPeriod(t)
		now := rapid.Int64Range(0, MaxUnix*micro-1).Draw(t, "now")
		w := p.At(now)
		if now < w.From || now >= w.Until {
			t.Fatalf("%d is outside %v", now, w)
		}
		if named, ok := p.Named(w.Start); !ok || named != w {
			t.Fatalf("%v is named %v, %v", w, named, ok)
		}
		if last := p.At(w.Until - 1); last != w {
			t.Fatalf("the last microsecond is in %v, not in %v", last, w)
		}
		if next := p.At(w.Until); !p.IsInFlight() && !p.IsBucket() && next.From != w.Until {
			t.Fatalf("the next window is %v, after %v", next, w)
		}
	})
}

// TestSlices: the slices of a sliding window cover it, and are few.
func TestSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, _ := Sliding(rapid.Int64Range(1, 1<<20-1).Draw(t, "seconds"))
		w := p.At(rapid.Int64Range(0, MaxUnix*micro).Draw(t, "now"))
		length, n := p.Seconds()*micro, p.Slices()
		if l := w.Until - w.From; n < 1 || n > 64 || n*l < length || (n-1)*l >= length {
			t.Fatalf("%d slices of %d microseconds for %d", n, l, length)
		}
	})
}

// TestValid: every period has one encoding.
func TestValid(t *testing.T) {
	seen := map[string]Period{}
	for p := range Period(1 << 20) {
		if !p.Valid() {
			continue
		}
		if other, ok := seen[p.String()]; ok {
			t.Fatalf("%#x and %#x are both %s", p, other, p)
		}
		seen[p.String()] = p
		if q, ok := ParseCode(p.Code()); !ok || q != p {
			t.Fatalf("%#x is called %s, which is %#x, %v", p, p.Code(), q, ok)
		}
	}
	for _, wrong := range []string{"", "s", "0s", "60s", "minutes", "local.", "sliding.minute", "sliding.local.5s", "+5s", "05s", "5", "-1s"} {
		if p, ok := ParseCode(wrong); ok {
			t.Errorf("%q is %s", wrong, p)
		}
	}
	for _, seconds := range []int64{-1, 0, 1 << 20, MaxSeconds + 60} {
		if p, ok := Fixed(seconds); ok {
			t.Errorf("%d seconds are %s", seconds, p)
		}
	}
}

func TestPeriodString(t *testing.T) {
	sliding, _ := Sliding(45)
	bucket, _ := Bucket(90)
	if Month.String() != "month" || Period(10).String() != "invalid" || sliding.Local().String() != "45s sliding on each node" || bucket.String() != "1m30s bucket" {
		t.Errorf("%s, %s, %s, %s", Month, Period(10), sliding.Local(), bucket)
	}
}

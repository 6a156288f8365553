package check

import (
	"testing"

	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/escrow"
)

func TestKeyDependsOnAll(t *testing.T) {
	seen := map[key]string{}
	for _, c := range [][3]string{
		{"c", "l", "k"}, {"c", "l", "kk"}, {"c", "l", ""}, {"c", "kl", ""}, {"c", "", "k"}, {"", "l", "k"}, {"d", "l", "k"},
		{"c", "l", "12345678"}, {"c", "l", "1234567"}, {"c", "l", "123456781"},
	} {
		k := keyOf(c[0], c[1], c[2])
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have the same key", c, other)
		}
		seen[k] = c[0] + "/" + c[1] + "/" + c[2]
	}
}

// TestKeyIsTheNodes: what the checker works out is what nodes record.
func TestKeyIsTheNodes(t *testing.T) {
	core := escrow.New(escrow.Config{Secret: escrow.NewSecret("cluster"), Table: cells.InMemory(1), Kick: func() {}})
	for _, text := range []string{"", "k", "12345678", "\x00ip:192.0.2.7"} {
		want := core.Key("limit", text)
		if got := keyOf("cluster", "limit", text); got.hi != want.Hi || got.lo != want.Lo {
			t.Errorf("%q: %x, nodes have %x", text, got, want)
		}
	}
}

func TestCalendar(t *testing.T) {
	const aDay = int64(86400)
	for _, tt := range []struct {
		unit             audit.Unit
		in, start, lasts int64 // seconds
	}{
		{audit.Second, 1_780_000_020, 1_780_000_020, 1},
		{audit.Minute, 1_780_000_079, 1_780_000_020, 60},
		{audit.Hour, 1_780_000_079, 1_779_998_400, 3600},
		{audit.Day, 1_780_000_079, 1_779_926_400, aDay},
		{audit.Month, 951_782_400, 949_363_200, 29 * aDay}, // 29 February 2000
		{audit.Month, 1_798_761_599, 1_796_083_200, 31 * aDay},
		{audit.Month, 0, 0, 31 * aDay},
		{audit.Year, 1_798_761_599, 1_767_225_600, 365 * aDay}, // the last second of 2026
		{audit.Year, 1_709_164_800, 1_704_067_200, 366 * aDay}, // 2024
	} {
		start, end, err := kind{unit: tt.unit}.at(tt.in * second)
		if err != nil || start != tt.start*second || end-start != tt.lasts*second {
			t.Errorf("%s of %d: %d to %d, %v", unitName(tt.unit), tt.in, start/second, end/second, err)
		}
	}
	if _, _, err := (kind{unit: 99}).at(0); err == nil {
		t.Error("a unit that there is not has windows")
	}
}

// TestUnmatched: a record is for one answer, of those that were under way.
func TestUnmatched(t *testing.T) {
	const s = second
	for _, tt := range []struct {
		times []int64
		spans []span
		left  int
	}{
		{[]int64{5 * s}, []span{{4 * s, 6 * s}}, 0},
		{nil, []span{{4 * s, 6 * s}}, 1},
		{[]int64{5 * s}, []span{{4 * s, 6 * s}, {4 * s, 6 * s}}, 1},
		{[]int64{7 * s}, []span{{4 * s, 6 * s}}, 1},
		{[]int64{3 * s}, []span{{4 * s, 6 * s}}, 1},
		{[]int64{5 * s, 8 * s}, []span{{1 * s, 9 * s}, {4 * s, 6 * s}}, 0}, // the shorter one needs the first
		{[]int64{1, 2, 5 * s, 9 * s}, []span{{4 * s, 6 * s}}, 0},           // others nobody heard of
	} {
		if left := unmatched(tt.times, tt.spans); len(left) != tt.left {
			t.Errorf("%v in %v: %v left", tt.times, tt.spans, left)
		}
	}
}

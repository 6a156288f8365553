package machine

import (
	"testing"
	"time"
)

func TestParseSchedstat(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"4638779 143513 3\n": 4638779, "0 0 0": 0,
		"": -1, "1 2": -1, "1 2 3 4": -1, "x 2 3": -1, "-1 2 3": -1, "99999999999999999999 1 1": -1,
	} {
		got, err := parseSchedstat([]byte(text))
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestParseStat(t *testing.T) {
	const line = "10249 (a b) R 3) S 10244 10245 5204 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 1 0 112351 3133440 358\n"
	got, err := parseStat([]byte(line))
	if err != nil || got.group != 10245 || got.cpu != 420*time.Millisecond {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "1 (x) S 1", "1 (x) S 1 x 1 1 1 1 1 1 1 1 1 1 1", "1 (x) S 1 1 1 1 1 1 1 1 1 1 1 x"} {
		if _, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestParseBusy(t *testing.T) {
	busy, steal, err := parseBusy([]byte("cpu  100 10 50 9999 999 1 20 7 55 0\ncpu0 1 2 3 4\n"))
	if err != nil || busy != 1880*time.Millisecond || steal != 70*time.Millisecond {
		t.Errorf("busy %v, steal %v, %v", busy, steal, err)
	}
	for _, text := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 x 8"} {
		if _, _, err := parseBusy([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestParseRollup(t *testing.T) {
	const head = "55a02f29b000-7ffeccb29000 ---p 00000000 00:00 0 [rollup]\n"
	rss, pss, err := parseRollup([]byte(head + "Rss:     1800 kB\nPss:   412 kB\nPss_Dirty: 116 kB\n"))
	if err != nil || rss != 1800<<10 || pss != 412<<10 {
		t.Errorf("%d, %d, %v", rss, pss, err)
	}
	for _, text := range []string{"", head, head + "Rss: 1 kB\n", head + "Rss: x kB\nPss: 1 kB\n"} {
		if _, _, err := parseRollup([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

package evloop

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

func TestPauses(t *testing.T) {
	t.Parallel()
	var p pauses
	note := func(n int, short func(i int) bool) {
		for i := range n {
			p.were(short(i))
		}
	}
	always, never := func(int) bool { return true }, func(int) bool { return false }
	for _, step := range []struct {
		what  string
		n     int
		short func(i int) bool
		want  bool
	}{
		{"nothing is known", 0, never, false},
		{"a few short ones prove nothing", 10, always, false},
		{"many do", 40, always, true},
		{"one long one is no reason to stop", 1, never, true},
		{"some in a row are", 5, never, false},
		{"every other one is too few", 200, func(i int) bool { return i%2 == 0 }, false},
		{"nine of ten are enough", 200, func(i int) bool { return i%10 != 0 }, true},
		{"all long", 200, never, false},
		{"and short again", 40, always, true},
	} {
		if note(step.n, step.short); p.areShort() != step.want {
			t.Errorf("%s: short %t (%d of %d)", step.what, !step.want, p.short, allShort)
		}
	}
}

// ledByTest gives a loop with a ring that nobody leads but the test.
func ledByTest(t *testing.T) *Loop {
	t.Helper()
	l, err := newLoop(&Group{start: time.Now()}, 0, true)
	if errors.Is(err, errNoRing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestLooksOut: what comes while the loop looks out and what comes later end a wait both.
func TestLooksOut(t *testing.T) {
	t.Parallel()
	l := ledByTest(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i, delay := range []time.Duration{0, 2 * time.Millisecond, 0, 3 * lookOut / 2, lookOut / 2} {
		l.pauses.short = allShort
		rung := time.AfterFunc(delay, l.ring)
		if delay == 0 && rung.Stop() {
			l.ring()
		}
		l.todo = 0
		for l.todo == 0 { // a signal may end a wait as well
			if err := l.lookRing(rawWait, 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, some := l.event(); some; _, some = l.event() {
		}
		if delay == 0 && l.pauses.short < allShort {
			t.Errorf("wait %d: what had come before was waited for", i)
		}
	}
}

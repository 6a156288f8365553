package escrow

import (
	"testing"

	"pgregory.net/rapid"
)

// TestClock: whatever is asked and however late answers come, a clock that keeps
// its promise has the true time between Lo and Hi while it hears of it, and Lo
// never falls.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		ppm := rapid.Int64Range(-drift+1, drift-1).Draw(t, "drift")
		at, last := int64(1_781_524_800)*second, int64(0)
		began := at
		mono := func() int64 { return 5*second + (at - began) - (at-began)*ppm/1_000_000 }
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			sent := mono()
			at += rapid.Int64Range(0, 5000).Draw(t, "there")
			leader := at
			at += rapid.Int64Range(0, 5000).Draw(t, "back")
			if rapid.Bool().Draw(t, "entry") {
				c.Saw(mono(), leader)
			} else {
				c.Sync(sent, mono(), leader)
			}
			at += rapid.Int64Range(0, 2*second).Draw(t, "pause")
			now, ok := c.At(mono())
			if !ok {
				continue
			}
			if now.Lo > at+1 || now.Hi < at-1 { // rounding
				t.Fatalf("%d is not in %+v", at, now)
			}
			if now.Lo < last {
				t.Fatalf("%+v after %d", now, last)
			}
			last = now.Lo
		}
	})
}

// TestLeap: where the cluster's time leaps, the own clock does with it, so that
// nothing lasts longer by either than by the other.
func TestLeap(t *testing.T) {
	var c Clock
	c.Sync(0, 1000, 60*second)
	before, _ := c.At(1000)
	c.Sync(2000, 2000, 60*second+50*millisecond)
	c.Saw(3000, 60*second+90*millisecond)
	c.Sync(3500, 3500, 60*second) // no leap back
	const doubt = 10
	if now, _ := c.At(4000); now.Own-before.Own < now.Lo-before.Hi-doubt || now.Own-before.Own > now.Hi-before.Lo {
		t.Errorf("%+v after %+v", now, before)
	}
}

// TestClockAlone: after hours without a leader the time is still known well
// enough to tell windows apart.
func TestClockAlone(t *testing.T) {
	var c Clock
	c.Sync(0, 1000, 60*second)
	now, _ := c.At(10 * 3600 * second)
	if now.Hi-now.Lo != 2*maxDrift+1000+off(1000) || now.Lo < (10*3600+59)*second || now.Hi > (10*3600+61)*second {
		t.Errorf("%+v", now)
	}
}

// TestResume: a later process goes on with the reading of an earlier one, unless
// it knows better, or the reading is of a clock that went on to somewhere else.
func TestResume(t *testing.T) {
	var c Clock
	c.Resume(100, Reading{Mono: 200, Lo: 1, Hi: 2})
	if _, ok := c.At(100); ok {
		t.Error("a reading of the future is believed")
	}
	c.Resume(300, Reading{Mono: 200, Lo: 60 * second, Hi: 60*second + 10})
	if now, ok := c.At(1200); !ok || now.Lo != 60*second+999 || now.Hi != 60*second+1011 {
		t.Errorf("%+v, %v", now, ok)
	}
	before, _ := c.Reading()
	c.Resume(300, Reading{Mono: 200, Lo: 1, Hi: 2})
	if after, _ := c.Reading(); after != before {
		t.Error("what is known is forgotten")
	}
}

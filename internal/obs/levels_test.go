package obs

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"
)

func TestLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLevels("notice")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		steps := []struct {
			after   time.Duration
			set     string
			d       time.Duration
			changed bool
			level   string
			zap     zapcore.Level
		}{
			{0, "", 0, false, "notice", zapcore.InfoLevel},
			{0, "debug", time.Minute, true, "debug", zapcore.DebugLevel},
			{59 * time.Second, "", 0, false, "debug", zapcore.DebugLevel},
			{2 * time.Second, "", 0, false, "notice", zapcore.InfoLevel},
			{0, "notice", time.Minute, false, "notice", zapcore.InfoLevel},
			{0, "debug", time.Minute, true, "debug", zapcore.DebugLevel},
			{time.Second, "error", 2 * time.Minute, true, "error", zapcore.ErrorLevel}, // the second change counts
			{61 * time.Second, "", 0, false, "error", zapcore.ErrorLevel},
			{time.Minute, "", 0, false, "notice", zapcore.InfoLevel},
			{0, "debug", time.Minute, true, "debug", zapcore.DebugLevel},
			{0, "debug", 0, false, "debug", zapcore.DebugLevel}, // and now for good
			{time.Hour, "", 0, false, "debug", zapcore.DebugLevel},
			{0, "warn", time.Second, true, "warn", zapcore.WarnLevel},
			{time.Minute, "", 0, false, "debug", zapcore.DebugLevel},
		}
		for i, s := range steps {
			time.Sleep(s.after)
			synctest.Wait()
			if s.set != "" {
				if changed, err := l.SetLevel(s.set, s.d); err != nil || changed != s.changed {
					t.Errorf("step %d: changed %v, %v", i, changed, err)
				}
			}
			if l.Level() != s.level || l.Atomic().Level() != s.zap {
				t.Errorf("step %d: %s, %v; want %s, %v", i, l.Level(), l.Atomic().Level(), s.level, s.zap)
			}
		}
		if _, err := l.SetLevel("loud", 0); err == nil || l.Level() != "debug" {
			t.Errorf("loud: %v, level %s", err, l.Level())
		}
	})
	if _, err := NewLevels("loud"); err == nil {
		t.Error("a level called loud")
	}
}

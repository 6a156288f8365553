package obs

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Levels is a log level that can be changed, for a while or for good. Safe for
// concurrent use.
type Levels struct {
	level zap.AtomicLevel

	mu sync.Mutex
	// name is the level as it was asked for, usual the one that it goes back to.
	name, usual string
	back        *time.Timer // nil unless it is going to
}

// NewLevels makes a level; names are those of ParseLevel.
func NewLevels(name string) (*Levels, error) {
	level, err := ParseLevel(name)
	if err != nil {
		return nil, err
	}
	return &Levels{level: zap.NewAtomicLevelAt(level), name: name, usual: name}, nil
}

// Atomic is the level for loggers.
func (l *Levels) Atomic() zap.AtomicLevel { return l.level }

// Level names the level.
func (l *Levels) Level() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name
}

// SetLevel changes the level for a time; 0 is for good. changed is false if it
// was that level before, for whatever time.
func (l *Levels) SetLevel(name string, d time.Duration) (changed bool, err error) {
	level, err := ParseLevel(name)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	changed = name != l.name
	l.set(name, level)
	if d == 0 {
		l.usual = name
		return changed, nil
	}
	var back *time.Timer
	back = time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.back != back { // another change was faster
			return
		}
		if usual, err := ParseLevel(l.usual); err == nil {
			l.set(l.usual, usual)
		}
	})
	l.back = back
	return changed, nil
}

// set changes the level, and forgets about going back.
func (l *Levels) set(name string, level zapcore.Level) {
	if l.back != nil {
		l.back.Stop()
		l.back = nil
	}
	l.name = name
	l.level.SetLevel(level)
}

// Close ends a change that was for a while.
func (l *Levels) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back != nil {
		l.back.Stop()
		l.back = nil
	}
}

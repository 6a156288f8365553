package cells

import (
	"math"
	"testing"
	"unsafe"

	"github.com/sluicegate/sluice/limiter/window"
	"pgregory.net/rapid"
)

func TestCellIsACacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Cell{}); n != 64 {
		t.Errorf("a cell has %d bytes", n)
	}
}

func TestWord(t *testing.T) {
	tests := map[string]struct {
		start  uint32
		tokens int64
		want   int64
	}{
		"no tokens":      {1781524800, 0, 0},
		"some":           {1781524800, 5, 5},
		"debt":           {1781524800, -5, -5},
		"most":           {1781524800, MaxTokens, MaxTokens},
		"least":          {1781524800, MinTokens, MinTokens},
		"beyond most":    {1781524800, MaxTokens + 1, MaxTokens},
		"beyond least":   {1781524800, math.MinInt64, MinTokens},
		"mark of zeros":  {1 << 24, 7, 7},
		"mark of ones":   {1<<32 - 1, -1, -1},
		"no window's":    {0, MinTokens - 1, MinTokens},
		"before tokens":  {1, MinTokens - 1, MinTokens},
		"start of epoch": {0, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := MakeWord(tt.start, tt.tokens)
			if got := w.Tokens(); got != tt.want {
				t.Errorf("%d tokens, want %d", got, tt.want)
			}
			if !w.In(tt.start) || w.In(tt.start+1) || w.In(tt.start-60) {
				t.Errorf("%x is in the wrong window", uint64(w))
			}
		})
	}
}

func TestWordOfNoWindow(t *testing.T) {
	for _, w := range []Word{none, busy} {
		c := new(Cell)
		c.word.Store(uint64(w))
		for _, start := range []uint32{0, 1, 1 << 24, 1<<24 + 1} {
			if _, ok := c.Take(start); ok || w.In(start) || w.Tokens() != 0 {
				t.Errorf("%x has a token of window %d", uint64(w), start)
			}
			if _, ok := c.Add(start, 1); ok {
				t.Errorf("%x was given a token of window %d", uint64(w), start)
			}
		}
	}
}

// TestCellAgainstModel plays all methods on one cell and a number.
func TestCellAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{1, 2}
		var c Cell
		c.own(k, window.Minute, nil)
		start, tokens, entered := uint32(0), int64(0), false
		some := rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64Range(-MaxTokens, MaxTokens), rapid.Int64())
		at := rapid.OneOf(rapid.Just(uint32(60)), rapid.Uint32())
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			s := start
			if rapid.IntRange(0, 4).Draw(t, "other") == 0 {
				s = at.Draw(t, "start")
			}
			in := entered && s == start
			sameMark := entered && s&markMask == start&markMask
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				n := some.Draw(t, "tokens")
				old := c.Enter(s, n)
				if old.In(start) != entered || old.Tokens() != tokens {
					t.Fatalf("Enter gave %d, want %d", old.Tokens(), tokens)
				}
				start, tokens, entered = s, max(MinTokens, min(n, MaxTokens)), true
			case 1:
				left, ok := c.TakeFor(k, window.Minute, s)
				if ok != (in && tokens > 0) {
					t.Fatalf("TakeFor: %v with %d", ok, tokens)
				}
				if ok {
					tokens--
				}
				if in && left != tokens {
					t.Fatalf("TakeFor left %d, want %d", left, tokens)
				}
			default:
				n := some.Draw(t, "add")
				_, ok := c.Add(s, n)
				fits := n <= MaxTokens-tokens && n >= MinTokens-tokens
				if ok != (sameMark && fits) {
					t.Fatalf("Add %d to %d: %v", n, tokens, ok)
				}
				if ok {
					tokens += n
				}
			}
			if c.Word().Tokens() != tokens {
				t.Fatalf("%d tokens, want %d", c.Word().Tokens(), tokens)
			}
		}
	})
}

// TestTakenOver: who found a cell without a lock and comes late takes nothing of
// the key that has it now, although both windows begin at the same time.
func TestTakenOver(t *testing.T) {
	const now = 1781524800
	a, b := Key{1, 1}, Key{2, 2}
	tests := map[string]struct {
		key    Key
		period window.Period
	}{
		"another key":    {b, window.Minute},
		"another period": {a, window.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var c Cell
			c.own(a, window.Minute, nil)
			c.Enter(now-60, 5)
			found := &c // by a request of a's, for the window at now
			c.own(tt.key, tt.period, nil)
			c.Enter(now, 5)
			if _, ok := found.TakeFor(a, window.Minute, now); ok {
				t.Error("took a token of somebody else")
			}
			if _, ok := found.TakeFor(a, window.Minute, now-60); ok {
				t.Error("took a token of a window that is over")
			}
			if left, ok := c.TakeFor(tt.key, tt.period, now); !ok || left != 4 {
				t.Errorf("the owner's take left %d, %v", left, ok)
			}
		})
	}
}

// TestSameMark: windows 194 days apart have the same mark in the word.
func TestSameMark(t *testing.T) {
	const now, later = 1781524800, 1781524800 + 1<<24
	var c Cell
	c.own(Key{1, 1}, window.Second, nil)
	c.Enter(now, 5)
	if _, ok := c.TakeFor(Key{1, 1}, window.Second, later); ok {
		t.Error("took a token of 194 days ago")
	}
	check := func() {
		if _, ok := c.TakeFor(Key{1, 1}, window.Second, later); ok && !c.Word().In(later) {
			t.Error("took a token of 194 days ago while the window turned")
		}
		if c.Start.Load() == later && c.Word() != none && c.Word().Tokens() > 3 {
			t.Error("tokens of 194 days ago are there")
		}
	}
	c.enter(later, 3, check)
}

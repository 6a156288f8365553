package cells

import (
	"sync/atomic"

	"github.com/sluicegate/sluice/limiter/window"
)

// Key is a 128-bit hash. The zero Key is none. Whoever can choose what is hashed
// must not be able to choose the hash: the table spreads keys by it as it is.
type Key struct{ Hi, Lo uint64 }

// Cell counts the tokens of one key and period, in 64 bytes: one cache line. It
// belongs to them from Insert on until another Insert takes it over, which
// happens only when its window is over, or Sweep does away with it.
//
// All methods are safe for concurrent use but Enter, which wants the lock of the
// key's shard.
type Cell struct {
	hi, lo atomic.Uint64
	word   atomic.Uint64 // a Word; busy while the cell changes hands

	// Start names the window: its beginning in unix seconds, or whatever follows
	// one another; 0: none yet. Enter writes it.
	Start atomic.Uint32
	// Flags are the user's but for the low FlagsAt bits, which are the period.
	// Insert writes them.
	Flags atomic.Uint32

	// The rest is the user's. Insert sets all of it to 0.

	Credited atomic.Int64
	Max      atomic.Int64
	Version  atomic.Uint32
	Told     atomic.Uint32
	Low      atomic.Uint32
	Extra    atomic.Uint32
}

// FlagsAt is the first bit of a cell's Flags that is the user's.
const FlagsAt = window.Bits

// Word is a window and its tokens: the low 24 bits of the window's Start, and
// below them 40 bits of tokens in two's complement.
type Word uint64

const (
	tokenBits = 40
	markMask  = 1<<24 - 1
	tokenMask = 1<<tokenBits - 1
)

// The most and the least tokens that a Word holds.
const (
	MaxTokens = int64(1)<<(tokenBits-1) - 1
	MinTokens = -MaxTokens
)

// Two words of no window. Both have a token less than MinTokens, so nothing can
// be taken of them nor added to them.
const (
	none Word = 1 << (tokenBits - 1)            // it has entered no window
	busy Word = 1<<(tokenBits-1) | 1<<tokenBits // its key is being written
)

// MakeWord returns the word of a window that has tokens, which are cut to
// MinTokens and MaxTokens.
func MakeWord(start uint32, tokens int64) Word {
	tokens = max(MinTokens, min(tokens, MaxTokens))
	return Word(start)<<tokenBits | Word(tokens)&tokenMask
}

// Tokens returns how many there are, below 0 for a debt, and 0 if the word is of
// no window.
func (w Word) Tokens() int64 {
	if !w.entered() {
		return 0
	}
	return w.tokens()
}

func (w Word) tokens() int64 { return int64(w<<(64-tokenBits)) >> (64 - tokenBits) }
func (w Word) entered() bool { return w&tokenMask != none }

// In says whether the word is of the window of that Start. It is mistaken for
// windows whose Starts are a multiple of 2^24 apart: 194 days, if they are seconds.
func (w Word) In(start uint32) bool {
	return uint32(w>>tokenBits) == start&markMask && w.entered()
}

// Word returns the cell's.
func (c *Cell) Word() Word { return Word(c.word.Load()) }

// Key returns whose cell it is; the zero Key is nobody. Whole only under the
// lock of the shard.
func (c *Cell) Key() Key { return Key{c.hi.Load(), c.lo.Load()} }

// Period returns the period of the cell's windows.
func (c *Cell) Period() window.Period { return window.Period(c.Flags.Load() & (1<<FlagsAt - 1)) }

// Of says whether the cell is the one of k and p.
func (c *Cell) Of(k Key, p window.Period) bool {
	return c.lo.Load() == k.Lo && c.hi.Load() == k.Hi && c.Period() == p
}

// TakeFor takes a token of k's if the cell is still k's and in the window that
// begins at start. left is what the window has afterwards, or has if there is
// none to take.
//
// This is for whoever found the cell without a lock: since then it may have been
// given to another key, in a window that begins when k's does. The word is read
// before the key, and exchanged only if it is still the one that was read.
// A cell changes hands with no window, and its windows follow each other
// whoever they belong to: so if the key is k after the word was read, and the
// word is in the window still, it was k's all the time.
func (c *Cell) TakeFor(k Key, p window.Period, start uint32) (left int64, ok bool) {
	for {
		w := c.Word()
		if !c.Of(k, p) || c.Start.Load() != start || uint32(w>>tokenBits) != start&markMask {
			return 0, false
		}
		if w.tokens() <= 0 {
			return w.Tokens(), false
		}
		if c.word.CompareAndSwap(uint64(w), uint64(w-1)) {
			return w.tokens() - 1, true
		}
	}
}

// Take is TakeFor for a caller who knows that the cell is its key's: it holds
// the lock of the shard.
func (c *Cell) Take(start uint32) (left int64, ok bool) {
	for {
		w := c.Word()
		if uint32(w>>tokenBits) != start&markMask {
			return 0, false
		}
		if w.tokens() <= 0 {
			return w.Tokens(), false
		}
		if c.word.CompareAndSwap(uint64(w), uint64(w-1)) {
			return w.tokens() - 1, true
		}
	}
}

// Add adds n tokens, or takes -n of them, also if that makes a debt. It does
// nothing if the cell is in another window, or if the sum is beyond MinTokens or
// MaxTokens; left is what there is afterwards. Without the lock it is for those
// only who have taken from the cell in this window, and put back.
func (c *Cell) Add(start uint32, n int64) (left int64, ok bool) {
	for {
		w := c.Word()
		if !w.In(start) {
			return 0, false
		}
		has := w.tokens()
		if n > MaxTokens-has || n < MinTokens-has {
			return has, false
		}
		if c.word.CompareAndSwap(uint64(w), uint64(MakeWord(start, has+n))) {
			return has + n, true
		}
	}
}

// Enter begins a window, or sets the tokens of the one the cell is in, and
// returns the word of before, of which nothing can be taken any more. A window
// must not begin before the end of any that the cell was in, whoever it belonged
// to. Under the lock of the key's shard.
//
// A process killed meanwhile leaves the window of before, or no window, or this
// one: tokens may be lost but are not there twice.
func (c *Cell) Enter(start uint32, tokens int64) (old Word) { return c.enter(start, tokens, nil) }

func (c *Cell) enter(start uint32, tokens int64, trace trace) (old Word) {
	if c.Start.Load() == start {
		return Word(c.word.Swap(uint64(MakeWord(start, tokens))))
	}
	// Start is written while nothing can be taken: it tells windows apart that
	// are 194 days apart. And before the word is: a cell that has tokens of a
	// window never looks as if that were over.
	old = Word(c.word.Swap(uint64(none)))
	trace.store()
	c.Start.Store(start)
	trace.store()
	c.word.Store(uint64(MakeWord(start, tokens)))
	trace.store()
	return old
}

// own makes the cell k's, blank. What it was is over. The word goes first, so
// that nobody takes of it any more, and comes last: a cell that is found busy
// after a crash is nobody's, whatever its key looks like.
func (c *Cell) own(k Key, p window.Period, trace trace) {
	c.word.Store(uint64(busy))
	trace.store()
	for _, f := range []*atomic.Uint64{&c.hi, &c.lo} {
		f.Store(0)
		trace.store()
	}
	c.Start.Store(0)
	trace.store()
	c.Flags.Store(uint32(p))
	trace.store()
	c.Credited.Store(0)
	c.Max.Store(0)
	c.Version.Store(0)
	c.Told.Store(0)
	c.Low.Store(0)
	c.Extra.Store(0)
	trace.store()
	c.hi.Store(k.Hi)
	trace.store()
	c.lo.Store(k.Lo)
	trace.store()
	if k != (Key{}) {
		c.word.Store(uint64(none))
		trace.store()
	}
}

// trace is called after each store that a crash could follow; tests look at the
// memory then. It is nil otherwise.
type trace func()

func (t trace) store() {
	if t != nil {
		t()
	}
}

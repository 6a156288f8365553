package limiter

import "math"

const (
	// prefetchMax is the smallest budget of which tokens are asked for before
	// a request needs them. Below it every token is asked for by a request in
	// hand, so that RateLimit-Remaining is exact and nothing has to be called
	// back.
	prefetchMax = 32
	// early is how many microseconds' worth of demand may be left when more is
	// asked for.
	early = 15 * millisecond
	// slot is the least time over which demand is measured.
	slot = 100 * millisecond
	// forget is after how long the demand of before no longer counts.
	forget = 3 * slot
	// softDenial is how long a window is taken for empty after other nodes
	// kept what they hold for a whole wait.
	softDenial = 200 * millisecond
	// retryAfter is how long waiting requests rest between two asks if nobody
	// wakes them.
	retryAfter = 25 * millisecond
)

// account is what a node knows of one key of one limit: a cell for each period.
// Guarded by its shard's mutex.
type account struct {
	shard *shard
	limit string
	key   string
	hash  uint64
	next  *account // same hash
	index int      // in shard.accounts
	used  int64    // time of the last request
	cells [Periods]*cell
}

// cell is a node's part of one window: a token counter and what is known of the
// rest. A cell follows the clock from window to window. Guarded by the mutex of
// its account's shard.
type cell struct {
	acct       *account
	period     Period
	start, end int64  // of the window, microseconds
	gen        uint64 // raised whenever the tokens of before are void
	version    uint64
	max        int64

	tokens   int64 // free to spend
	reserved int64 // taken by tickets that wait for another period
	spent    int64 // admitted here in this window
	reported int64 // spent as the ledger knows it
	giveBack int64 // leaves with the next batch
	force    bool  // the next batch must mention this cell

	pool      int64 // as of the last answer
	answered  int64 // when that was; 0: never for this window
	closed    bool  // nothing is left anywhere until the window ends
	denyUntil int64

	share      int64 // left of the share taken without a quorum
	hasShare   bool  // a window has one share at most
	shareSince int64 // the loss it was taken in
	debt       int64 // spent of a share, not yet paid for by a grant or the pool

	rate   float64 // demand, requests per second
	count  int64   // requests since slotAt
	slotAt int64

	queued   bool // in the shard's queue
	inFlight bool // in the outstanding batch
	delayed  bool // in the shard's later list
	waiters  []*ticket
	live     int // waiters whose ticket is still open
}

// follow moves the cell to the window of time t and to the newest version of
// its limit. A clock that is a little late for the cell's window does not move
// it back.
func (c *cell) follow(t int64, version uint64, limit int64) {
	if t >= c.end || c.start > t+aheadOf(c.start/second, c.end/second) {
		c.enter(t)
	}
	if version > c.version {
		c.version, c.max = version, limit
		c.closed, c.denyUntil = false, 0
	}
}

// enter begins the window of time t. Requests that wait go on waiting in it.
func (c *cell) enter(t int64) {
	start, end := c.period.windowAt(floorDiv(t, second))
	c.start, c.end = start*second, end*second
	c.slotAt = min(c.slotAt, t)
	c.void()
}

// void forgets all tokens and all that was known of the window.
func (c *cell) void() {
	c.gen++
	c.tokens, c.reserved, c.spent, c.reported, c.giveBack, c.force = 0, 0, 0, 0, 0, false
	c.pool, c.answered, c.closed, c.denyUntil = 0, 0, false, 0
	c.share, c.hasShare, c.debt = 0, false, 0
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// demand counts one request at time t.
func (c *cell) demand(t int64) {
	c.count++
	dt := t - c.slotAt
	if dt < slot {
		return
	}
	c.rate = c.rateAt(t)
	c.count, c.slotAt = 0, t
}

// rateAt is the demand as of t in requests per second.
func (c *cell) rateAt(t int64) float64 {
	dt := t - c.slotAt
	if dt < slot {
		return max(c.rate, float64(c.count)*float64(second)/float64(slot))
	}
	recent := float64(c.count) * float64(second) / float64(dt)
	if dt > forget {
		return recent
	}
	return (c.rate + recent) / 2
}

// horizon is how many seconds of demand are asked for at once.
func (c *cell) horizon() float64 {
	if c.period <= Minute {
		return 1
	}
	return 10
}

// low reports whether more should be asked for before the tokens run out.
func (c *cell) low() bool {
	return c.max >= prefetchMax && c.pool > 0 && !c.closed &&
		float64(c.tokens)*float64(second) < c.rate*float64(early)
}

// want is how many tokens to ask for at time t. A cell that gives back asks for
// nothing in advance.
func (c *cell) want(t int64) int64 {
	if c.closed {
		return 0
	}
	want := int64(c.live)
	if c.max >= prefetchMax && !c.force && (want > 0 || c.low()) {
		ahead := math.Ceil(c.rateAt(t)*c.horizon()) - float64(c.tokens)
		want += int64(max(0, min(ahead, float64(c.max))))
	}
	return min(want, c.max)
}

// yield takes from the cell what is given to a node with the given demand: a
// part by the two nodes' demands, all of it when this one is idle.
func (c *cell) yield(t int64, rate float64) {
	c.force = true
	if c.tokens == 0 {
		return
	}
	g, mine := c.tokens, c.rateAt(t)
	if idle := t-c.acct.used > forget; !idle && mine > 0 {
		part := float64(c.tokens) * rate / (rate + mine)
		g = max(1, min(int64(part), c.tokens))
	}
	c.tokens -= g
	c.giveBack += g
}

// unreported says whether the others should hear what was spent here: all this
// node had of a window whose pool is empty, or of a share.
func (c *cell) unreported() bool {
	return c.spent != c.reported && (c.tokens == 0 && c.pool <= 0 || c.debt > 0)
}

// release has all free tokens and what is unreported leave with the next batch,
// and reports whether there is anything to say.
func (c *cell) release() bool {
	c.giveBack += c.tokens
	c.tokens = 0
	c.force = c.force || c.giveBack > 0 || c.spent != c.reported
	return c.force
}

// busy says whether dropping the cell would break something under way.
func (c *cell) busy() bool {
	return c.queued || c.inFlight || c.delayed || c.live > 0 || c.reserved > 0
}

// remaining is what is left of the window as far as this node knows.
func (c *cell) remaining() int64 {
	return max(0, min(c.max, max(0, c.pool)+c.tokens+c.share))
}

// reset is the time to the window's end in whole seconds, at least 1.
func (c *cell) reset(t int64) int64 {
	return max(1, (c.end-t+second-1)/second)
}

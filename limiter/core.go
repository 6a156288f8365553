package limiter

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	defaultShards   = 64
	defaultAccounts = 1 << 20
	maxWaitersCell  = 4096
	maxWaitersNode  = 1 << 16
	maxStrays       = 64 // per shard
	evictTries      = 8
	sweepPerTick    = 8           // accounts looked at, per shard
	idleAfter       = 10 * second // an unused cell is given back and dropped
	leaderlessAfter = 3 * second  // without a leader, shares are used
	worthReporting  = 10 * second // a window that ends sooner needs no clearing up
)

// core is the node's side of the limiter without goroutine, clock or I/O: time
// comes in as an argument (microseconds of the local clock), batches go out
// through ready, and answers come in through credit and observe. The driver in
// limiter.go, the simulation and the transcripts run this same code.
//
// Locking: mu guards the outstanding batch, each shard's mutex its accounts and
// queues. mu is taken before a shard's mutex, never after; take holds only one
// shard's mutex.
type core struct {
	node   string
	clock  clock
	seed   maphash.Seed
	shards []shard
	loss   atomic.Pointer[loss]
	known  func(limit, key string, p Period, start int64) (pool int64, ok bool)
	voters func() []string
	audit  func(limit, key string, p Period, start int64)
	kick   chan struct{} // signalled when ready may have something new

	waiting     atomic.Int64 // open tickets
	maxAccounts int          // per shard
	closing     atomic.Bool

	mu          sync.Mutex
	incarnation string
	renew       func() string // draws a new incarnation
	seq         uint64
	out         *outstanding
	turn        int // shard at which ready begins
}

// loss says since when (local clock, microseconds) there has been no leader.
type loss struct {
	since int64
	// long: for more than three seconds; shares may be used.
	long bool
	// blind: this process has never had a leader. Of windows that began before
	// it, what its ledger does not know may be spent.
	blind bool
}

// leaderless says that there has been no leader for so long that this node
// decides without one.
func (c *core) leaderless() bool {
	lost := c.loss.Load()
	return lost != nil && lost.long
}

// outstanding is the batch that waits for its answer.
type outstanding struct {
	batch Batch
	refs  []ref // in the order of the items; a nil cell for strays
	// answered, if set, is called once when the answer is in; it must not block.
	answered func()
}

type ref struct {
	cell *cell
	gen  uint64
	debt int64 // of the cell, told to the ledger by this item
}

// shard is a part of the key space with its own lock.
type shard struct {
	mu       sync.Mutex
	core     *core
	byHash   map[uint64]*account
	accounts []*account
	hand     int     // where the sweep goes on
	queue    []*cell // to be mentioned in the next batch, oldest first
	later    []delay // due in order
	strays   []Item  // items without a cell
	_        [32]byte
}

// delay is a cell to look at again at a given time.
type delay struct {
	cell *cell
	at   int64
}

func newCore(node, incarnation string, shards int) *core {
	c := &core{
		node: node, incarnation: incarnation, seed: maphash.MakeSeed(),
		shards: make([]shard, shards), kick: make(chan struct{}, 1),
		maxAccounts: max(1, defaultAccounts/shards),
	}
	for i := range c.shards {
		c.shards[i].core = c
		c.shards[i].byHash = make(map[uint64]*account)
	}
	return c
}

// take decides about one request at local time. If it needs an answer of the
// log first, take returns a ticket to wait on; otherwise d is the decision.
func (c *core) take(local int64, lim *Limit, key string, d *Decision) *ticket {
	if len(key) > maxKey {
		key = shortKey(key)
	}
	t := c.clock.at(local)
	h := c.hash(lim.ID, key)
	s := &c.shards[h%uint64(len(c.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Refused = lim.first()
	if c.closing.Load() { // asked under the lock: giveAll passes here once
		d.Err = ErrClosed
		return nil
	}
	a := s.account(h, lim.ID, key, t)
	if a == nil {
		return nil
	}
	a.used = t
	short, refused := false, false
	for p := range lim.Max {
		if lim.Max[p] <= 0 {
			continue
		}
		cl := a.cell(Period(p), t, lim)
		// What a shorter period refuses is no demand on a longer one: it would
		// lease tokens that nobody can spend.
		refused = refused || cl.closed && cl.tokens == 0
		if !refused {
			cl.demand(t)
		}
		short = short || cl.tokens == 0
	}
	if short {
		if done, tk := s.takeShort(a, lim, t, d); done {
			return tk
		}
	}
	s.takeAll(a, lim, t, d)
	return nil
}

// first is the shortest limited period.
func (lim *Limit) first() Period {
	for p := range lim.Max {
		if lim.Max[p] > 0 {
			return Period(p)
		}
	}
	return Second
}

// cell returns the account's cell of period p, in the window of time t.
func (a *account) cell(p Period, t int64, lim *Limit) *cell {
	cl, most := a.cells[p], min(lim.Max[p], maxAmount)
	if cl == nil {
		cl = &cell{acct: a, period: p, slotAt: t, version: lim.Version, max: most}
		cl.enter(t)
		a.cells[p] = cl
		return cl
	}
	cl.follow(t, lim.Version, most)
	return cl
}

// takeAll spends one token of every limited period; all have one.
func (s *shard) takeAll(a *account, lim *Limit, t int64, d *Decision) {
	d.Admitted, d.Refused = true, 0
	for p := range lim.Max {
		if lim.Max[p] <= 0 {
			continue
		}
		cl := a.cells[p]
		if cl.tokens > 0 {
			cl.tokens--
		} else {
			cl.share--
			cl.debt++
			d.Degraded = true
		}
		cl.spent++
		s.core.admitted(cl, cl.start)
		if cl.low() {
			s.enqueue(cl)
		} else if cl.unreported() {
			s.delay(cl, t)
		}
	}
	s.describe(a, lim, t, d)
}

// admitted tells the audit of one admission on the window that starts at start.
func (c *core) admitted(cl *cell, start int64) {
	if c.audit != nil {
		c.audit(cl.acct.limit, cl.acct.key, cl.period, start/second)
	}
}

// describe fills in what is left of each window.
func (s *shard) describe(a *account, lim *Limit, t int64, d *Decision) {
	for p := range lim.Max {
		cl := a.cells[p]
		if lim.Max[p] <= 0 || cl == nil {
			continue
		}
		d.Remaining[p], d.Reset[p] = cl.remaining(), cl.reset(t)
	}
	if !d.Admitted {
		d.Remaining[d.Refused] = 0
	}
}

// takeShort handles a request for which some period has no token here: it is
// refused at once (true, nil), waits (true, ticket), or after a share was taken
// goes ahead (false).
func (s *shard) takeShort(a *account, lim *Limit, t int64, d *Decision) (bool, *ticket) {
	lost := s.core.loss.Load()
	for p := range lim.Max {
		if lim.Max[p] <= 0 || a.cells[p].tokens > 0 {
			continue
		}
		cl := a.cells[p]
		refuse := cl.closed || t < cl.denyUntil
		if lost != nil && lost.long && !refuse {
			if !lim.FaultTolerant {
				d.Err = ErrNoQuorum
				refuse = true
			} else {
				d.Degraded = true
				refuse = !s.core.takeShare(cl, lost)
			}
		}
		if refuse {
			d.Refused = Period(p)
			s.describe(a, lim, t, d)
			return true, nil
		}
	}
	if lost != nil && lost.long {
		return false, nil
	}
	tk := s.wait(a, lim, t)
	if tk == nil {
		s.describe(a, lim, t, d)
	}
	return true, tk
}

// enqueue has the cell mentioned in the next batch.
func (s *shard) enqueue(cl *cell) {
	if cl.queued || cl.inFlight {
		return
	}
	cl.queued = true
	s.queue = append(s.queue, cl)
	s.core.signal()
}

func (c *core) signal() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// delay has the cell looked at again a little later.
func (s *shard) delay(cl *cell, t int64) {
	if cl.delayed || cl.queued || cl.inFlight {
		return
	}
	cl.delayed = true
	s.later = append(s.later, delay{cl, t + retryAfter})
}

func (c *core) hash(limit, key string) uint64 {
	h := maphash.String(c.seed, key)
	return h ^ (maphash.String(c.seed, limit) * 0x9e3779b97f4a7c15)
}

// find returns the account of a key, or nil.
func (s *shard) find(h uint64, limit, key string) *account {
	for a := s.byHash[h]; a != nil; a = a.next {
		if a.key == key && a.limit == limit {
			return a
		}
	}
	return nil
}

// account returns the account of a key, a new one if need be, or nil if the
// table is full of accounts in use.
func (s *shard) account(h uint64, limit, key string, t int64) *account {
	if a := s.find(h, limit, key); a != nil {
		return a
	}
	if len(s.accounts) >= s.core.maxAccounts && !s.evict(t) {
		return nil
	}
	a := &account{
		shard: s, limit: strings.Clone(limit), key: strings.Clone(key), hash: h,
		next: s.byHash[h], index: len(s.accounts), used: t,
	}
	s.byHash[h] = a
	s.accounts = append(s.accounts, a)
	return a
}

// remove drops an account without busy cells.
func (s *shard) remove(a *account) {
	last := len(s.accounts) - 1
	s.accounts[a.index] = s.accounts[last]
	s.accounts[a.index].index = a.index
	s.accounts[last] = nil
	s.accounts = s.accounts[:last]
	if s.byHash[a.hash] == a {
		if a.next == nil {
			delete(s.byHash, a.hash)
		} else {
			s.byHash[a.hash] = a.next
		}
		return
	}
	for b := s.byHash[a.hash]; b != nil; b = b.next {
		if b.next == a {
			b.next = a.next
			return
		}
	}
}

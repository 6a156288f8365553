package escrow

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

const (
	millisecond = ledger.Millisecond
	second      = ledger.Second
)

// Core is one node's side of the limiter, without goroutine, clock or I/O: time
// comes in as an argument, what is to be sent goes out through Ready, and what
// arrives comes in through the methods of link.go, serve.go and log.go. The same
// code runs in production, in the simulation and in the transcripts. All methods
// are safe for concurrent use.
//
// Locking: a shard's mutex guards its hunts and all changes of its cells but the
// taking of a token; mu guards the links and the log's batch. mu is taken before
// a shard's mutex, never after, and the mailbox's is the last.
type Core struct {
	node   string
	secret Secret
	// tagged is a second secret, for the tags of keys: those are shown.
	tagged uint64
	random func() uint64
	audit  func(Admission)
	kick   func() // called when Ready may have something new; must not block
	rules  rules
	// insert is the table's, but in tests that have no room.
	insert func(cells.Key, window.Period, func(*cells.Cell) bool) *cells.Cell

	Clock Clock
	table *cells.Table
	// bounds are the windows of the calendar that were last asked for.
	bounds  [window.Periods]atomic.Pointer[window.Window]
	recents recents
	shards  [cells.Shards]shard
	// view is what the log has said.
	view atomic.Pointer[view]
	// bonuses is what operators have added to budgets; replaced, never changed.
	bonuses atomic.Pointer[map[ledger.Budget]int64]
	waiting atomic.Int64 // open tickets
	ticks   atomic.Uint64
	probing atomic.Bool // some hunt was at the last tick
	leaving atomic.Bool // asks for no place in the roster any more
	// untimely says that a request waits for an entry of the log.
	untimely atomic.Bool
	counters counters

	box mailbox

	mu     sync.Mutex
	toldAt int64 // when others were last told of large budgets
	log    logClient
	seq    uint64 // of requests to all nodes: no two have the same in a session
	links  map[string]*link
	serve  map[string]*served
}

// rules are some of those that budgets are kept by: tests break them, to see that
// it is noticed.
type rules struct {
	fresh func(stamp, from int64) bool
	// slices is how many slices before one count, used what a slice's cell has
	// used of this node's own, and least the smaller of two shares.
	slices func(window.Period) int64
	used   func(own, left int64) int64
	least  func(former, later int64) int64
	// since is a time before which nobody was admitted.
	since func(v *view, created int64) int64
	// current says whether a node that has seen an entry of the stamp last cannot
	// have been fenced for long.
	current func(stamp int64, now Instant) bool
	// joined is when a bucket is full that this node has a part of since a time,
	// life how long a lent token counts as not spent, and borrowed whether one that
	// is good until a time may be spent.
	joined   func(since, fill int64) int64
	life     func(ticks int64) int64
	borrowed func(own, until int64) bool
	// handed is what a node that leaves gives back of what it has taken out of a
	// cell.
	handed func(left int64) int64
}

var theRules = rules{
	fresh:   ledger.Fresh,
	slices:  window.Period.Slices,
	used:    func(own, left int64) int64 { return max(0, own-left) },
	least:   func(former, later int64) int64 { return min(former, later) },
	since:   func(v *view, created int64) int64 { return v.rosters.Awake(created) },
	current: func(stamp int64, now Instant) bool { return now.Hi <= stamp+ledger.Delay },

	joined:   func(since, fill int64) int64 { return since + fill },
	life:     func(ticks int64) int64 { return ticks },
	borrowed: func(own, until int64) bool { return own <= until },
	handed:   func(left int64) int64 { return left },
}

// shard is a part of the key space with a lock of its own.
type shard struct {
	mu    sync.Mutex
	core  *Core
	now   Instant // the latest that was seen under the lock
	hunts map[place]*hunt
	list  []*hunt // the same, in an order
	_     [24]byte
}

// place is what there is a hunt for.
type place struct {
	key    ledger.Key
	period window.Period
}

func placeOf(b ledger.Budget) place { return place{b.Key, b.Period} }

// at is a moment under the lock: none is before another that was there.
func (s *shard) at(now Instant) Instant {
	s.now = Instant{max(s.now.Lo, now.Lo), max(s.now.Hi, now.Hi), max(s.now.Own, now.Own)}
	return s.now
}

// Config is what a Core needs. All but Audit is required.
type Config struct {
	Node   string // id, unique in the cluster
	Secret Secret
	// From is what the process has left whose cells are in Table; without one,
	// only Incarnation is set, to a random number.
	From Heritage
	// Session is higher than those of earlier processes of the incarnation.
	Session uint64
	Table   *cells.Table
	Random  func() uint64
	// Kick is called, under a lock, when Ready may have something new.
	Kick func()
	// Audit, if set, is called for every token spent, before the request is
	// admitted, and for every one of InFlight that is put back, before it can be
	// taken again: concurrently, and sometimes under a lock.
	Audit func(Admission)
}

// New returns a Core that knows nothing yet of the log.
func New(cfg Config) *Core {
	c := &Core{
		node: cfg.Node, secret: cfg.Secret, random: cfg.Random, audit: cfg.Audit, kick: cfg.Kick, table: cfg.Table,
		rules: theRules, insert: cfg.Table.Insert,
		links: map[string]*link{}, serve: map[string]*served{},
		tagged: sum(cfg.Secret[0], cfg.Secret[1], "tags").Hi,
	}
	v := &view{
		member: ledger.Member{Node: cfg.Node, Incarnation: cfg.From.Incarnation}, earlier: cfg.From.Earlier,
		stamp: cfg.From.Stamp, rosters: cfg.From.Rosters,
	}
	if v.rosters == nil {
		v.rosters = &ledger.Rosters{}
	}
	c.view.Store(v)
	c.log.session = cfg.Session
	for i := range c.shards {
		c.shards[i].core = c
		c.shards[i].hunts = map[place]*hunt{}
	}
	c.resume(cfg.From.Rosters == nil)
	return c
}

// Limit is one configured limit: the budget of every key that is counted under
// its ID. It must not be changed after its first use.
type Limit struct {
	// ID names the limit in the whole cluster (a plugin instance's id).
	ID string
	// Version orders the configurations of one ID (the entity's modify index),
	// from 1. The newest one a window has seen decides its budget.
	Version uint64
	// Rates are what a request needs room in, all of them, at most MaxRates. No
	// two are of the same period. They are tried in this order.
	Rates []Rate
	// Since is a time of the cluster's before which no sliding window admits
	// anybody, the same on all nodes: the limit was not there, or its nodes had no
	// shares yet. Requests before it wait. 0 if it is not known.
	Since int64
	// FaultTolerant lets requests through on a share of the budget when the
	// cluster has had no leader for some seconds. Kong field: fault_tolerant.
	FaultTolerant bool

	hash ledger.Key // of the ID, once prepared
}

// MaxRates is how many rates a limit may have.
const MaxRates = 8

// Rate is the budget of each window of a period.
type Rate struct {
	Period window.Period
	// Max is taken for MaxTokens of the period if it is more. Of a bucket, it is how
	// many tokens come back in the period's time.
	Max int64
	// Burst is how many tokens a bucket has when it is full; 0 is Max. In no span of
	// time more are spent than these and what comes back in it. At most MaxTokens,
	// and what comes back in a hundred years.
	Burst int64
}

// MaxTokens is the largest budget of a period's windows.
func MaxTokens(p window.Period) int64 {
	if p.IsSliding() || p.IsInFlight() || p.IsBucket() {
		return maxSliding
	}
	return ledger.MaxTokens
}

// Prepare makes decisions about the limit cheaper. Not for concurrent use.
func (l *Limit) Prepare() { l.hash = sum(0, 0, l.ID) }

// one is the limit of one rate for the ledger.
func (l *Limit) one(i int) ledger.Limit {
	r := &l.Rates[i]
	one := ledger.Limit{Version: l.Version, Max: min(r.Max, MaxTokens(r.Period)), Tolerant: l.FaultTolerant, Since: l.Since}
	if r.Period.IsBucket() {
		one.Max, one.Burst = bucketBounds(r.Period, r.Max, r.Burst)
	}
	return one
}

// key is what the limit's budget for a key is kept under: the limit's tag, and 96
// bits of a hash of both.
func (c *Core) key(l *Limit, key string) ledger.Key {
	h := l.hash
	if h == (ledger.Key{}) {
		h = sum(0, 0, l.ID)
	}
	k := sum(c.secret[0]^h.Hi, c.secret[1]^h.Lo, key)
	return ledger.Key{Hi: uint64(c.tag(h))<<32 | k.Hi&math.MaxUint32, Lo: k.Lo}
}

// tag is what the keys of a limit, whose id has the hash h, have in common. It
// must cost next to nothing, and need not be hard to find for who knows tags of
// other limits.
func (c *Core) tag(h ledger.Key) uint32 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	return uint32((h.Hi ^ c.tagged) * odd >> 32)
}

// Tag returns the upper 32 bits of the Hi of all keys of a limit. Those of two
// limits are different but by a chance of 2^-32.
func (c *Core) Tag(limit string) uint32 { return c.tag(sum(0, 0, limit)) }

// Key returns what a limit's budget for a key is kept under.
func (c *Core) Key(limit, key string) ledger.Key { return c.key(&Limit{ID: limit}, key) }

// window returns the window of a period that a time is in.
func (c *Core) window(p window.Period, lo int64) window.Window {
	if p >= window.Periods {
		return p.At(lo)
	}
	if w := c.bounds[p].Load(); w != nil && w.From <= lo && lo < w.Until {
		return *w
	}
	w := p.At(lo)
	c.bounds[p].Store(&w)
	return w
}

func (c *Core) shardOf(k ledger.Key) *shard { return &c.shards[cells.Shard(cells.Key(k))] }

// Admission is one token spent, for Config.Audit; or the end of one.
type Admission struct {
	Budget ledger.Budget
	Limit  ledger.Limit // that was decided by
	At     Instant
	// Incarnation is this process's at that moment.
	Incarnation uint64
	// Over says that a request in flight is, whose token is put back.
	Over bool
}

func (c *Core) admitted(now Instant, b ledger.Budget, lim *Limit, i int) {
	if c.audit != nil {
		c.record(now, b, lim, i, false)
	}
}

// over is for a request in flight that is.
func (c *Core) over(now Instant, b ledger.Budget, lim *Limit, i int) {
	if c.audit != nil {
		c.record(now, b, lim, i, true)
	}
}

// record is apart so that admitted costs a comparison only.
func (c *Core) record(now Instant, b ledger.Budget, lim *Limit, i int, over bool) {
	c.audit(Admission{Budget: b, Limit: lim.one(i), At: now, Incarnation: c.view.Load().member.Incarnation, Over: over})
}

package ledger

import "github.com/sluicegate/sluice/limiter/window"

// Times are microseconds of the cluster's clock, which is close to unix time.
const (
	Millisecond = int64(1000)
	Second      = 1000 * Millisecond
	// Delay is how long before a window's start its roster is decided: a node
	// that joins or is fenced later counts, or ceases to count, in windows that
	// begin at least this much after it. A cluster without a leader for less
	// than this, and a tick, notices nothing.
	Delay = 3 * Second
)

// Key is what a budget is kept for: a 128-bit hash of a limit's id and a key,
// keyed with a secret of the cluster, so that nobody can look for two keys that
// share a budget. Equal on all nodes.
type Key struct{ Hi, Lo uint64 }

// Budget names one window, or one slice of a sliding window, of one key.
type Budget struct {
	Key    Key
	Period window.Period
	Start  int64 // of the window.Window
}

// Window returns when that is, false if there is no such window.
func (b Budget) Window() (window.Window, bool) { return b.Period.Named(b.Start) }

// Limit is what one version of a limit allows in a window.
type Limit struct {
	// Version orders the configurations of a limit (the entity's modify index),
	// from 1. A window's newest decides.
	Version uint64
	Max     int64 // tokens a window, at most MaxTokens
	// Burst is how many tokens a bucket has when it is full. The ledger knows of no
	// buckets.
	Burst int64
	// Since is a time before which nobody is admitted, 0 if that is not known.
	// The ledger has no use for it.
	Since int64
	// Tolerant lets nodes go on without a quorum, on shares of the whole budget
	// among those who were there when it was lost.
	Tolerant bool
}

// MaxTokens is the largest budget of a window.
const MaxTokens = int64(1) << 38

// Member is a process's claim to shares: a node and its incarnation. A process
// that cannot prove what the one before it has spent, takes a new incarnation.
type Member struct {
	Node        string
	Incarnation uint64 // random
}

// Entry is one limiter record of the replicated log; with nothing but a stamp
// it is a tick.
type Entry struct {
	// Stamp is the leader's cluster clock. The ledger makes it monotonic.
	Stamp int64
	// Rest says that no limit is configured and that no entry may follow for a
	// while, which is no Gap then.
	Rest    bool
	Changes []Change
	Batches []Batch
	TopUps  []TopUp
}

// ChangeKind says what a Change does.
type ChangeKind uint8

// The kinds of changes.
const (
	// Join gives the member shares. The node's earlier incarnation is fenced.
	Join ChangeKind = iota + 1
	// Fence takes them from a member that may be lost, and makes its
	// incarnation void for ever.
	Fence
	// Leave is Fence, asked for by the member itself.
	Leave
)

// Change is a change of the roster. One that names a void incarnation, or
// fences one that is not in the roster, does nothing.
type Change struct {
	Kind   ChangeKind
	Member Member
}

// Batch is what one process asks of the pools in one step. It has one batch
// outstanding at a time and repeats it under the same Seq until it is answered.
type Batch struct {
	Member Member
	// Session is of a process, each of an incarnation has a higher one than those
	// before it, and Seq counts its batches from 1. An incarnation may outlive a
	// process, the answers to it may not.
	Session uint64
	Seq     uint64
	Asks    []Ask
}

// Ask is for tokens of one budget's pool.
type Ask struct {
	Budget Budget
	Limit  Limit
	// Want is how many tokens are asked for. Waiting is the part of it that
	// requests are waiting for now: it is granted first, and in full.
	Want, Waiting int64
	// Return is how many unspent tokens are given to the pool.
	Return int64
	// Held is what the member holds of an InFlight budget: all of it, so that
	// nothing is lost with an answer that does not arrive.
	Held int64
}

// Refusal is why an ask changed nothing.
type Refusal uint8

// The refusals.
const (
	NotRefused Refusal = iota
	// Early: the window's roster is not decided yet.
	Early
	// Expired: the window is over for more than Delay.
	Expired
	// Malformed: it could not be meant.
	Malformed
	// Full: there are windows of too many lengths, or too many keys are in flight.
	Full
	// Crowded, of a top-up: the key shares an overflow budget, or too many
	// budgets have been topped up.
	Crowded
	// TooLarge, of a top-up: the budget would have more than MaxTokens.
	TooLarge
	// Changed, of a top-up: another one was faster.
	Changed
)

// Grant answers one Ask.
type Grant struct {
	Granted int64
	Pool    int64 // what is left in it; below 0 if a lowered limit was exceeded
	Refused Refusal
}

// Answer answers one Batch, its Grants in the order of the Asks.
type Answer struct {
	Member  Member
	Session uint64
	Seq     uint64
	// Stale says that the ledger does not take this process's word: its
	// incarnation is void or never joined, or a later session of it has begun.
	Stale  bool
	Grants []Grant
}

// Outcome is everything Apply decided about one Entry. All replicas compute the
// same one.
type Outcome struct {
	Stamp   int64
	Answers []Answer
	TopUps  []ToppedUp // in the order of the entry's
	// Rosters is what is known of rosters after the entry if it changed them,
	// else nil.
	Rosters *Rosters
	// Left are members that have left by themselves. What they held of windows
	// that had begun may be in the pools.
	Left []Member
}

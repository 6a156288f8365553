package limiter

import "errors"

// Errors of the package. All are returned as they are or wrapped with %w.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("limiter: closed")
	// ErrNoQuorum says that the log has had no leader for more than three
	// seconds, so that a limit which is not fault tolerant cannot decide.
	ErrNoQuorum = errors.New("limiter: no quorum")
	// ErrBusy is returned by Batcher.Submit when its queue is full.
	ErrBusy = errors.New("limiter: too many proposals waiting")
	// ErrTooLarge is returned by Batcher.Submit for a batch above the bounds of
	// a log entry.
	ErrTooLarge = errors.New("limiter: batch too large")
	// ErrCorrupt is wrapped by every decoding error.
	ErrCorrupt = errors.New("limiter: corrupt encoding")
)

// Bounds of what one log record may carry.
const (
	maxKey          = 128       // bytes of a key or a limit's id inside the log
	maxBatchItems   = 1024      // items of one batch
	maxBatchBytes   = 128 << 10 // encoded bytes of one batch
	maxEntryBytes   = 512 << 10 // encoded bytes of one entry
	maxEntryBatches = 1024      // batches of one entry
	maxAmount       = int64(1) << 50
)

// Limit is one configured limit: the budget of every key that is counted under
// its ID. A Limit must not be changed after its first use.
type Limit struct {
	// ID names the limit in the whole cluster (a plugin instance's id), at most
	// 128 bytes.
	ID string
	// Version orders the configurations of one ID (the entity's modify index).
	// The newest one a window has seen decides its budget. The first is at
	// least 1.
	Version uint64
	// Max is the budget of each period's window; 0 means that the period is
	// not limited, and 2^50 is the most. A fractional limit of Kong's admits
	// its ceiling.
	Max [Periods]int64
	// FaultTolerant lets requests through on a share of the budget when the
	// cluster has had no leader for more than three seconds. Kong field:
	// fault_tolerant.
	FaultTolerant bool
}

// Decision is the answer to one request.
type Decision struct {
	// Admitted says that the request took one token of every limited period.
	// A request that is not admitted took none.
	Admitted bool
	// Refused is the first period that had no token; only for a refusal.
	Refused Period
	// Remaining is what is left of each period's window after this request:
	// exact while no other node holds tokens of the window, a lower bound
	// otherwise. 0 for the refused period.
	Remaining [Periods]int64
	// Reset is the time to the end of each limited period's window, in seconds
	// rounded up, at least 1.
	Reset [Periods]int64
	// Degraded says that the decision was made without a quorum, on this
	// node's share of what was left.
	Degraded bool
	// Err says why nothing could be decided: ErrNoQuorum for a limit that is
	// not fault tolerant, ErrClosed, or the context's error. A refusal because
	// the budget is used up has no error.
	Err error
}

// Entry is one limiter record of the replicated log.
type Entry struct {
	// Stamp is the proposer's clock in unix microseconds. The ledger makes it
	// monotonic.
	Stamp   int64
	Batches []Batch
}

// Batch is what one node asks, gives back and reports in one step. A node has
// one batch outstanding at a time and repeats it under the same Seq until it is
// answered.
type Batch struct {
	Node string
	// Incarnation is a fresh random name of each process start. Leases belong
	// to the incarnation they were granted to.
	Incarnation string
	// Seq counts an incarnation's batches from 1.
	Seq   uint64
	Items []Item
}

// Item concerns one window of one key.
type Item struct {
	Limit   string
	Version uint64
	Max     int64
	Key     string
	Period  Period
	// Start is the window's first second, unix seconds.
	Start int64
	// Want is how many tokens are asked for; 0 for a report.
	Want int64
	// Waiting is the part of Want that requests are waiting for right now; the
	// rest is asked for in advance.
	Waiting int64
	// Rate is the asking node's demand, requests per second.
	Rate float64
	// Spent is what this incarnation has spent in the window so far.
	Spent int64
	// Return is how many unspent tokens are given back to the pool.
	Return int64
}

// Reasons for Result.Refused.
const (
	RefusedExpired   = "window expired"
	RefusedFuture    = "window too far ahead"
	RefusedMalformed = "malformed item"
	RefusedFull      = "ledger full"
	RefusedNodes     = "too many nodes"
)

// Result answers one Item.
type Result struct {
	Granted int64
	// Pool is what nobody holds after this item; never below 0 here.
	Pool int64
	// Spent is the sum of what the nodes have reported, gone ones included.
	Spent int64
	// Outstanding is what other nodes hold as far as they have reported.
	Outstanding int64
	// Closed says that nothing of the window is left anywhere: all is reported
	// spent or lost. It is final until the window ends or the limit is raised.
	Closed bool
	// Refused is the reason why the item changed nothing, or empty.
	Refused string
}

// BatchResult answers one Batch, Results in the order of its Items.
type BatchResult struct {
	Node        string
	Incarnation string
	Seq         uint64
	// Stamp is the cluster's time of the entry, unix microseconds.
	Stamp int64
	// Stale says that a newer incarnation of the node has written this one
	// off, or that the ledger has forgotten it; Results is empty.
	Stale   bool
	Results []Result
}

// Outcome is everything Apply decided about one Entry. All replicas compute the
// same one.
type Outcome struct {
	Stamp   int64
	Results []BatchResult
	Recalls []Recall
	Wakes   []Wake
}

// Recall asks a node that holds unspent tokens to give some back, because
// another node wants them and the pool is empty.
type Recall struct {
	Node   string
	Limit  string
	Key    string
	Period Period
	Start  int64
	// Want is what the other node still lacks, Rate its demand per second.
	Want int64
	Rate float64
}

// Wake tells a node whose last ask was not met in full that asking again will
// tell it something new: the pool has tokens, or the window is closed.
type Wake struct {
	Node   string
	Limit  string
	Key    string
	Period Period
	Start  int64
}

// size bounds the encoded size of the batch from above.
func (b *Batch) size() int {
	n := len(b.Node) + len(b.Incarnation) + 40
	for i := range b.Items {
		n += b.Items[i].size()
	}
	return n
}

func (it *Item) size() int { return len(it.Limit) + len(it.Key) + 80 }

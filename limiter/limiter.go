// Package limiter enforces rate limits exactly across a cluster: a window's
// tokens are divided among the nodes beforehand, or drawn from a pool that the
// replicated log keeps, and moved between nodes when they run out. A token is in
// one place only. A request for which this node holds a token costs no message.
//
// The way of a request is Limiter.Take, escrow's Core.Take, and when tokens lack
// Core.Ready, then another node's Core.Serve, or the log and ledger.Apply.
// Package escrow is all of a node's side without clock and network; this package
// gives it both. DESIGN.md says what is strict, what is not, and why.
package limiter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/escrow"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// What requests and plugins need of the packages below.
type (
	// Limit is one configured limit; see escrow.Limit.
	Limit = escrow.Limit
	// Decision is the answer to one request; see escrow.Decision.
	Decision = escrow.Decision
	// Admission is one token spent, or one in flight put back; see escrow.Admission.
	Admission = escrow.Admission
	// Rate is the budget of one of a limit's periods; see escrow.Rate.
	Rate = escrow.Rate
	// Period is a kind of window; see window.Period.
	Period = window.Period
)

// The periods, shortest first, and how many there are.
const (
	Second = window.Second
	Minute = window.Minute
	Hour   = window.Hour
	Day    = window.Day
	Month  = window.Month
	Year   = window.Year
	// InFlight counts requests that are being answered: see Limiter.Done.
	InFlight = window.InFlight

	Periods = window.Periods

	// MaxRates is how many rates a limit may have.
	MaxRates = escrow.MaxRates
)

// Fixed and Sliding return the period of windows of so many seconds, false if
// there is none.
func Fixed(seconds int64) (Period, bool)   { return window.Fixed(seconds) }
func Sliding(seconds int64) (Period, bool) { return window.Sliding(seconds) }

// Bucket returns the period of token buckets (Rate.Burst) of which so many seconds
// bring Rate.Max tokens back, false if there is none.
func Bucket(seconds int64) (Period, bool) { return window.Bucket(seconds) }

// MaxTokens is the largest budget of a period's windows.
func MaxTokens(p Period) int64 { return escrow.MaxTokens(p) }

// Errors of the package.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("limiter: closed")
	// ErrNotReady says that nothing can be told before the cluster is known.
	ErrNotReady = errors.New("limiter: this node does not know its cluster yet")
	// ErrNoQuorum says that the log has had no leader for some seconds, so that
	// a limit which is not fault tolerant cannot decide.
	ErrNoQuorum = escrow.ErrNoQuorum
)

const (
	defaultMaxWait = 100 * time.Millisecond
	// A node that has just joined has a share of sliding windows four seconds later
	// at most.
	defaultMaxSilence = 5 * time.Second
	// leaderlessAfter is when nodes begin to decide without a leader.
	leaderlessAfter = 2 * time.Second
	// clockPatience is how long a start waits for the leader's time before the
	// own clock is taken for it.
	clockPatience = 2 * time.Second
	closePatience = 500 * time.Millisecond
	// handOverLongest is how long a node that leaves hands tokens over, if nothing
	// else bounds it.
	handOverLongest = 2 * time.Second
)

// Peers is the rest of the cluster, as the limiter sees it. Methods must obey
// their context and are called from several goroutines.
type Peers interface {
	// CallLeader has the ServeLeader of the node that leads answer.
	CallLeader(ctx context.Context, body []byte) ([]byte, error)
	// CallNode has a node's ServeNode answer, also this node's own.
	CallNode(ctx context.Context, node string, body []byte) ([]byte, error)
	// IsLeader says whether this node leads, HasLeader whether it knows of one.
	// They must not block.
	IsLeader() bool
	HasLeader() bool
}

// Log is the replicated log, of which only the leader makes entries.
type Log interface {
	// Commit brings an entry into the log and returns what Apply made of it.
	Commit(ctx context.Context, e *ledger.Entry) (*ledger.Outcome, error)
	// Known returns the stamp and the rosters of this node's ledger.
	Known() (stamp int64, rosters *ledger.Rosters)
	// Ledger returns this node's ledger. It may be another one the next time.
	Ledger() *ledger.Ledger
}

// Config is what a Limiter needs. Node, Peers, Log and Secret are required.
type Config struct {
	// Node is this node's id, unique in the cluster.
	Node  string
	Peers Peers
	Log   Log
	// Secret returns what the nodes of this cluster, and no clients, have in
	// common, or false while it is not known. It is polled.
	Secret func() (string, bool)
	// Active says whether any limit is configured: else the cluster's time is
	// not kept up in the log. Default: yes.
	Active func() bool
	// Cells is the path of the file in which a process leaves its tokens to the
	// next one of the same boot; empty keeps them in memory only.
	Cells string
	// MaxKeys is how many keys and periods have tokens of their own at the same
	// time; others share. Default 2^20.
	MaxKeys int
	// Now is the wall clock; default time.Now.
	Now func() time.Time
	// MaxWait bounds how long a request waits for tokens that other nodes hold;
	// default 100 ms.
	MaxWait time.Duration
	// MaxSilence bounds how long a request waits while the log says nothing of
	// what it has been asked: its disk is slow, or a leader is being elected. To
	// refuse earlier would be to refuse while tokens may be free. Default 5 s.
	MaxSilence time.Duration
	// Audit, if set, is called for every token spent, before the request is
	// admitted, and for every one of InFlight that is put back, before it can be
	// taken again: concurrently, and sometimes under a lock. It must be quick and
	// must not call the Limiter.
	Audit func(Admission)
	// Warn, if set, is told what an operator should know.
	Warn func(text string, err error)
}

func (c *Config) setDefaults() {
	if c.Active == nil {
		c.Active = func() bool { return true }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxKeys <= 0 {
		c.MaxKeys = 1 << 20
	}
	if c.MaxWait <= 0 {
		c.MaxWait = defaultMaxWait
	}
	if c.MaxSilence <= 0 {
		c.MaxSilence = defaultMaxSilence
	}
	if c.Warn == nil {
		c.Warn = func(string, error) {}
	}
}

// Limiter decides for this node whether requests are within their limits, and
// does the leader's part when this node leads. All its methods are safe for
// concurrent use.
type Limiter struct {
	cfg   Config
	begin time.Time // of the own clock
	base  int64     // what it showed then, microseconds since the boot

	core  atomic.Pointer[escrow.Core]
	table *cells.Table
	// left is the heritage as the table's file has it.
	left   []byte
	warned bool          // that it cannot be written
	ready  chan struct{} // closed when there is a core
	kick   chan struct{}
	out    outbox
	lead   leader
	looks  chan struct{} // who lists cells now

	// taking ends first: no request is decided any more. ctx is the goroutines'.
	taking     context.Context
	stopTaking context.CancelFunc
	ctx        context.Context
	cancel     context.CancelFunc
	done       sync.WaitGroup
}

// New starts a Limiter. It runs some goroutines until Close.
func New(cfg Config) *Limiter {
	cfg.setDefaults()
	l := &Limiter{cfg: cfg, begin: time.Now(), base: sinceBoot(), ready: make(chan struct{}), kick: make(chan struct{}, 1), looks: make(chan struct{}, maxLooks)}
	l.out.busy = map[string]bool{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.taking, l.stopTaking = context.WithCancel(l.ctx)
	l.lead.start(l)
	l.done.Go(l.run)
	return l
}

// mono is the own clock in microseconds.
func (l *Limiter) mono() int64 { return l.base + time.Since(l.begin).Microseconds() }

// Take spends one token of every period of lim for key, or none. It answers at
// once while this node holds tokens, and when the window is known to be used up;
// otherwise it asks and waits, see Config.MaxWait and MaxSilence.
func (l *Limiter) Take(ctx context.Context, lim *Limit, key string) Decision {
	var d Decision
	if l.taking.Err() != nil {
		return Decision{Err: ErrClosed}
	}
	core := l.core.Load()
	if core == nil {
		if core = l.awaitCore(ctx, &d); core == nil {
			return d
		}
	}
	silence := time.Time{}
	for {
		d = Decision{}
		tk := core.Take(l.mono(), lim, key, &d)
		switch {
		case tk != nil:
			return l.wait(ctx, core, tk)
		case d.Hold == 0:
			return d
		}
		if silence.IsZero() {
			silence = time.Now().Add(l.cfg.MaxSilence)
		}
		if time.Now().After(silence) {
			return Decision{Err: errNoClock}
		}
		if !l.sleep(ctx, time.Duration(min(d.Hold, maxHold))*time.Microsecond) {
			return Decision{Err: l.ended(ctx)}
		}
	}
}

// Done says that a request which Take has admitted is done: of a rate of
// InFlight, its token may be taken again. It is to be called once for each
// admission under a limit that has such a rate, with the same limit and key.
func (l *Limiter) Done(lim *Limit, key string) {
	if core := l.core.Load(); core != nil {
		core.Done(l.mono(), lim, key)
	}
}

// maxHold is how long a request is held at most before the time is looked at
// again, in microseconds.
const maxHold = 10_000

// awaitCore waits for the cluster to be known.
func (l *Limiter) awaitCore(ctx context.Context, d *Decision) *escrow.Core {
	silence := time.NewTimer(l.cfg.MaxSilence)
	defer silence.Stop()
	select {
	case <-l.ready:
		return l.core.Load()
	case <-silence.C:
		d.Err = ErrNoQuorum
	case <-ctx.Done():
		d.Err = ctx.Err()
	case <-l.taking.Done():
		d.Err = ErrClosed
	}
	return nil
}

// sleep waits, and says whether the time has passed.
func (l *Limiter) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-l.taking.Done():
	}
	return false
}

func (l *Limiter) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// wait waits for a ticket to be decided.
func (l *Limiter) wait(ctx context.Context, core *escrow.Core, tk *escrow.Ticket) Decision {
	timer := time.NewTimer(l.cfg.MaxWait)
	defer timer.Stop()
	deadline := time.Now().Add(l.cfg.MaxSilence)
	var err error
	for waiting := true; waiting; {
		select {
		case <-tk.Done:
			waiting = false
		case <-timer.C:
			// What the log has not answered yet is no reason to refuse.
			if waiting = core.Unheard(tk) && time.Now().Before(deadline); waiting {
				timer.Reset(l.cfg.MaxWait / 4)
			}
		case <-ctx.Done():
			err, waiting = ctx.Err(), false
		case <-l.taking.Done():
			err, waiting = ErrClosed, false
		}
	}
	var d Decision
	core.Settle(l.mono(), tk, &d)
	if !d.Admitted && err != nil {
		d.Err = err
	}
	return d
}

// Observe tells the limiter of an outcome of the log. It is to be called on
// every node for each limiter entry applied there, in log order. It does not
// block on I/O.
func (l *Limiter) Observe(o *ledger.Outcome) {
	if core := l.core.Load(); core != nil {
		core.Observe(l.mono(), o)
	}
}

// ServeNode answers another node's CallNode.
func (l *Limiter) ServeNode(ctx context.Context, body []byte) ([]byte, error) {
	core := l.core.Load()
	if core == nil {
		return nil, ErrNotReady
	}
	if len(body) > 0 && body[0] == callHoldings {
		return l.serveHoldings(ctx, core, body[1:])
	}
	var r escrow.Request
	if err := r.UnmarshalBinary(body); err != nil {
		return nil, err
	}
	reply := core.Serve(l.mono(), &r)
	if reply == nil {
		return nil, errUnanswered
	}
	return reply.MarshalBinary()
}

var (
	errNoClock    = errors.New("limiter: the cluster's time is not known")
	errUnanswered = errors.New("limiter: a request that is not to be answered")
)

// Close stops the limiter. Requests that wait get ErrClosed. The tokens stay in
// the file, if there is one: the next process goes on with them. For that,
// answers that are under way are waited for, half a second at most.
func (l *Limiter) Close() {
	l.stopTaking()
	if core := l.core.Load(); core != nil {
		for end := time.Now().Add(closePatience); !core.Settled() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	l.cancel()
	l.done.Wait()
	l.lead.stop()
}

// handOverEnd is until when tokens are handed over.
func handOverEnd(ctx context.Context) time.Time {
	now := time.Now()
	if end, ok := ctx.Deadline(); ok {
		return now.Add(end.Sub(now) / 2)
	}
	return now.Add(handOverLongest)
}

// Release lets go of the file of tokens after Close. It must not be called while
// anybody may still be in Take; a process that ends need not call it.
func (l *Limiter) Release() error {
	if l.table == nil {
		return nil
	}
	return l.table.Close()
}

// Leave gives up this node's shares of windows to come, and hands what it holds of
// those that have begun to the other nodes, before it leaves the cluster for good.
// Requests that come now or later may be refused. What is not handed over by half
// of the context's time is lost to all until its windows end.
func (l *Limiter) Leave(ctx context.Context) error {
	core := l.core.Load()
	if core == nil {
		return nil
	}
	core.HandOver(l.mono())
	for end := handOverEnd(ctx); !core.HandedOver() && time.Now().Before(end); {
		if !l.sleep(ctx, time.Millisecond) {
			break
		}
	}
	return l.change(ctx, ledger.Change{Kind: ledger.Leave, Member: core.Member()})
}

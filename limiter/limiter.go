// Package limiter enforces rate limits exactly across a cluster: all nodes draw
// tokens from one budget for each (limit, key, window), which is kept in the
// replicated log. A request for which this node holds a token costs no message.
//
// The way of a request is Limiter.Take, core.take, and when tokens lack
// shard.wait, core.ready, Log.Propose, Batcher, Ledger.Apply, core.credit.
// DESIGN.md says what is strict, what is not, and why.
package limiter

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

const (
	defaultMaxWait    = 100 * time.Millisecond
	defaultMaxSilence = 4 * time.Second
	tickEvery         = 20 * time.Millisecond
	idleTick          = 100 * time.Millisecond
	// proposeTimeout bounds one try to get a batch into the log.
	proposeTimeout = time.Second
	minBackoff     = 10 * time.Millisecond
	maxBackoff     = 250 * time.Millisecond
)

// Log is the replicated log as the limiter sees it. Propose returns when the
// batch has been applied, or an error if that is not known; it is then called
// again with the same batch. It must obey its context and may be called from
// one goroutine at a time.
type Log interface {
	Propose(ctx context.Context, b Batch) (BatchResult, error)
}

// Config is what a Limiter needs of its surroundings. Node and Log are required.
type Config struct {
	// Node is this node's id, unique in the cluster.
	Node string
	Log  Log
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Voters returns the ids of the nodes that have a vote, this one included
	// if it has one, in any order. They divide what is left of a window when
	// there is no quorum. Default: this node alone.
	Voters func() []string
	// HasLeader says whether the log has a leader that this node can reach.
	// It is polled some fifty times a second and must not block. Default: yes.
	HasLeader func() bool
	// Known returns the pool of a window as this node's ledger knows it
	// (Ledger.Pool); start is in unix seconds. Default: nothing is known.
	Known func(limit, key string, p Period, start int64) (pool int64, ok bool)
	// MaxWait bounds how long a request waits for a token that other nodes
	// hold, once the log has said so; default 100 ms.
	MaxWait time.Duration
	// MaxSilence bounds how long a request waits while the log says nothing: its
	// disk is slow, or a leader is being elected. To refuse earlier would be to
	// refuse while tokens may be free. Default 4 s: more than an election takes,
	// and more than the three seconds after which this node decides alone.
	MaxSilence time.Duration
	// Audit, if set, is called for every token spent, with the window it was
	// spent of. It is called under a lock: it must be quick and must not call
	// the Limiter.
	Audit func(limit, key string, p Period, start int64)
}

// Limiter decides for this node whether requests are within their limits. All
// its methods are safe for concurrent use.
type Limiter struct {
	cfg    Config
	core   *core
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	closed chan struct{} // closed when a Close has finished
	once   sync.Once
}

// New starts a Limiter. It runs two goroutines until Close.
func New(cfg Config) *Limiter {
	cfg.setDefaults()
	l := &Limiter{cfg: cfg, core: newCore(cfg.Node, rand.Text(), defaultShards), closed: make(chan struct{})}
	l.core.renew = rand.Text
	l.core.known, l.core.voters, l.core.audit = cfg.Known, cfg.Voters, cfg.Audit
	l.ctx, l.cancel = context.WithCancel(context.Background())
	w := watch{start: cfg.Now(), blind: true}
	w.lost = w.start
	l.core.loss.Store(w.poll(w.start, cfg.HasLeader()))
	l.done.Go(func() { l.keepTime(w) })
	l.done.Go(l.propose)
	return l
}

func (c *Config) setDefaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Voters == nil {
		node := c.Node
		c.Voters = func() []string { return []string{node} }
	}
	if c.HasLeader == nil {
		c.HasLeader = func() bool { return true }
	}
	if c.Known == nil {
		c.Known = func(string, string, Period, int64) (int64, bool) { return 0, false }
	}
	if c.MaxWait <= 0 {
		c.MaxWait = defaultMaxWait
	}
	if c.MaxSilence <= 0 {
		c.MaxSilence = defaultMaxSilence
	}
}

func (l *Limiter) now() int64 { return l.cfg.Now().UnixMicro() }

// Take spends one token of every period of lim for key, or none. It answers at
// once while this node holds tokens, and when the window is known to be used
// up; otherwise it asks the log and waits, see Config.MaxWait and MaxSilence.
func (l *Limiter) Take(ctx context.Context, lim *Limit, key string) Decision {
	for again := true; ; again = false {
		var d Decision
		tk := l.core.take(l.now(), lim, key, &d)
		if tk == nil {
			return d
		}
		d = l.wait(ctx, tk, lim)
		if d.Admitted || d.Err != nil || !again || !l.core.leaderless() {
			return d
		}
		// The leader has been gone for so long while the request waited that
		// this node may decide without one.
	}
}

// wait waits for a ticket to be decided.
func (l *Limiter) wait(ctx context.Context, tk *ticket, lim *Limit) Decision {
	timer := time.NewTimer(l.cfg.MaxWait)
	defer timer.Stop()
	silence := time.NewTimer(l.cfg.MaxSilence)
	defer silence.Stop()
	var d Decision
	for waiting := true; waiting; {
		select {
		case <-tk.ch:
			waiting = false
		case <-timer.C:
			waiting = !l.core.leaderless() && !l.core.heard(tk)
			timer.Reset(l.cfg.MaxWait)
		case <-silence.C:
			waiting = false
		case <-ctx.Done():
			d.Err = ctx.Err()
			waiting = false
		}
	}
	l.core.settle(tk, lim, l.now(), &d)
	if d.Admitted {
		d.Err = nil
	}
	return d
}

// Observe tells the limiter of an outcome of the log. It is to be called on
// every node for each limiter entry applied there, in log order. It does not
// block on I/O.
func (l *Limiter) Observe(o *Outcome) {
	l.core.observe(l.now(), o)
}

// Close refuses further requests, gives every unspent token back through the
// log and waits for the limiter's goroutines. It returns the context's error if
// that ends first; what has not been given back by then is lost until the
// windows end, never spent twice.
func (l *Limiter) Close(ctx context.Context) error {
	var err error
	l.once.Do(func() {
		defer close(l.closed)
		l.core.giveAll()
		err = l.drain(ctx)
		l.cancel()
		l.done.Wait()
	})
	<-l.closed
	return err
}

// drain waits until the log has taken everything.
func (l *Limiter) drain(ctx context.Context) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !l.core.drained() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
	return nil
}

// keepTime ticks the core and watches for the loss of the leader.
func (l *Limiter) keepTime(w watch) {
	timer := time.NewTimer(tickEvery)
	defer timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-timer.C:
			now := l.cfg.Now()
			l.core.loss.Store(w.poll(now, l.cfg.HasLeader()))
			if l.core.tick(now.UnixMicro()) {
				timer.Reset(tickEvery)
			} else {
				timer.Reset(idleTick) // a node without limits sleeps
			}
		}
	}
}

// watch knows since when there has been no leader.
type watch struct {
	start, lost time.Time
	has         bool
	blind       bool // there has been none since the start
}

// poll takes note of whether there is a leader at now.
func (w *watch) poll(now time.Time, has bool) *loss {
	if has {
		w.has, w.blind = true, false
		return nil
	}
	if w.has {
		w.has, w.lost = false, now
	}
	return &loss{
		since: w.lost.UnixMicro(),
		long:  now.Sub(w.lost).Microseconds() > leaderlessAfter,
		blind: w.blind,
	}
}

// propose brings batches into the log, one after the other.
func (l *Limiter) propose() {
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.core.kick:
		}
		for l.ctx.Err() == nil {
			b, ok := l.core.ready(l.now())
			if !ok {
				break
			}
			l.insist(b)
		}
	}
}

// insist proposes b until it is answered, here or through Observe. Tries are
// spaced by a growing pause; there is never more than one under way, so waiting
// for a leader for hours costs nothing that grows.
func (l *Limiter) insist(b Batch) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	if !l.core.watch(b.Seq, cancel) {
		return
	}
	for pause := minBackoff; ctx.Err() == nil; pause = min(2*pause, maxBackoff) {
		try, stop := context.WithTimeout(ctx, proposeTimeout)
		r, err := l.cfg.Log.Propose(try, b)
		stop()
		if err == nil {
			l.core.credit(l.now(), &r)
		}
		if ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

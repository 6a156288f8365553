package limiter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/escrow"
)

const (
	busyTick = 10 * time.Millisecond
	idleTick = 200 * time.Millisecond
	// syncEvery is how often the leader is asked for the time, and hears by it
	// that this node is there.
	syncEvery = 500 * time.Millisecond
	syncFirst = 20 * time.Millisecond
	// A call to the leader or to a node is given up after so long.
	leaderTimeout = time.Second
	nodeTimeout   = 200 * time.Millisecond
	secretPoll    = 5 * time.Millisecond
)

// run makes the core as soon as the cluster is known, and keeps it going.
func (l *Limiter) run() {
	for {
		secret, ok := l.cfg.Secret()
		if ok {
			l.open(secret)
			break
		}
		if !l.sleep(l.ctx, secretPoll) {
			return
		}
	}
	l.done.Go(l.keepTime)
	l.turn()
}

// open makes the core.
func (l *Limiter) open(secret string) {
	table, from := l.openCells()
	l.table = table
	core := escrow.New(escrow.Config{
		Node: l.cfg.Node, Secret: escrow.NewSecret(secret), From: from.Heritage, Table: table,
		Session: uint64(l.base), Random: random, Kick: l.wake, Audit: l.cfg.Audit,
	})
	// Outcomes are observed from here on; what was before is in the ledger.
	if from.clock != (escrow.Reading{}) {
		core.Clock.Resume(l.mono(), from.clock)
	}
	l.bequeath(core) // before anything is credited to the incarnation
	l.core.Store(core)
	core.Restore(l.cfg.Log.Known)
	core.RestoreTopUps(l.mono(), l.cfg.Log.Ledger().State().TopUps)
	close(l.ready)
}

// openCells opens the table of tokens, and says whose they are and what is known.
// Without the file of an earlier process of this boot, they are nobody's yet.
func (l *Limiter) openCells() (*cells.Table, heritage) {
	fresh := heritage{Heritage: escrow.Heritage{Incarnation: random()}}
	if l.cfg.Cells == "" {
		return cells.InMemory(l.cfg.MaxKeys), fresh
	}
	table, err := cells.Open(l.cfg.Cells, cells.Options{Capacity: l.cfg.MaxKeys})
	if err != nil {
		l.cfg.Warn("the file of tokens cannot be used: a restart of this process will lose what it holds", err)
		return cells.InMemory(l.cfg.MaxKeys), fresh
	}
	if !table.Recovered() {
		return table, fresh
	}
	h, err := decodeHeritage(table.Header())
	if err != nil {
		l.cfg.Warn("the file of tokens does not say whose they are: this process begins anew", err)
		return table, fresh
	}
	return table, h
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

func (l *Limiter) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// turn has the core do what is due, and sends what it has to say. Both are on one
// goroutine and as seldom as may be: on a machine that does little else, waking
// it up costs more than what it does.
func (l *Limiter) turn() {
	core := l.core.Load()
	timer := time.NewTimer(busyTick)
	defer timer.Stop()
	seen, due := time.Now(), time.Now().Add(busyTick)
	for {
		next := idleTick
		select {
		case <-l.ctx.Done():
			return
		case <-l.kick:
			next = time.Until(due)
		case <-timer.C:
			if l.cfg.Peers.HasLeader() {
				seen = time.Now()
			}
			core.SetLeaderless(time.Since(seen) > leaderlessAfter)
			l.bequeath(core)
			core.Tick(l.mono())
		}
		l.dispatch(core)
		if core.Busy() {
			next = min(next, busyTick)
		}
		due = time.Now().Add(next)
		timer.Reset(next)
	}
}

// keepTime asks the leader for the time, again and again.
func (l *Limiter) keepTime() {
	core := l.core.Load()
	for begun, next := time.Now(), syncEvery; ; next = syncEvery {
		if !l.syncOnce(l.ctx, core, callTime) {
			if _, ok := core.Clock.At(l.mono()); !ok {
				next = syncFirst
				if time.Since(begun) > clockPatience {
					at := l.cfg.Now().UnixMicro()
					core.Clock.Sync(l.mono(), l.mono(), at)
				}
			}
		}
		if !l.sleep(l.ctx, next) {
			return
		}
	}
}

// syncOnce asks the leader for the time.
func (l *Limiter) syncOnce(ctx context.Context, core *escrow.Core, kind byte) bool {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	sent := l.mono()
	at, err := l.askTime(ctx, kind)
	if err != nil {
		return false
	}
	core.Clock.Sync(sent, l.mono(), at)
	return true
}

// outbox knows what is under way: one call at a time to each node, to the leader,
// and for a tick.
type outbox struct {
	mu   sync.Mutex
	busy map[string]bool // by node, escrow.ToLeader or escrow.ForTick
}

// has says whether something is under way.
func (o *outbox) has(way string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.busy[way]
}

// begin says that something is under way from now on.
func (o *outbox) begin(way string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy[way] = true
}

func (o *outbox) end(way string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.busy, way)
}

// dispatch sends what the core has to say. An answer may come through the log, or be
// worked on, before the call that brings it too is over; so the core is told which
// ways are busy, and keeps for later what would go there.
func (l *Limiter) dispatch(core *escrow.Core) {
	out := core.Ready(l.mono(), l.out.has)
	if out.Join != nil || out.Batch != nil {
		l.send(escrow.ToLeader, func(ctx context.Context) { l.tellLeader(ctx, core, &out) })
	}
	if out.Tick {
		l.send(escrow.ForTick, func(ctx context.Context) { l.syncOnce(ctx, core, callTick) })
	}
	for _, r := range out.Requests {
		l.send(r.To, func(ctx context.Context) { l.askNode(ctx, core, r) })
	}
}

// send makes a call on a goroutine of its own. Only dispatch begins calls, so the way
// is as free as it was for Ready.
func (l *Limiter) send(way string, call func(context.Context)) {
	l.out.begin(way)
	timeout := nodeTimeout
	if way == escrow.ToLeader || way == escrow.ForTick {
		timeout = leaderTimeout
	}
	l.done.Go(func() {
		defer l.wake() // for what waits behind it
		defer l.out.end(way)
		ctx, cancel := context.WithTimeout(l.ctx, timeout)
		defer cancel()
		call(ctx)
	})
}

func (l *Limiter) tellLeader(ctx context.Context, core *escrow.Core, out *escrow.Output) {
	if out.Join != nil {
		if l.change(ctx, *out.Join) == nil { // or else the core asks again
			core.Joined(out.Join)
		}
	}
	if out.Batch != nil {
		if a, err := l.propose(ctx, out.Batch); err == nil {
			core.Answered(l.mono(), a)
		}
	}
}

func (l *Limiter) askNode(ctx context.Context, core *escrow.Core, r *escrow.Request) {
	body, err := r.MarshalBinary()
	if err != nil {
		l.cfg.Warn("a request to another node cannot be encoded", err)
		return
	}
	answer, err := l.cfg.Peers.CallNode(ctx, r.To, body)
	if err != nil {
		core.Failed(l.mono(), r)
		return
	}
	var reply escrow.Reply
	if err := reply.UnmarshalBinary(answer); err != nil {
		l.cfg.Warn("another node's answer cannot be read", err)
		return
	}
	core.Replied(l.mono(), r.To, &reply)
}

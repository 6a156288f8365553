package limiter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/wire"
)

const (
	// tickEvery is how often the leader brings the time into the log, if nothing
	// else has, and looks for nodes that are lost.
	tickEvery = 500 * time.Millisecond
	// lostAfter is how long a node may be silent before it loses its shares of
	// windows to come.
	lostAfter = 3 * time.Second
	// maxQueued bounds what waits for the entry that is under way.
	maxQueued = 1024
	// maxHeard bounds the nodes of which it is known when they were heard.
	maxHeard = 4096
	// maxSlew is how fast the cluster's time follows the leader's wall clock, in
	// parts of a million.
	maxSlew = 100
	// tickLeast is how far apart entries are that nodes ask for, in microseconds.
	tickLeast = 20_000
	// slewEvery is how often that happens, in microseconds.
	slewEvery = 100_000
	second    = ledger.Second
)

var (
	errNotLeader = errors.New("limiter: this node does not lead")
	errBusy      = errors.New("limiter: too much waits for the log")
	errMalformed = errors.New("limiter: malformed call")
)

// The first byte of a call to the leader says what it is.
const (
	callTime   = 1
	callBatch  = 2
	callChange = 3
	callTick   = 4 // callTime, and somebody waits for the time in the log
	callTopUp  = 5
)

// leader is what a limiter does while its node leads: it keeps the cluster's
// time, brings batches and changes of the roster into the log, many in one
// entry, and fences nodes that are silent.
type leader struct {
	l    *Limiter
	done sync.WaitGroup
	kick chan struct{}

	mu    sync.Mutex
	queue []*wish
	heard map[string]time.Time // when nodes last asked for the time
	since time.Time            // when this node began to lead; zero if it does not

	// The cluster's time, while this node leads.
	value, at int64
	slewed    int64 // when it was last brought nearer to the wall clock
	// restedAt is the stamp of the newest entry, if it was to be the last for a
	// while.
	restedAt int64
}

// wish is something that waits for the log; with nothing it is a tick.
type wish struct {
	batch  *ledger.Batch
	change *ledger.Change
	topUp  *ledger.TopUp
	rest   bool            // the last entry for a while
	answer chan wishAnswer // of capacity 1: who does not wait any more blocks nobody
}

// wishAnswer has what the ledger says to a batch, or to a top-up, and the stamp of
// the entry.
type wishAnswer struct {
	answer *ledger.Answer
	topped *ledger.ToppedUp
	stamp  int64
	err    error
}

func (d *leader) start(l *Limiter) {
	d.l, d.kick, d.heard = l, make(chan struct{}, 1), map[string]time.Time{}
	d.done.Go(d.run)
	d.done.Go(d.watch)
}

// stop waits for what start started; the limiter's context has ended.
func (d *leader) stop() { d.done.Wait() }

// ServeLeader answers another node's CallLeader.
func (l *Limiter) ServeLeader(ctx context.Context, body []byte) ([]byte, error) {
	if !l.cfg.Peers.IsLeader() {
		return nil, errNotLeader
	}
	if len(body) == 0 {
		return nil, errMalformed
	}
	kind, body := body[0], body[1:]
	switch kind {
	case callTime, callTick:
		l.lead.hear(string(body))
		if kind == callTick {
			l.lead.tickSoon()
		}
		return binary.AppendVarint(nil, l.lead.now()), nil
	case callBatch:
		var b ledger.Batch
		if err := b.UnmarshalBinary(body); err != nil {
			return nil, err
		}
		a := l.lead.submit(ctx, &wish{batch: &b})
		if a.err != nil {
			return nil, a.err
		}
		return a.answer.MarshalBinary()
	case callChange:
		var e ledger.Entry
		if err := e.UnmarshalBinary(body); err != nil || len(e.Changes) != 1 {
			return nil, errors.Join(errMalformed, err)
		}
		return nil, l.lead.submit(ctx, &wish{change: &e.Changes[0]}).err
	case callTopUp:
		var e ledger.Entry
		if err := e.UnmarshalBinary(body); err != nil || len(e.TopUps) != 1 {
			return nil, errors.Join(errMalformed, err)
		}
		a := l.lead.submit(ctx, &wish{topUp: &e.TopUps[0]})
		if a.err != nil {
			return nil, a.err
		}
		return a.topped.AppendBinary(wire.AppendFixed(nil, uint64(a.stamp)))
	}
	return nil, fmt.Errorf("%w: kind %d", errMalformed, kind)
}

// askTime asks the leader for the cluster's time.
func (l *Limiter) askTime(ctx context.Context, kind byte) (int64, error) {
	answer, err := l.cfg.Peers.CallLeader(ctx, append([]byte{kind}, l.cfg.Node...))
	if err != nil {
		return 0, err
	}
	at, n := binary.Varint(answer)
	if n <= 0 {
		return 0, errMalformed
	}
	return at, nil
}

// propose has the leader bring a batch into the log.
func (l *Limiter) propose(ctx context.Context, b *ledger.Batch) (*ledger.Answer, error) {
	body, err := b.AppendBinary([]byte{callBatch})
	if err != nil {
		return nil, err
	}
	answer, err := l.cfg.Peers.CallLeader(ctx, body)
	if err != nil {
		return nil, err
	}
	a := new(ledger.Answer)
	return a, a.UnmarshalBinary(answer)
}

// change has the leader bring a change of the roster into the log.
func (l *Limiter) change(ctx context.Context, c ledger.Change) error {
	e := ledger.Entry{Changes: []ledger.Change{c}}
	body, err := e.AppendBinary([]byte{callChange})
	if err != nil {
		return err
	}
	_, err = l.cfg.Peers.CallLeader(ctx, body)
	return err
}

// hear takes note that a node is there.
func (d *leader) hear(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.heard[node]; known || len(d.heard) < maxHeard {
		d.heard[node] = time.Now()
	}
}

// now is the cluster's time, as this node tells it while it leads. It begins
// where the last leader's can have been at most, never jumps, and follows the
// wall clock slowly.
func (d *leader) now() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	mono, wall := d.l.mono(), d.l.cfg.Now().UnixMicro()
	if d.at == 0 {
		d.value = wall
		if core := d.l.core.Load(); core != nil {
			if known, ok := core.Clock.At(mono); ok {
				d.value = known.Hi
			}
		}
		d.at, d.slewed = mono, mono
	}
	before := d.value
	d.value += max(0, mono-d.at)
	d.at = mono
	if passed := mono - d.slewed; passed >= slewEvery {
		most := min(passed, second) * maxSlew / 1_000_000
		d.value += max(-most, min(most, wall-d.value))
		d.slewed = mono
	}
	stamp, _ := d.l.cfg.Log.Known()
	d.value = max(d.value, before, stamp)
	return d.value
}

// submit has a wish brought into the log.
func (d *leader) submit(ctx context.Context, w *wish) wishAnswer {
	w.answer = make(chan wishAnswer, 1)
	if err := d.push(w); err != nil {
		return wishAnswer{err: err}
	}
	select {
	case a := <-w.answer:
		return a
	case <-ctx.Done():
		return wishAnswer{err: ctx.Err()}
	case <-d.l.ctx.Done():
		return wishAnswer{err: ErrClosed}
	}
}

func (d *leader) push(w *wish) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) >= maxQueued {
		return errBusy
	}
	d.queue = append(d.queue, w)
	select {
	case d.kick <- struct{}{}:
	default:
	}
	return nil
}

// run brings wishes into the log: one entry is under way, the next collects
// meanwhile, so the log's latency bounds the entries a second and not the
// wishes.
func (d *leader) run() {
	for {
		select {
		case <-d.l.ctx.Done():
			return
		case <-d.kick:
		}
		for ws := d.collect(); len(ws) > 0 && d.l.ctx.Err() == nil; ws = d.collect() {
			d.commit(ws)
		}
	}
}

// maxEntryAsks bounds the asks of one entry.
const maxEntryAsks = 4096

func (d *leader) collect() []*wish {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, asks := 0, 0
	for n < len(d.queue) && asks < maxEntryAsks {
		if b := d.queue[n].batch; b != nil {
			asks += len(b.Asks)
		}
		n++
	}
	ws := d.queue[:n:n]
	d.queue = d.queue[n:]
	return ws
}

// commit brings wishes into the log and answers them; none is a tick.
func (d *leader) commit(ws []*wish) {
	e := &ledger.Entry{Stamp: d.now()}
	for _, w := range ws {
		if w.batch != nil {
			e.Batches = append(e.Batches, *w.batch)
		}
		e.Rest = e.Rest || w.rest
		if w.change != nil {
			e.Changes = append(e.Changes, *w.change)
		}
		if w.topUp != nil {
			e.TopUps = append(e.TopUps, *w.topUp)
		}
	}
	o, err := d.l.cfg.Log.Commit(d.l.ctx, e)
	if err == nil && (len(o.Answers) != len(e.Batches) || len(o.TopUps) != len(e.TopUps)) {
		err = errMalformed
	}
	if err == nil && e.Rest {
		d.mu.Lock()
		d.restedAt = o.Stamp
		d.mu.Unlock()
	}
	next, nextTop := 0, 0
	for _, w := range ws {
		a := wishAnswer{err: err}
		if err == nil {
			a.stamp = o.Stamp
		}
		if err == nil && w.batch != nil {
			a.answer = &o.Answers[next]
			next++
		}
		if err == nil && w.topUp != nil {
			a.topped = &o.TopUps[nextTop]
			nextTop++
		}
		w.answer <- a
	}
}

// watch ticks, and fences.
func (d *leader) watch() {
	timer := time.NewTicker(tickEvery)
	defer timer.Stop()
	for {
		select {
		case <-d.l.ctx.Done():
			return
		case <-timer.C:
		}
		if !d.leads() {
			continue
		}
		stamp, rosters := d.l.cfg.Log.Known()
		wishes := d.lost(rosters)
		active := d.l.cfg.Active()
		switch {
		case len(wishes) > 0 || active && d.now()-stamp >= tickEvery.Microseconds()/2:
			d.tick(wishes)
		case !active && !d.rests(stamp) && d.now()-stamp >= tickEvery.Microseconds()/2:
			d.tick([]*wish{{rest: true, answer: make(chan wishAnswer, 1)}})
		}
	}
}

// rests says whether the newest entry was to be the last for a while.
func (d *leader) rests(stamp int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.restedAt == stamp
}

// tickSoon brings the time into the log now, unless it has just been there.
func (d *leader) tickSoon() {
	if stamp, _ := d.l.cfg.Log.Known(); d.now()-stamp > tickLeast {
		d.tick(nil)
	}
}

// leads says whether this node leads, and forgets what it knew when it did the
// last time.
func (d *leader) leads() bool {
	is := d.l.cfg.Peers.IsLeader()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !is:
		d.since, d.at = time.Time{}, 0
		clear(d.heard)
	case d.since.IsZero():
		d.since = time.Now()
	}
	return is
}

// lost returns the wishes to fence nodes of the roster that are silent.
func (d *leader) lost(rosters *ledger.Rosters) (ws []*wish) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.since) < lostAfter {
		return nil // they may not know yet whom to tell
	}
	for _, m := range rosters.Last().Members {
		if m.Node != d.l.cfg.Node && time.Since(d.heard[m.Node]) > lostAfter {
			ws = append(ws, &wish{change: &ledger.Change{Kind: ledger.Fence, Member: m}, answer: make(chan wishAnswer, 1)})
		}
	}
	return ws
}

// tick brings the time into the log, and what else there is. It waits in the
// queue like others: two entries at once would not be in order.
func (d *leader) tick(ws []*wish) {
	if len(ws) == 0 {
		ws = []*wish{{answer: make(chan wishAnswer, 1)}}
	}
	for _, w := range ws {
		if d.push(w) != nil {
			return // then there are entries enough
		}
	}
}

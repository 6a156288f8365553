package evloop

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of connections and loops, found with errors.Is.
var (
	// ErrAgain: the operation would have to wait. Nothing was read or written
	// but what the call says.
	ErrAgain error = &againError{}
	// ErrCut: Cut was called.
	ErrCut = errors.New("connection is cut")
	// ErrClosed: the connection or the group is closed.
	ErrClosed = errors.New("closed")
)

// Config is what a group is made of.
type Config struct {
	// Loops is how many loops run, at least 1.
	Loops int
	// Hold is how long a loop keeps its processor after an event at least, and
	// twice as long at most, before it gives that back to the runtime: a wake-up
	// costs half as much meanwhile, and deadlines strike up to Hold later. Other
	// goroutines need processors of their own then: with Hold above 0, GOMAXPROCS
	// has to be larger than Loops. Default 0.
	Hold time.Duration
	// Backend is how sockets are waited for and read; default Auto.
	Backend Backend
	// Local makes what Task.Local gives, one for each loop, and one more where a loop
	// is taken from a handler that keeps it. May be nil.
	Local func() any
	// Failed is told of a loop that cannot go on (epoll itself fails); may be
	// nil.
	Failed func(error)
}

// Backend is a way to wait for sockets and to read them.
type Backend string

// The backends.
const (
	// Auto is IOUring where the system has it, Epoll elsewhere.
	Auto Backend = ""
	// Epoll waits for what is ready, and then reads it.
	Epoll Backend = "epoll"
	// IOUring has the kernel read. New fails where that is not to be had.
	IOUring Backend = "io_uring"
)

// Group is a set of loops with a common clock. Safe for concurrent use.
type Group struct {
	cfg    Config
	ring   error // why there is no io_uring
	start  time.Time
	loops  []*Loop
	table  table
	next   atomic.Uint32
	owned  sync.WaitGroup
	closed atomic.Bool
	stop   chan struct{}
}

// New makes a group and starts its loops. Its owner closes it.
func New(cfg Config) (*Group, error) {
	if cfg.Loops < 1 {
		return nil, fmt.Errorf("a group needs a loop, not %d", cfg.Loops)
	}
	g := &Group{cfg: cfg, start: time.Now().Add(-time.Second), stop: make(chan struct{})}
	err := g.open(cfg.Backend != Epoll)
	if cfg.Backend == Auto && errors.Is(err, errNoRing) {
		g.ring = err
		err = g.open(false)
	}
	if err != nil {
		return nil, err
	}
	for _, l := range g.loops {
		g.owned.Go(func() { l.run(0, true) })
	}
	g.owned.Go(g.watchLoops)
	return g, nil
}

// open makes the loops, with rings or without.
func (g *Group) open(rings bool) error {
	for i := range g.cfg.Loops {
		l, err := newLoop(g, i, rings)
		if err != nil {
			for _, l := range g.loops {
				err = errors.Join(err, l.close())
			}
			g.loops = nil
			return err
		}
		g.loops = append(g.loops, l)
	}
	return nil
}

// Backend is the one in use, and why it is not IOUring where Auto was asked for.
func (g *Group) Backend() (Backend, error) {
	if g.loops[0].uring != nil {
		return IOUring, nil
	}
	return Epoll, g.ring
}

// Now is the time on the group's clock.
func (g *Group) Now() Time { return Time(time.Since(g.start)) }

// Loops gives the loops, in a fixed order.
func (g *Group) Loops() []*Loop { return g.loops }

// Pick gives the loop whose turn it is.
func (g *Group) Pick() *Loop { return g.loops[g.next.Add(1)%uint32(len(g.loops))] }

// Each calls f with every open connection, in no order; connections that come
// or go meanwhile may be missed. f must not wait.
func (g *Group) Each(f func(*Conn)) { g.table.each(f) }

// Close stops the loops and waits for them and for tasks that are still detached.
// Every connection has to be closed before.
func (g *Group) Close() error {
	if g.closed.Swap(true) {
		return nil
	}
	close(g.stop)
	for _, l := range g.loops {
		l.ring()
	}
	g.owned.Wait()
	var err error
	for _, l := range g.loops {
		err = errors.Join(err, l.close())
	}
	return err
}

// The watchdog looks at the loops this often; less and less often while all of
// them sleep.
const (
	watchEvery  = 20 * time.Millisecond
	watchAtMost = 640 * time.Millisecond
)

// watchLoops takes a loop away from a handler that keeps it: one that waits
// without Detach would otherwise stop every connection of its loop.
func (g *Group) watchLoops() {
	seen := make([]uint64, len(g.loops))
	every := watchEvery
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-t.C:
		}
		every = min(2*every, watchAtMost)
		for i, l := range g.loops {
			lead := l.lead.Load()
			if lead != seen[i] || inHandler(lead) {
				every = watchEvery
			}
			if lead == seen[i] {
				l.takeAway(lead)
			}
			seen[i] = lead
		}
		t.Reset(every)
	}
}

package upstream

import (
	"sync"
	"time"
)

// pool keeps connections between requests, the last used first, so that the
// others of a target may grow old. Safe for concurrent use.
type pool struct {
	mu     sync.Mutex
	idle   map[Target][]*conn // oldest first
	closed bool
	keep   Keepalive // complete

	stop    chan struct{}
	sweeper sync.WaitGroup
}

// sweepEvery is how often connections that were idle too long are looked for, at
// most.
const sweepEvery = 10 * time.Second

func newPool(keep Keepalive) *pool {
	p := &pool{idle: map[Target][]*conn{}, keep: keep, stop: make(chan struct{})}
	p.sweeper.Go(p.sweepLoop)
	return p
}

// get gives an idle connection or nil. The service has not closed it up to now, and
// not sent anything: that would pass for the answer to the next request.
func (p *pool) get(t Target) *conn {
	for {
		c := p.pop(t)
		if c == nil {
			return nil
		}
		if time.Since(c.idleSince) < p.keep.IdleTimeout && c.alive() {
			c.kept = true
			return c
		}
		c.cut()
	}
}

func (p *pool) pop(t Target) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[t]
	if len(list) == 0 {
		return nil
	}
	last := len(list) - 1
	c := list[last]
	list[last] = nil
	p.idle[t] = list[:last]
	return c
}

// put keeps a connection, or closes it when there are enough.
func (p *pool) put(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	full := p.closed || len(p.idle[c.target]) >= p.keep.PoolSize
	if !full {
		p.idle[c.target] = append(p.idle[c.target], c)
	}
	p.mu.Unlock()
	if full {
		c.cut()
	}
}

func (p *pool) sweepLoop() {
	ticker := time.NewTicker(min(sweepEvery, p.keep.IdleTimeout))
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-ticker.C:
			for _, c := range p.takeOld(now.Add(-p.keep.IdleTimeout)) {
				c.cut()
			}
		}
	}
}

// takeOld removes the connections that are idle since before a time.
func (p *pool) takeOld(before time.Time) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var old []*conn
	for t, list := range p.idle {
		n := 0
		for n < len(list) && list[n].idleSince.Before(before) {
			n++
		}
		old = append(old, list[:n]...)
		if n == len(list) {
			delete(p.idle, t)
		} else if n > 0 {
			p.idle[t] = append([]*conn(nil), list[n:]...)
		}
	}
	return old
}

// close closes the idle connections; those that come back later are closed by
// put.
func (p *pool) close() {
	p.mu.Lock()
	wasClosed := p.closed
	p.closed = true
	idle := p.idle
	p.idle = map[Target][]*conn{}
	p.mu.Unlock()
	if wasClosed {
		return
	}
	close(p.stop)
	p.sweeper.Wait()
	for _, list := range idle {
		for _, c := range list {
			c.cut()
		}
	}
}

// count gives the number of idle connections.
func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, list := range p.idle {
		n += len(list)
	}
	return n
}

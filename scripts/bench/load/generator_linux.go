package load

import (
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"
	"time"
)

const (
	drainLimit  = 3 * time.Second // for the answers that are still to come after the load
	maxFailures = 1000            // then the run is given up
)

// generator runs one job.
type generator struct {
	job    *Job
	dialer *dialer
	poll   *poller
	conns  map[int32]*conn
	buffer []byte
	start  time.Time // times are durations since then
	next   int       // of the requests
	result Result

	// Open loop.
	free    []*conn // longest free first
	waiting []time.Duration
	sending bool // closed loop: an answer is followed by the next request
}

// Run does the job. begin and end are called at the ends of the time that
// counts, when no request of it is under way (open loop) or between two events
// (closed loop); either may be nil. The caller's thread should run nothing
// else. A request that fails does not end the run, a thousand do.
func Run(job Job, begin, end func() error) (Result, error) {
	if err := job.check(); err != nil {
		return Result{}, err
	}
	g := &generator{job: &job, conns: map[int32]*conn{}, buffer: make([]byte, scratchSize), start: time.Now()}
	if err := g.open(); err != nil {
		return Result{}, err
	}
	defer g.close()
	call := func(f func() error) error {
		if f == nil {
			return nil
		}
		return f()
	}
	load := g.closedLoop
	if job.Rate > 0 {
		load = g.openLoop
	}
	if job.Idle {
		load = g.idle
	} else if err := load(job.Warm); err != nil {
		return g.result, err
	}
	if g.result.Failed > 0 {
		return g.result, fmt.Errorf("before the time that counts: %s", g.result.Fault)
	}
	if err := call(begin); err != nil {
		return g.result, err
	}
	g.result = Result{}
	since := g.now()
	err := load(job.Duration)
	g.result.Elapsed = g.now() - since
	if err == nil {
		err = call(end)
	}
	if err == nil && !job.Idle && job.Rate == 0 {
		g.sending = false
		err = g.drain()
	}
	return g.result, err
}

func (g *generator) now() time.Duration { return time.Since(g.start) }

func (g *generator) open() (err error) {
	if g.dialer, err = newDialer(g.job); err != nil {
		return err
	}
	if g.poll, err = newPoller(g.job.Alone); err != nil {
		return err
	}
	for range g.job.Connections {
		if g.job.Idle {
			break // opens one after the other
		}
		if err := g.connect(); err != nil {
			g.close()
			return err
		}
	}
	return nil
}

func (g *generator) connect() error {
	c, err := g.dialer.dial()
	if err != nil {
		return err
	}
	if err := g.poll.add(c.fd); err != nil {
		c.close()
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	g.conns[int32(c.fd)] = c
	g.free = append(g.free, c)
	return nil
}

func (g *generator) close() {
	for _, c := range g.conns {
		c.close()
	}
	g.poll.close()
}

// closedLoop keeps a request under way on every connection, also after it
// returns.
func (g *generator) closedLoop(d time.Duration) error {
	g.sending = true
	end := g.now() + d
	for {
		for len(g.free) > 0 {
			c := g.take()
			g.send(c, g.now())
		}
		left := end - g.now()
		if left <= 0 {
			return nil
		}
		if err := g.step(left); err != nil {
			return err
		}
	}
}

// openLoop sends at even distances, and returns when all is answered. What is
// due while every connection is busy waits, and its latency counts from when
// it was due.
func (g *generator) openLoop(d time.Duration) error {
	g.sending = false
	count := int64(g.job.Rate * d.Seconds())
	start := g.now()
	due := func(i int64) time.Duration {
		return start + time.Duration(math.Round(float64(i)*float64(time.Second)/g.job.Rate))
	}
	for sent := int64(0); sent < count || len(g.waiting) > 0; {
		for ; sent < count && due(sent) <= g.now(); sent++ {
			g.waiting = append(g.waiting, due(sent))
		}
		for len(g.waiting) > 0 && len(g.free) > 0 {
			at := g.waiting[0]
			g.waiting = g.waiting[1:]
			g.result.Late.Add(g.now() - at)
			g.send(g.take(), at)
		}
		timeout := drainLimit
		if sent < count {
			timeout = due(sent) - g.now()
		} else if g.now() > start+d+drainLimit {
			g.failures(int64(len(g.waiting)), errors.New("no connection was free for a request"))
			g.waiting = nil
		}
		if err := g.step(max(timeout, 0)); err != nil {
			return err
		}
	}
	return g.drain()
}

// idle opens the connections one by one, each with one request, and waits.
// Before the time that counts it does nothing: begin sees the proxy at rest.
func (g *generator) idle(d time.Duration) error {
	for range g.job.Connections {
		if err := g.connect(); err != nil {
			return err
		}
		c := g.take()
		g.send(c, g.now())
		for since := g.now(); c.busy; {
			if g.now()-since > drainLimit {
				return errors.New("no answer on a new connection")
			}
			if err := g.step(drainLimit); err != nil {
				return err
			}
		}
	}
	// No connection may end meanwhile: step fails on one that does.
	for end := g.now() + d; g.now() < end; {
		if err := g.step(end - g.now()); err != nil {
			return err
		}
	}
	return nil
}

// drain waits for the answers that are to come.
func (g *generator) drain() error {
	limit := g.now() + drainLimit
	for g.busy() && g.now() < limit {
		if err := g.step(limit - g.now()); err != nil {
			return err
		}
	}
	for _, c := range g.conns {
		if c.busy {
			g.fail(c, fmt.Errorf("no answer within %v", drainLimit))
		}
	}
	return nil
}

func (g *generator) busy() bool { return len(g.free) < len(g.conns) }

// take gives the connection that is free for the longest time.
func (g *generator) take() *conn {
	c := g.free[0]
	if g.free = g.free[1:]; len(g.free) == 0 {
		g.free = nil
	}
	return c
}

func (g *generator) send(c *conn, since time.Duration) {
	c.out, c.since, c.busy = g.job.Requests[g.next], since, true
	if g.next++; g.next == len(g.job.Requests) {
		g.next = 0
	}
	g.write(c, false)
}

// write sends what is left; waited tells that the poller looks for room.
func (g *generator) write(c *conn, waited bool) {
	err := c.flush()
	if blocked := errors.Is(err, errAgain) && c.tls == nil; blocked || err == nil {
		if blocked != waited {
			err = g.poll.wantWrite(c.fd, blocked)
		} else {
			err = nil
		}
	}
	if err != nil {
		g.fail(c, err)
	}
}

// step waits for events, and handles them.
func (g *generator) step(timeout time.Duration) error {
	events, err := g.poll.wait(timeout)
	if err != nil {
		return err
	}
	for i := range events {
		c := g.conns[events[i].Fd]
		if c == nil {
			continue
		}
		if events[i].Events&syscall.EPOLLOUT != 0 {
			g.write(c, true)
		}
		if events[i].Events&^syscall.EPOLLOUT != 0 {
			g.receive(c)
		}
	}
	if g.result.Failed > maxFailures {
		return fmt.Errorf("more than %d requests failed, first: %s", maxFailures, g.result.Fault)
	}
	if g.job.Idle && g.result.Failed > 0 {
		return fmt.Errorf("an idle connection: %s", g.result.Fault)
	}
	return nil
}

// receive reads until the answer is complete or the socket is drained.
func (g *generator) receive(c *conn) {
	for {
		n, err := c.read(g.buffer)
		if errors.Is(err, errAgain) {
			return
		}
		done := false
		switch {
		case errors.Is(err, io.EOF):
			err = errors.New("the connection was closed")
		case err == nil && !c.busy:
			err = errSurplus
		case err == nil:
			done, err = c.answer.feed(g.buffer[:n], g.job.Status, g.job.Body)
		}
		if err != nil {
			g.fail(c, err)
			return
		}
		if done {
			g.done(c)
			return
		}
		if c.tls == nil && n < len(g.buffer) {
			return
		}
	}
}

func (g *generator) done(c *conn) {
	at := g.now()
	g.result.Requests++
	g.result.Latency.Add(at - c.since)
	c.busy = false
	if g.sending {
		g.send(c, at)
	} else {
		g.free = append(g.free, c)
	}
}

// fail counts a failure and puts a new connection in place.
func (g *generator) fail(c *conn, fault error) {
	g.failures(1, fault)
	delete(g.conns, int32(c.fd))
	c.close()
	for i, other := range g.free {
		if other == c {
			g.free = append(g.free[:i:i], g.free[i+1:]...)
			break
		}
	}
	if err := g.connect(); err != nil {
		g.failures(1, err)
	}
}

func (g *generator) failures(n int64, fault error) {
	if g.result.Failed == 0 && n > 0 {
		g.result.Fault = fault.Error()
	}
	g.result.Failed += n
}

package evloop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test with loops that always sleep in a way that the runtime knows
// of, and with loops that hold their processor, each with epoll and io_uring.
func both(t *testing.T, test func(t *testing.T, g *Group)) {
	for name, hold := range map[string]time.Duration{"sleeping": 0, "holding": 2 * time.Millisecond} {
		for _, backend := range []Backend{Epoll, IOUring} {
			t.Run(name+"/"+string(backend), func(t *testing.T) {
				g, err := New(Config{Loops: 2, Hold: hold, Backend: backend, Local: func() any { return new(int) },
					Failed: func(err error) { t.Error(err) }})
				if errors.Is(err, errNoRing) {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := g.Close(); err != nil {
						t.Error(err)
					}
				}()
				test(t, g)
			})
		}
	}
}

// echo answers what it is sent. With wait it detaches and uses Wait.
type echo struct {
	task    Task
	conn    Conn
	wait    bool
	buf     [512]byte
	rest    []byte
	expired atomic.Bool
	closed  chan struct{}
	dead    bool
}

func newEcho(t testing.TB, a Accepted, wait bool) *echo {
	e := &echo{wait: wait, closed: make(chan struct{})}
	e.task.Init(a.Loop, e)
	if err := e.conn.Bind(a.FD, &e.task); err != nil {
		t.Error(err)
	}
	return e
}

func (e *echo) Run() {
	for !e.dead {
		err := e.step()
		switch {
		case err == nil:
		case errors.Is(err, ErrAgain) && e.task.Expired():
			e.expired.Store(true)
			e.close()
		case errors.Is(err, ErrAgain) && e.wait:
			e.task.Detach()
			e.task.Wait()
		case errors.Is(err, ErrAgain):
			return
		default:
			e.close()
		}
	}
}

func (e *echo) close() {
	e.dead = true
	e.task.Retire()
	_ = e.conn.Close()
	close(e.closed)
}

func (e *echo) step() error {
	if len(e.rest) == 0 {
		n, err := e.conn.Read(e.buf[:])
		if err != nil {
			return err
		}
		e.rest = e.buf[:n]
	}
	n, err := e.conn.Write(e.rest)
	e.rest = e.rest[n:]
	return err
}

// serve accepts connections in every loop; the second socket of an address is
// the same socket.
func serve(t *testing.T, g *Group, taken func(Accepted)) (addr string, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all []*Listener
	for _, l := range g.Loops() {
		s, err := l.Listen(ln.(*net.TCPListener), taken, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	addr = ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return addr, func() {
		for _, s := range all {
			s.Close()
		}
	}
}

func TestEcho(t *testing.T) {
	for name, wait := range map[string]bool{"inline": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				var mu sync.Mutex
				var echoes []*echo
				addr, stop := serve(t, g, func(a Accepted) {
					mu.Lock()
					defer mu.Unlock()
					echoes = append(echoes, newEcho(t, a, wait))
				})
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() { exchange(t, addr, i) })
				}
				wg.Wait()
				stop()
				for _, e := range echoes {
					<-e.closed
				}
			})
		})
	}
}

// exchange sends more than the sockets hold, so that both sides have to wait,
// and half-closes: the last byte and the end come in one event.
func exchange(t *testing.T, addr string, seed int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	sent := bytes.Repeat([]byte{byte(seed), 1, 2, 3, 4, 5, 6}, 100_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(c)
	wg.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
}

func TestDeadline(t *testing.T) {
	for name, wait := range map[string]bool{"inline": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				accepted := make(chan *echo, 1)
				const pause = 30 * time.Millisecond
				addr, stop := serve(t, g, func(a Accepted) {
					e := &echo{wait: wait, closed: make(chan struct{})}
					e.task.Init(a.Loop, e)
					e.task.SetDeadline(g.Now().Add(time.Hour)) // moved nearer
					e.task.SetDeadline(g.Now().Add(pause))
					if err := e.conn.Bind(a.FD, &e.task); err != nil {
						t.Error(err)
					}
					accepted <- e
				})
				defer stop()
				begun := time.Now()
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("read: %v", err)
				}
				e := <-accepted
				<-e.closed
				if took := time.Since(begun); !e.expired.Load() || took < pause {
					t.Errorf("expired %v after %v", e.expired.Load(), took)
				}
			})
		})
	}
}

// TestStuckHandler: a handler that keeps the loop does not stop the others.
func TestStuckHandler(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		release := make(chan struct{})
		var stuck Task
		ended := make(chan struct{})
		var once sync.Once
		stuck.Init(g.Loops()[0], handlerFunc(func() { <-release; once.Do(func() { close(ended) }) }))
		stuck.SetDeadline(1)
		l := g.Loops()[0]
		done := make(chan struct{})
		var other Task
		var done1 sync.Once
		other.Init(l, handlerFunc(func() { done1.Do(func() { close(done) }) }))
		for !inHandler(l.lead.Load()) {
			time.Sleep(time.Millisecond)
		}
		other.SetDeadline(1)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the loop is stuck")
		}
		close(release)
		<-ended
		stuck.Retire()
		other.Retire()
	})
}

type handlerFunc func()

func (f handlerFunc) Run() { f() }

// TestCut: a connection can be ended from elsewhere, idle or waiting.
func TestCut(t *testing.T) {
	for name, wait := range map[string]bool{"inline": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				accepted := make(chan *echo, 1)
				addr, stop := serve(t, g, func(a Accepted) { accepted <- newEcho(t, a, wait) })
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				e := <-accepted
				stop()
				g.Each(func(c *Conn) { c.Cut() })
				<-e.closed
			})
		})
	}
}

// TestWatch: events are told while the owner waits for something else.
func TestWatch(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		w := &watched{told: make(chan struct{}), closed: make(chan struct{})}
		addr, stop := serve(t, g, func(a Accepted) {
			w.task.Init(a.Loop, w)
			if err := w.conn.Bind(a.FD, &w.task); err != nil {
				t.Error(err)
			}
		})
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-w.closed
		stop()
	})
}

type watched struct {
	task   Task
	conn   Conn
	once   sync.Once
	told   chan struct{}
	closed chan struct{}
	dead   bool
}

func (w *watched) Poked() {
	if w.conn.HungUp() {
		w.once.Do(func() { close(w.told) })
	}
}

func (w *watched) Run() {
	if w.dead {
		return
	}
	var watcher Watcher = w
	w.task.Watch(&watcher)
	w.task.Detach()
	if !w.conn.HungUp() {
		<-w.told
	}
	w.task.Watch(nil)
	w.dead = true
	w.task.Retire()
	_ = w.conn.Close()
	close(w.closed)
}

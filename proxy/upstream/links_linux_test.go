package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/evloop"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// lineService answers each line it gets with the same line.
type lineService struct {
	target Target
	mu     sync.Mutex
	conns  []net.Conn // in the order they came
	closed atomic.Int64
}

func newLineService(t *testing.T, secure *tls.Config) *lineService {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &lineService{target: target(t, "http://"+ln.Addr().String())}
	if secure != nil {
		ln, s.target.TLS = tls.NewListener(ln, secure), true
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			serving.Go(func() {
				for r := bufio.NewReader(c); ; {
					line, err := r.ReadString('\n')
					if err == nil {
						_, err = io.WriteString(c, line)
					}
					if err != nil {
						c.Close()
						s.closed.Add(1)
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		serving.Wait()
	})
	return s
}

// opened and open are how many connections have come and are there.
func (s *lineService) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *lineService) open() int { return s.opened() - int(s.closed.Load()) }

func (s *lineService) conn(i int) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[i]
}

// linkWorld is a set of links on one loop.
type linkWorld struct {
	t     *testing.T
	group *evloop.Group
	links *Links
	to    *lineService
	pool  *LinkPool
}

func newLinkWorld(t *testing.T, keep Keepalive, secure *tls.Config) *linkWorld {
	t.Helper()
	group, err := evloop.New(evloop.Config{Loops: 1, Backend: evloop.Backend(os.Getenv("SLUICE_TEST_EVENT_LOOP")), Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	w := &linkWorld{t: t, group: group, links: NewLinks(Config{Keepalive: keep}, group), to: newLineService(t, secure)}
	w.pool = w.links.Pool(w.to.target)
	t.Cleanup(func() {
		w.links.Close()
		eventually(t, "every connection is closed", func() bool {
			left := 0
			group.Each(func(*evloop.Conn) { left++ })
			return left == 0
		})
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// owner is a task that does one thing, and may wait in it.
type owner struct {
	task  evloop.Task
	begun bool
	do    func(*evloop.Task)
	done  chan struct{}
}

func (o *owner) Run() {
	if o.begun {
		return
	}
	o.begun = true
	o.task.Detach()
	o.do(&o.task)
	o.task.Retire()
	close(o.done)
}

// run has a task of its own do something.
func (w *linkWorld) run(do func(*evloop.Task)) {
	w.t.Helper()
	o := &owner{do: do, done: make(chan struct{})}
	o.task.Init(w.group.Loops()[0], o)
	o.task.Poke()
	select {
	case <-o.done:
	case <-time.After(2 * patience):
		w.t.Fatal("a task does not end")
	}
}

// get gives a link, a kept one if there is one.
func (w *linkWorld) get(t *evloop.Task) *Link {
	if l := w.pool.Get(t); l != nil {
		return l
	}
	l, err := w.pool.Dial(context.Background(), get(w.to.target), t)
	if err != nil {
		w.t.Error(err)
	}
	return l
}

// exchange sends a line and reads it back.
func (w *linkWorld) exchange(t *evloop.Task, l *Link) {
	const line = "hello\n"
	if _, err := l.Write([]byte(line)); err != nil {
		w.t.Error(err)
	}
	var got strings.Builder
	buf := make([]byte, len(line))
	t.SetDeadline(t.Now().Add(patience))
	for got.Len() < len(line) {
		n, err := l.Read(buf[:len(line)-got.Len()])
		got.Write(buf[:n])
		switch {
		case n > 0:
		case errors.Is(err, evloop.ErrAgain) && !t.Expired():
			t.Wait()
		default:
			w.t.Errorf("%q, then %v", got.String(), err)
			return
		}
	}
	if got.String() != line {
		w.t.Errorf("%q came back", got.String())
	}
}

// use is one whole exchange, and says whether it was on a kept link.
func (w *linkWorld) use() (kept bool) {
	w.run(func(t *evloop.Task) {
		if l := w.get(t); l != nil {
			kept = l.Kept
			w.exchange(t, l)
			l.Put()
		}
	})
	return kept
}

// idle says whether a link is kept, which it still is after that.
func (w *linkWorld) idle() (found bool) {
	w.run(func(t *evloop.Task) {
		if l := w.pool.Get(t); l != nil {
			found = true
			l.requests-- // it carries none
			l.Put()
		}
	})
	return found
}

func TestLinkIsUsedAgain(t *testing.T) {
	for name, secure := range tlsOrNot() {
		t.Run(name, func(t *testing.T) {
			w := newLinkWorld(t, Keepalive{}, secure)
			for i := range 5 {
				if kept := w.use(); kept != (i > 0) {
					t.Errorf("request %d: kept %v", i, kept)
				}
			}
			if n := w.to.opened(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestLinkPoolSize: no more than so many are kept, and the last used is the
// first to be used again.
func TestLinkPoolSize(t *testing.T) {
	for size, want := range map[int]int{-1: 0, 1: 1, 2: 2, 0: 3} { // 0: the default
		w := newLinkWorld(t, Keepalive{PoolSize: size}, nil)
		var last *Link
		w.run(func(t *evloop.Task) {
			var all []*Link
			for range 3 {
				l := w.get(t)
				w.exchange(t, l)
				all = append(all, l)
			}
			for i, l := range all {
				if l.Put(); i < want {
					last = l
				}
			}
		})
		eventually(t, "the others are closed", func() bool { return w.to.open() == want })
		w.run(func(task *evloop.Task) {
			var got []*Link
			for l := w.pool.Get(task); l != nil; l = w.pool.Get(task) {
				got = append(got, l)
			}
			if len(got) != want || want > 0 && got[0] != last {
				t.Errorf("size %d: %d are kept, want %d, the last first", size, len(got), want)
			}
			for _, l := range got {
				l.Close()
			}
		})
	}
}

// TestLinkPoolsAreApart: what is kept for one target is not given for another.
func TestLinkPoolsAreApart(t *testing.T) {
	w := newLinkWorld(t, Keepalive{PoolSize: 1}, nil)
	other := w.to.target
	other.Host = "localhost"
	w.use()
	w.run(func(task *evloop.Task) {
		if w.links.Pool(other).Get(task) != nil {
			t.Error("a link of another target")
		}
	})
	if !w.idle() || w.links.Pool(w.to.target) != w.pool {
		t.Error("the link is lost")
	}
}

func TestLinkMaxRequests(t *testing.T) {
	for most, want := range map[int][]bool{1: {false, false, false}, 2: {false, true, false, true}, -1: {false, true, true, true}} {
		w := newLinkWorld(t, Keepalive{MaxRequests: most}, nil)
		for i, kept := range want {
			if got := w.use(); got != kept {
				t.Errorf("at most %d: request %d: kept %v, want %v", most, i, got, kept)
			}
		}
	}
}

// TestLinkIdleTimeout: a link is closed when its time has come, and not before
// its last use is so long ago.
func TestLinkIdleTimeout(t *testing.T) {
	w := newLinkWorld(t, Keepalive{IdleTimeout: 100 * time.Millisecond}, nil)
	w.use()
	began := time.Now()
	eventually(t, "the service sees the end", func() bool { return w.to.open() == 0 })
	if d := time.Since(began); d < 50*time.Millisecond {
		t.Errorf("closed after %v", d)
	}
	if w.idle() {
		t.Error("it is still kept")
	}
	for _, timeout := range []time.Duration{-1, time.Hour} {
		w := newLinkWorld(t, Keepalive{IdleTimeout: timeout}, nil)
		w.use()
		if !w.idle() {
			t.Errorf("idle timeout %v: not kept", timeout)
		}
	}
}

// TestStaleLink: one that the service has closed, or on which it has said
// something unasked, is closed and not used again.
func TestStaleLink(t *testing.T) {
	for name, secure := range tlsOrNot() {
		for what, end := range map[string]func(net.Conn){
			"closed":  func(c net.Conn) { c.Close() },
			"surplus": func(c net.Conn) { _, _ = io.WriteString(c, "surplus") },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				w := newLinkWorld(t, Keepalive{}, secure)
				w.use()
				end(w.to.conn(0))
				// The news takes a moment. Nobody has to ask for it.
				eventually(t, "the link is given up", func() bool { return !w.idle() })
				eventually(t, "the connection is closed", func() bool { return w.to.open() == 0 })
				if w.use() {
					t.Error("it was used again")
				}
			})
		}
	}
}

// TestSurplusBeforePut: bytes that nobody has read when the exchange ends would
// be taken for the answer to the next request.
func TestSurplusBeforePut(t *testing.T) {
	for name, secure := range tlsOrNot() {
		t.Run(name, func(t *testing.T) {
			w := newLinkWorld(t, Keepalive{}, secure)
			w.run(func(task *evloop.Task) {
				l := w.get(task)
				w.exchange(task, l)
				_, _ = io.WriteString(w.to.conn(0), "surplus")
				task.SetDeadline(task.Now().Add(patience))
				for !l.Readable() && !task.Expired() {
					task.Wait()
				}
				l.Put()
				if w.pool.Get(task) != nil {
					t.Error("it was kept")
				}
			})
			eventually(t, "the connection is closed", func() bool { return w.to.open() == 0 })
		})
	}
}

// TestLinksOfUnwantedTargets: idle ones are closed at once, those in use when
// they come back.
func TestLinksOfUnwantedTargets(t *testing.T) {
	for name, forget := range map[string]func(*linkWorld){
		"unwanted": func(w *linkWorld) { w.links.Keep(func(Target) bool { return false }) },
		"closed":   func(w *linkWorld) { w.links.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newLinkWorld(t, Keepalive{}, nil)
			w.run(func(task *evloop.Task) {
				used, idle := w.get(task), w.get(task)
				w.exchange(task, idle)
				idle.Put()
				forget(w)
				eventually(t, "the idle one is closed", func() bool { return w.to.open() == 1 })
				w.exchange(task, used) // goes on to its end
				used.Put()
			})
			eventually(t, "the used one is closed", func() bool { return w.to.open() == 0 })
		})
	}
}

func TestWantedLinksStay(t *testing.T) {
	w := newLinkWorld(t, Keepalive{}, nil)
	w.use()
	w.links.Keep(func(to Target) bool { return to == w.to.target })
	if !w.use() {
		t.Error("the link of a wanted target is gone")
	}
}

func TestLinkDialErrors(t *testing.T) {
	w := newLinkWorld(t, Keepalive{}, nil)
	w.run(func(task *evloop.Task) {
		refused := get(Target{Host: "127.0.0.1", Port: 1})
		if _, err := w.links.Pool(refused.Target).Dial(context.Background(), refused, task); err == nil || errors.Is(err, ErrTimeout) {
			t.Errorf("nobody listens: %v", err)
		}
		mute := get(w.to.target) // answers a handshake only with its echo, or not at all
		mute.TLS, mute.Connect = true, 100*time.Millisecond
		if _, err := w.links.Pool(mute.Target).Dial(context.Background(), mute, task); err == nil {
			t.Error("TLS without an answer")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := w.pool.Dial(ctx, get(w.to.target), task); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		w.links.Close()
		if _, err := w.pool.Dial(context.Background(), get(w.to.target), task); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
	eventually(t, "no connection is left", func() bool { return w.to.open() == 0 })
}

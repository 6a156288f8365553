package evloop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What follows is the same for a user whatever the kernel is asked by.

// tcpPair gives a connection whose one end is a descriptor for a loop. That end
// holds little that was not sent yet.
func tcpPair(t testing.TB) (fd int, peer *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if fd, err = Duplicate(c.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 8<<10); err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	return fd, other.(*net.TCPConn)
}

// counter writes numbers of 8 bytes each, until the socket takes no more, and
// then does something once; or up to a number.
type counter struct {
	task    Task
	conn    Conn
	written int // bytes that were taken
	limit   int // numbers, 0: until it is full
	full    func()
	stopped bool
	done    chan struct{}
}

func newCounter(t testing.TB, l *Loop, limit int, full func(*counter)) (*counter, *net.TCPConn) {
	fd, peer := tcpPair(t)
	c := &counter{limit: limit, done: make(chan struct{})}
	c.full = func() { full(c); c.stopped = true; close(c.done) }
	c.task.Init(l, c)
	if err := c.conn.Bind(fd, &c.task); err != nil {
		t.Fatal(err)
	}
	return c, peer
}

func (c *counter) Run() {
	for n := 0; !c.stopped; n++ {
		if n == 500 { // of 8 bytes: some fit in one send, not all
			c.task.Yield()
			return
		}
		if c.limit > 0 && c.written == 8*c.limit {
			c.full()
			return
		}
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(c.written/8))
		k, err := c.conn.WriteBoth(b[c.written%8:5], b[max(5, c.written%8):])
		if c.written%8 >= 5 {
			k, err = c.conn.Write(b[c.written%8:])
		}
		c.written += k
		switch {
		case err == nil:
		case errors.Is(err, ErrAgain) && c.limit > 0:
			return
		default:
			c.full()
			return
		}
	}
}

// numbers reads what a counter has written, to the end.
func numbers(t testing.TB, from io.Reader) (total int, err error) {
	t.Helper()
	got, err := io.ReadAll(from)
	for i := range len(got) / 8 {
		if n := binary.BigEndian.Uint64(got[8*i:]); n != uint64(i) {
			t.Fatalf("number %d is %d", i, n)
		}
	}
	return len(got), err
}

// TestWritesInOrder: many small writes to a peer that is slow arrive in their
// order, each once.
func TestWritesInOrder(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		const limit = 300_000
		c, peer := newCounter(t, g.Loops()[0], limit, func(c *counter) { c.task.Retire(); _ = c.conn.Close() })
		total, err := numbers(t, peer)
		if err != nil || total != 8*limit {
			t.Errorf("%d bytes of %d: %v", total, 8*limit, err)
		}
		await(t, "the end of the writer", c.done)
	})
}

// TestCloseKeepsWhatWasWritten: all that Write has taken arrives, also after
// Close, with a peer that begins to read only then.
func TestCloseKeepsWhatWasWritten(t *testing.T) {
	for name, end := range map[string]func(*counter){
		"close":      func(c *counter) { c.task.Retire(); _ = c.conn.Close() },
		"closeWrite": func(c *counter) { _ = c.conn.CloseWrite() },
		"detached":   func(c *counter) { c.task.Detach(); c.task.Retire(); _ = c.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				c, peer := newCounter(t, g.Loops()[0], 0, end)
				await(t, "a full socket", c.done)
				total, err := numbers(t, peer)
				if err != nil || total != c.written || total == 0 {
					t.Errorf("%d bytes have come of %d: %v", total, c.written, err)
				}
				if name == "closeWrite" {
					g.Loops()[0].idle(t)
					_ = c.conn.Close()
				}
			})
		})
	}
}

// TestResetDropsWhatWasWritten: after Reset, Close is a reset at once.
func TestResetDropsWhatWasWritten(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		c, peer := newCounter(t, g.Loops()[0], 0, func(c *counter) { c.task.Retire(); c.conn.Reset(); _ = c.conn.Close() })
		await(t, "a full socket", c.done)
		if _, err := numbers(t, peer); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer has seen %v", err)
		}
	})
}

// TestClosedGroupKeepsNobody: a peer that does not read what a closed connection
// has left does not hold up the end of the group, and nothing of it is left.
func TestClosedGroupKeepsNobody(t *testing.T) {
	for _, backend := range []Backend{Epoll, IOUring} {
		t.Run(string(backend), func(t *testing.T) {
			before := openFiles(t)
			g, err := New(Config{Loops: 2, Backend: backend})
			if errors.Is(err, errNoRing) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			c, peer := newCounter(t, g.Loops()[0], 0, func(c *counter) { c.task.Retire(); _ = c.conn.Close() })
			await(t, "a full socket", c.done)
			begun := time.Now()
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > farewellTime/2 {
				t.Errorf("closing took %v", took)
			}
			if err := peer.Close(); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
				maps, err := os.ReadFile("/proc/self/maps")
				if err != nil {
					t.Fatal(err)
				}
				left := openFiles(t) - before
				if left <= 0 && !bytes.Contains(maps, []byte("[io_uring]")) {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%d files are left, memory of a ring: %v", left, bytes.Contains(maps, []byte("[io_uring]")))
				}
			}
		})
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range all { // sockets and the like; not what the runtime opens for itself
		to, err := os.Readlink("/proc/self/fd/" + f.Name())
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.Contains(to, "io_uring") || strings.Contains(to, "timerfd")) {
			n++
		}
	}
	return n
}

// TestCloseIsSeen: a connection that waits for its peer and is closed, on the
// loop or elsewhere, is closed for the peer, too.
func TestCloseIsSeen(t *testing.T) {
	for name, detach := range map[string]bool{"inline": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				fd, peer := tcpPair(t)
				var task Task
				var c Conn
				var once sync.Once
				waits := make(chan struct{})
				over := false
				task.Init(g.Loops()[0], handlerFunc(func() {
					var b [1]byte
					_, err := c.Read(b[:])
					switch {
					case over:
					case !c.IsCut():
						if errors.Is(err, ErrAgain) {
							once.Do(func() { close(waits) })
						}
					default:
						if detach {
							task.Detach()
						}
						over = true
						task.Retire()
						_ = c.Close()
					}
				}))
				if err := c.Bind(fd, &task); err != nil {
					t.Fatal(err)
				}
				await(t, "a read", waits)
				g.Loops()[0].idle(t) // the kernel receives by now
				c.Cut()
				if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("the peer has seen %d, %v", n, err)
				}
			})
		})
	}
}

// TestNothingCrosses: connections that are opened and closed all the time, on
// descriptors that are used again at once, see nothing of each other.
func TestNothingCrosses(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		var open atomic.Int64
		addr, stop := serve(t, g, func(a Accepted) {
			open.Add(1)
			e := newEcho(t, a, a.FD%3 == 0)
			g.owned.Go(func() { <-e.closed; open.Add(-1) })
		})
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for j := range 60 {
					if err := crosses(addr, []byte{byte(i), byte(j), 1, 2, 3}, j%4 == 0); err != nil {
						t.Errorf("connection %d of %d: %v", j, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		for end := time.Now().Add(patience); open.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections are open", open.Load())
			}
		}
		stop()
	})
}

// crosses has something echoed twice, and leaves by a reset with more on the way
// if it is to.
func crosses(addr string, say []byte, reset bool) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for range 2 {
		got := make([]byte, len(say))
		if _, err := c.Write(say); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if !bytes.Equal(got, say) {
			return errors.New("this is another's")
		}
	}
	if !reset {
		return nil
	}
	if _, err := c.Write(say); err != nil {
		return err
	}
	return c.(*net.TCPConn).SetLinger(0)
}

// TestRoomThatWasFoundAtOnce: who waits for room that there is by the time the
// loop looks is told, though no event says so.
func TestRoomThatWasFoundAtOnce(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		if l.uring == nil {
			return
		}
		fd, peer := tcpPair(t)
		var task Task
		var c Conn
		runs := make(chan struct{}, 100)
		task.Init(l, handlerFunc(func() {
			_, _ = c.Read(make([]byte, 1))
			runs <- struct{}{}
		}))
		if err := c.Bind(fd, &task); err != nil {
			t.Fatal(err)
		}
		await(t, "a first look", runs)
		l.idle(t)
		for len(runs) > 0 {
			<-runs
		}
		// As after a write that found no room, where the event was taken before.
		o := &c.ring.out
		o.buf = sendBuffers.Get().(*sendBuffer)
		o.n = copy(o.buf[:], "left")
		c.ready.And(^writable)
		o.state.Store(sendRest)
		c.want(l, wantSend)
		await(t, "the news of room", runs)
		got := make([]byte, 4)
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "left" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

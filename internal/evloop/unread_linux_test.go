package evloop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestUnread: connections of which nobody reads, more than there are buffers for,
// lose nothing, and others go on meanwhile; also the end of one is known before
// it is read.
func TestUnread(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		const many = uringBuffers + 50
		l := g.Loops()[0]
		var may atomic.Bool
		all := make([]*unread, many)
		for i := range all {
			all[i] = &unread{may: &may, ended: make(chan struct{}), told: make(chan struct{})}
			fd, peer := tcpPair(t)
			all[i].task.Init(l, all[i])
			if i%3 == 0 {
				all[i].conn.KeepReceiving()
			}
			if err := all[i].conn.Bind(fd, &all[i].task); err != nil {
				t.Fatal(err)
			}
			// The first read finds nothing; what follows comes with an event.
			await(t, "a first look", all[i].told)
			if _, err := peer.Write([]byte("some")); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				if err := peer.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(patience); !all[i].conn.HungUp(); time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("the end is not known")
					}
				}
			}
			all[i].peer = peer
		}
		may.Store(true)
		for _, u := range all {
			u.task.Poke()
			_ = u.peer.CloseWrite()
			await(t, "the end of a connection", u.ended)
			if string(u.got) != "some" {
				t.Fatalf("%q was read", u.got)
			}
		}
	})
}

type unread struct {
	task  Task
	conn  Conn
	peer  *net.TCPConn
	may   *atomic.Bool
	seen  bool
	over  bool
	got   []byte
	told  chan struct{}
	ended chan struct{}
}

func (u *unread) Run() {
	for !u.over && (!u.seen || u.may.Load()) {
		var b [3]byte
		n, err := u.conn.Read(b[:])
		u.got = append(u.got, b[:n]...)
		switch {
		case n > 0:
		case errors.Is(err, ErrAgain):
			if !u.seen {
				u.seen = true
				close(u.told)
			}
			return
		default:
			u.over = true
			u.task.Retire()
			_ = u.conn.Close()
			close(u.ended)
		}
	}
}

// TestReleaseGivesAllThatFollows: who takes a connection over in the turn in
// which the loop has read it gets everything that comes after.
func TestReleaseGivesAllThatFollows(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		fd, peer := tcpPair(t)
		var task Task
		var c Conn
		released := make(chan int, 1)
		task.Init(g.Loops()[0], handlerFunc(func() {
			var b [10]byte
			if n, _ := c.Read(b[:]); n > 0 {
				if _, err := c.Write(b[:n]); err != nil {
					t.Error(err)
				}
				task.Retire()
				released <- c.Release()
			}
		}))
		if err := c.Bind(fd, &task); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := peer.Write([]byte("first")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "first" {
			t.Fatalf("%q, %v", got, err)
		}
		var taken int
		select {
		case taken = <-released:
		case <-time.After(patience):
			t.Fatal("nothing was released")
		}
		g.Loops()[0].idle(t)
		if _, err := peer.Write([]byte("then")); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(taken), "released")
		defer f.Close()
		if _, err := io.ReadFull(f, got[:4]); err != nil || string(got[:4]) != "then" {
			t.Errorf("%q, %v", got[:4], err)
		}
	})
}

// TestBackend: a backend that is asked for is the one in use, and Auto tells why
// it is not io_uring.
func TestBackend(t *testing.T) {
	for _, asked := range []Backend{Auto, Epoll, IOUring} {
		g, err := New(Config{Loops: 1, Backend: asked})
		if asked == IOUring && errors.Is(err, errNoRing) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		used, why := g.Backend()
		switch {
		case asked != Auto && used != asked:
			t.Errorf("%q was asked for, %q is used", asked, used)
		case asked == Auto && (used == IOUring) != (why == nil):
			t.Errorf("%q is used, because of %v", used, why)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReleaseOfWhatWasReceived: where the loop may have bytes that nobody else
// would see, there is nothing to give away, and the peer sees an end.
func TestReleaseOfWhatWasReceived(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		fd, peer := tcpPair(t)
		var task Task
		var c Conn
		over := false
		looked := make(chan struct{}, 1)
		task.Init(g.Loops()[0], handlerFunc(func() {
			switch {
			case over:
			case c.IsCut():
				over = true
				task.Retire()
				if fd := c.Release(); fd >= 0 {
					_ = syscall.Close(fd)
				}
			default:
				_, _ = c.Read(make([]byte, 1))
				select {
				case looked <- struct{}{}:
				default:
				}
			}
		}))
		if err := c.Bind(fd, &task); err != nil {
			t.Fatal(err)
		}
		await(t, "a look", looked)
		g.Loops()[0].idle(t)
		c.Cut()
		if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("the peer has seen %d, %v", n, err)
		}
	})
}

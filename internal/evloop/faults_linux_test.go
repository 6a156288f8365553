package evloop

import (
	"io"
	"syscall"
	"testing"
	"time"
)

// TestNextSeesBothRings: a timer that waits in the coarse ring is not overslept
// for one in the fine ring that comes later.
func TestNextSeesBothRings(t *testing.T) {
	const tick = Time(1) << tickShift
	l := &Loop{group: &Group{}}
	l.wheel.init(0)
	var soon, late Task
	soon.Init(l, nil)
	late.Init(l, nil)
	soon.SetDeadline(300 * tick)
	l.wheel.advance(250*tick, nil)
	late.SetDeadline(450 * tick)
	if next := l.wheel.next(); next > 302*tick {
		t.Errorf("the loop sleeps until tick %d, a deadline is at 300", next/tick)
	}
}

// TestPokedFromAfar: of many pokes from other goroutines the last is always
// followed by a run, whether the handler returns, waits or is just ending.
func TestPokedFromAfar(t *testing.T) {
	for name, wait := range map[string]bool{"inline": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				p := &pokedFromAfar{wait: wait, asked: make(chan int, 1), seen: make(chan int, 1)}
				p.task.Init(g.Loops()[0], p)
				for i := range 5000 {
					p.asked <- i
					p.task.Poke()
					select {
					case got := <-p.seen:
						if got != i {
							t.Fatalf("saw %d, want %d", got, i)
						}
					case <-time.After(10 * time.Second):
						t.Fatalf("poke %d is lost", i)
					}
				}
				p.asked <- -1
				p.task.Poke()
				<-p.seen
			})
		})
	}
}

type pokedFromAfar struct {
	task        Task
	wait, over  bool
	asked, seen chan int
}

func (p *pokedFromAfar) Run() {
	for !p.over { // the last poke may come after its question was heard
		select {
		case n := <-p.asked:
			p.seen <- n
			if p.over = n < 0; p.over {
				return
			}
		default:
			if !p.wait {
				return
			}
			p.task.Detach()
			p.task.Wait()
		}
	}
}

// asOwner has do use a connection as its task's owner, who has left the loop, and
// closes it. Returns when that is done.
func asOwner(t testing.TB, l *Loop, fd int, do func(*Conn)) {
	t.Helper()
	var task Task
	var c Conn
	over, done := false, make(chan struct{})
	task.Init(l, handlerFunc(func() {
		if over {
			return
		}
		over = true
		defer close(done)
		task.Detach()
		do(&c)
		task.Retire()
		_ = c.Close()
	}))
	if err := c.Bind(fd, &task); err != nil {
		t.Fatal(err)
	}
	task.Poke()
	await(t, "the end of what the owner does", done)
}

// TestOwedToAPeer: what crypto/tls answers while it only reads, to a peer that
// reads nothing, is bounded.
func TestOwedToAPeer(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		fds := pair(t)
		defer syscall.Close(fds[1])
		asOwner(t, g.Loops()[0], fds[0], func(c *Conn) {
			s := &Socket{loop: c, reading: true}
			answer := make([]byte, 64)
			sent, err := 0, error(nil)
			for ; err == nil && sent < 64<<20; sent += len(answer) {
				_, err = s.Write(answer)
			}
			if err == nil || cap(s.held) > 4*maxOwed {
				t.Errorf("%d bytes are held of %d: %v", cap(s.held), sent, err)
			}
		})
	})
}

// TestEndIsToldAgain: whoever reads on after the end of a connection does not
// wait for what never comes.
func TestEndIsToldAgain(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		fds := pair(t)
		if err := syscall.Close(fds[1]); err != nil {
			t.Fatal(err)
		}
		asOwner(t, g.Loops()[0], fds[0], func(c *Conn) {
			for range 3 {
				if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	})
}

package evloop

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// slow is a connection whose handler takes a millisecond for its answer.
type slow struct {
	task   Task
	conn   Conn
	peer   int
	served func(*slow) // by its handler, before the answer
	stop   atomic.Bool
	ended  chan struct{}
	over   bool
}

func (s *slow) Run() {
	if s.stop.Load() {
		if !s.over {
			s.over = true
			_ = s.conn.Close()
			close(s.ended)
		}
		return
	}
	var b [1]byte
	if n, _ := s.conn.Read(b[:]); n == 0 {
		return
	}
	s.served(s)
	for begin := time.Now(); time.Since(begin) < time.Millisecond; {
	}
	_, _ = s.conn.Write(b[:])
}

// TestAnswersDoNotWaitForAll: what slow handlers have written leaves before all
// others have had their turn, however many were ready at once.
func TestAnswersDoNotWaitForAll(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		const many, soon = 100, 2 * betweenClocks
		l := g.Loops()[0]
		var mu sync.Mutex
		var first *slow
		turns, left := 0, false
		done := make(chan struct{})
		served := func(s *slow) {
			mu.Lock()
			defer mu.Unlock()
			switch turns++; turns {
			case 1:
				first = s
			case soon + 1:
				n, _, err := syscall.Recvfrom(first.peer, make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
				left = n == 1 && err == nil
			case many:
				close(done)
			}
		}
		all := make([]slow, many)
		for i := range all {
			fds := pair(t)
			s := &all[i]
			s.peer, s.served, s.ended = fds[1], served, make(chan struct{})
			s.task.Init(l, s)
			s.conn.KeepReceiving()
			if err := s.conn.Bind(fds[0], &s.task); err != nil {
				t.Fatal(err)
			}
		}
		l.idle(t)
		l.idle(t) // by now the kernel receives
		asked := make(chan struct{})
		var ask Task
		var once sync.Once
		start(l, &ask, handlerFunc(func() {
			once.Do(func() {
				for i := range all {
					if _, err := syscall.Write(all[i].peer, []byte("x")); err != nil {
						t.Error(err)
					}
				}
				close(asked)
			})
		}))
		await(t, "questions", asked)
		await(t, "all answers", done)
		l.idle(t)
		mu.Lock()
		defer mu.Unlock()
		if !left {
			t.Errorf("%d others had their turn before the first answer left", soon)
		}
		ask.Retire()
		for i := range all {
			// Its handler may still be at its answer, on a goroutine that the loop was taken from.
			all[i].stop.Store(true)
			all[i].task.Poke()
			await(t, "the end of a handler", all[i].ended)
			all[i].task.Retire()
			_ = syscall.Close(all[i].peer)
		}
	})
}

// TestSendFirst: what connections of SendFirst send leaves before the rest, and all
// else in the order in which it was written.
func TestSendFirst(t *testing.T) {
	l := ledByTest(t)
	l.lent = l.newLent()
	l.lead.Store(leading(0, 0) | 1) // in a handler
	conns := make([]Conn, 6)
	for i := range conns {
		c := &conns[i]
		c.fd, c.loop, c.ring.on = 100+i, l, true
		c.ready.Store(writable)
		if i%2 == 1 {
			c.SendFirst()
		}
	}
	for _, i := range []int{0, 1, 2, 3, 5, 4} {
		if n, err := conns[i].Write([]byte("x")); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	before := l.uring.filled
	l.gather()
	var order []int32
	for at := before; at != l.uring.filled; at++ {
		if e := &l.uring.sqes[at&l.uring.sqMask]; e.opcode == opSend {
			order = append(order, e.fd-100)
		}
	}
	if want := []int32{1, 3, 5, 0, 2, 4}; !slices.Equal(order, want) {
		t.Errorf("sent in the order %v, want %v", order, want)
	}
}

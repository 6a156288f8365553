package evloop

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestSilentOnAnotherThread: a connection that has said something before another one
// did does not pass for silent when the loop hears of that other one: also where the
// thread that the kernel would tell of the first is kept by a handler, and another leads.
func TestSilentOnAnotherThread(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		idle := make([]*kept, 30)
		peers := make([]*net.TCPConn, len(idle))
		for i := range idle {
			idle[i], peers[i] = newKept(t, l)
		}
		l.idle(t)
		release := holdThread(t, l)
		defer release()
		a := &asker{about: idle, known: make(chan bool, 1)}
		fd, peer := tcpPair(t)
		a.task.Init(l, a)
		a.conn.KeepReceiving()
		if err := a.conn.Bind(fd, &a.task); err != nil {
			t.Fatal(err)
		}
		say(t, peer, "-") // the loop has another leader now
		await(t, "a new leader", a.known)
		for i := range idle {
			say(t, peers[i], "unasked")
			arrived(t, peers[i])
			say(t, peer, string(rune(i)))
			if !await(t, fmt.Sprint("an answer about ", i), a.known) {
				t.Errorf("connection %d passes for silent", i)
			}
		}
		release()
		say(t, peer, "+")
		await(t, "the end", a.known)
	})
}

// TestSilentWithoutLook: nor does one that has said something since the loop's last
// look at the kernel, for what a handler reads may be as new.
func TestSilentWithoutLook(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		k, peer := newKept(t, l)
		l.idle(t)
		done := make(chan bool, 1)
		var task Task
		first := true
		start(l, &task, handlerFunc(func() {
			if !first {
				return
			}
			first = false
			k.conn.Attach(&task)
			before := k.conn.Silent()
			say(t, peer, "unasked")
			arrived(t, peer)
			done <- before && !k.conn.Silent()
			k.task.Retire()
			task.Retire()
			_ = k.conn.Close()
		}))
		if !await(t, "an answer", done) {
			t.Error("not silent before, or silent after")
		}
	})
}

// arrived waits until all that was sent is at the other end.
func arrived(t *testing.T, from *net.TCPConn) {
	t.Helper()
	raw, err := from.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	unsent := int32(1)
	for end := time.Now().Add(patience); unsent > 0; {
		err := raw.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&unsent)))
		})
		if err != nil || time.Now().After(end) {
			t.Error("not all has arrived: ", err)
			return
		}
	}
}

// holdThread has a handler compute, without a system call, until it is released.
func holdThread(t *testing.T, l *Loop) (release func()) {
	var task Task
	var over atomic.Bool
	began, ended := make(chan struct{}), make(chan struct{})
	first := true
	start(l, &task, handlerFunc(func() {
		if !first {
			return
		}
		first = false
		close(began)
		for !over.Load() {
		}
		task.Retire()
		close(ended)
	}))
	await(t, "a busy thread", began)
	return sync.OnceFunc(func() {
		over.Store(true)
		await(t, "a free thread", ended)
	})
}

// kept is a connection on which nothing is expected.
type kept struct {
	task Task
	conn Conn
	told bool // of anything after the first read
	read bool
}

func newKept(t *testing.T, l *Loop) (*kept, *net.TCPConn) {
	t.Helper()
	fd, peer := tcpPair(t)
	k := &kept{}
	k.task.Init(l, k)
	k.conn.KeepReceiving()
	if err := k.conn.Bind(fd, &k.task); err != nil {
		t.Fatal(err)
	}
	return k, peer
}

func (k *kept) Run() {
	if !k.read {
		_, err := k.conn.Read(make([]byte, 1))
		k.read = errors.Is(err, ErrAgain)
		return
	}
	k.told = true
}

// asker is asked over a connection whether others are known to have said something.
type asker struct {
	task  Task
	conn  Conn
	about []*kept
	known chan bool
}

func (a *asker) Run() {
	var b [2]byte // one more than comes: then all was read
	n, err := a.conn.Read(b[:])
	switch {
	case n == 0 && errors.Is(err, ErrAgain):
	case n == 0 || b[0] == '+':
		a.close()
	case b[0] == '-':
		a.known <- true
	default:
		k := a.about[b[0]]
		if !k.told {
			k.conn.Attach(&a.task)
		}
		a.known <- k.told || !k.conn.Silent()
	}
}

func (a *asker) close() {
	for _, k := range a.about {
		k.task.Retire()
		_ = k.conn.Close()
	}
	a.task.Retire()
	_ = a.conn.Close()
	a.known <- true
}

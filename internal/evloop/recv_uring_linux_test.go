package evloop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// reader reads a connection while it may, and notes what has come.
type reader struct {
	task Task
	conn Conn
	may  atomic.Bool
	then atomic.Pointer[func()] // done once when all was read, before the loop goes on
	got  []byte
	err  error
	read chan int // how much has come in all, after each turn
	over chan struct{}
}

// newReader gives a connection of which the kernel goes on receiving.
func newReader(t testing.TB, l *Loop) (*reader, *net.TCPConn) {
	t.Helper()
	fd, peer := tcpPair(t)
	r := &reader{read: make(chan int, 1000), over: make(chan struct{})}
	r.may.Store(true)
	r.task.Init(l, r)
	r.conn.KeepReceiving()
	if err := r.conn.Bind(fd, &r.task); err != nil {
		t.Fatal(err)
	}
	return r, peer
}

func (r *reader) Run() {
	before := len(r.got)
	for r.err == nil && (r.may.Load() || r.conn.IsCut()) {
		var b [4 << 10]byte
		n, err := r.conn.Read(b[:])
		r.got = append(r.got, b[:n]...)
		switch {
		case err == nil:
			continue
		case !errors.Is(err, ErrAgain):
			r.err = err
			r.task.Retire()
			_ = r.conn.Close()
			close(r.over)
		}
		break
	}
	if len(r.got) > before {
		r.read <- len(r.got)
	}
	if f := r.then.Swap(nil); f != nil {
		(*f)()
	}
}

// upTo waits for bytes up to a number.
func (r *reader) upTo(t testing.TB, n int) {
	t.Helper()
	for limit := time.After(patience); ; {
		select {
		case got := <-r.read:
			if got >= n {
				return
			}
		case <-limit:
			t.Fatalf("not all of %d bytes have come", n)
		}
	}
}

func say(t testing.TB, to net.Conn, text string) {
	t.Helper()
	if _, err := to.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestMessagesThatWait: what comes while nobody reads is read in its order, up to
// the end or a reset.
func TestMessagesThatWait(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn) error{
		"end":   (*net.TCPConn).CloseWrite,
		"reset": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				l := g.Loops()[0]
				r, peer := newReader(t, l)
				var want bytes.Buffer
				for i := range 30 {
					text := string(rune('a' + i))
					want.WriteString(text)
					say(t, peer, text)
					l.idle(t)
					switch i {
					case 2, 12, 25: // from now on it waits
						r.upTo(t, want.Len())
						r.may.Store(false)
					case 8, 20:
						r.may.Store(true)
						r.task.Poke()
						r.upTo(t, want.Len())
					}
				}
				if err := end(peer); err != nil {
					t.Fatal(err)
				}
				l.idle(t)
				r.may.Store(true)
				r.task.Poke()
				await(t, "the end", r.over)
				switch name {
				case "end":
					if r.err != io.EOF || string(r.got) != want.String() {
						t.Errorf("%q, %v", r.got, r.err)
					}
				case "reset":
					// What was in the socket is lost with a reset.
					if !errors.Is(r.err, syscall.ECONNRESET) && r.err != io.EOF || !bytes.HasPrefix(want.Bytes(), r.got) {
						t.Errorf("%q, %v", r.got, r.err)
					}
				}
			})
		})
	}
}

// TestMessagesOfAllSizes: short and long ones after each other, some read at once
// and some not, arrive as they were sent.
func TestMessagesOfAllSizes(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		r, peer := newReader(t, l)
		rnd := rand.New(rand.NewPCG(1, 2))
		sizes := []int{1, 100, uringBufferSize - 1, uringBufferSize, uringBufferSize + 1, 3 * uringBufferSize, 20_000}
		var want []byte
		for i := range 400 {
			size := sizes[0]
			if i%3 > 0 || i > 300 {
				size = sizes[rnd.IntN(len(sizes))]
			}
			p := make([]byte, size)
			for j := range p {
				p[j] = byte(rnd.Uint32())
			}
			waits := rnd.IntN(4) == 0
			r.may.Store(!waits)
			want = append(want, p...)
			say(t, peer, string(p))
			if waits && rnd.IntN(2) == 0 {
				l.idle(t)
			}
			if r.may.Store(true); waits {
				r.task.Poke()
			}
			if rnd.IntN(3) > 0 {
				r.upTo(t, len(want))
			}
		}
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		await(t, "the end", r.over)
		if r.err != io.EOF || !bytes.Equal(r.got, want) {
			t.Errorf("%d bytes of %d have come, %v", len(r.got), len(want), r.err)
		}
	})
}

// lentBuffers is how many buffers of a ring are with the kernel, below 0 if it
// does not tell, as kernels before 6.8.
func lentBuffers(t testing.TB, r *uring) int {
	t.Helper()
	status := struct {
		group, head uint32
		_           [8]uint32
	}{}
	const registerBufferStatus = 26
	switch errno := r.register(registerBufferStatus, unsafe.Pointer(&status), 1); errno {
	case 0:
		return int(r.lentTail - uint16(status.head))
	case syscall.EINVAL: // not known
	default:
		t.Fatal(errno)
	}
	return -1
}

// TestClosedGiveBuffersBack: a connection that is closed with answers that nobody
// has read leaves nothing behind.
func TestClosedGiveBuffersBack(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		if l.uring == nil || lentBuffers(t, l.uring) < 0 {
			return
		}
		for range uringBuffers / 2 {
			r, peer := newReader(t, l)
			say(t, peer, "first")
			r.upTo(t, 5)
			r.may.Store(false)
			for range 3 {
				say(t, peer, "then")
				l.idle(t)
			}
			r.conn.Cut()
			await(t, "the end", r.over)
			_ = peer.Close()
		}
		l.idle(t)
		if n := lentBuffers(t, l.uring); n != uringBuffers {
			t.Errorf("%d buffers of %d are with the kernel", n, uringBuffers)
		}
	})
}

// TestOtherLeader: a connection goes on when another goroutine leads its loop,
// whatever thread that is on, and whatever the old one does.
func TestOtherLeader(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		r, peer := newReader(t, l)
		total := 0
		for i := range 20 {
			var wait [1]int32
			release := make(chan struct{})
			var task Task
			detached := make(chan struct{})
			task.Init(l, handlerFunc(func() {
				task.Detach()
				task.Retire()
				close(detached)
				// The thread is busy in the kernel, so that the next leader has another.
				if i%2 == 0 {
					limit := syscall.NsecToTimespec(int64(5 * time.Millisecond))
					const futexWaitPrivate = 128
					_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&wait)), futexWaitPrivate, 0,
						uintptr(unsafe.Pointer(&limit)), 0, 0)
				}
				<-release
			}))
			task.Poke()
			await(t, "another leader", detached)
			for range 3 {
				total++
				say(t, peer, "x")
				r.upTo(t, total)
			}
			close(release)
		}
	})
}

// TestResetAfterData: a reset that comes right after data is seen by who has read
// the data, and by who reads it later.
func TestResetAfterData(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0]
		for i := range 200 {
			r, peer := newReader(t, l)
			if i%2 == 0 {
				say(t, peer, "first")
				r.upTo(t, 5)
			}
			last := func() {
				if _, err := peer.Write([]byte("last")); err != nil {
					t.Error(err)
				}
				if err := errors.Join(peer.SetLinger(0), peer.Close()); err != nil {
					t.Error(err)
				}
			}
			switch i % 6 {
			case 0, 1: // before the kernel is asked to receive
				r.then.Store(&last)
				r.task.Poke()
			case 2, 3:
				last()
			default: // while nobody reads
				r.may.Store(false)
				last()
				l.idle(t)
				r.may.Store(true)
				r.task.Poke()
			}
			await(t, "the end", r.over)
		}
	})
}

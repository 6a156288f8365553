package evloop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

func await[T any](t testing.TB, what string, done <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-done:
	case <-time.After(patience):
		t.Fatal("never: ", what)
	}
	return v
}

// start runs a handler on a loop's goroutine.
func start(l *Loop, t *Task, h Handler) {
	t.Init(l, h)
	t.SetDeadline(1)
}

// TestYieldInTurn: tasks that yield run in turn.
func TestYieldInTurn(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		const tasks, rounds = 5, 1000
		var order []int // of the loop's goroutine
		var all [tasks]Task
		done := make(chan struct{})
		for i := range all {
			left := rounds
			start(g.Loops()[0], &all[i], handlerFunc(func() {
				if left == 0 {
					return
				}
				order = append(order, i)
				if left--; left > 0 {
					all[i].Yield()
				} else if len(order) == tasks*rounds {
					close(done)
				}
			}))
		}
		await(t, "the end of all tasks", done)
		for i := range all {
			all[i].Retire()
		}
		if err := inTurn(order, tasks); err != nil {
			t.Error(err)
		}
	})
}

// inTurn says whether, while all of them are at work, each runs once between
// two runs of another.
func inTurn(order []int, tasks int) error {
	begun, end := map[int]bool{}, map[int]int{}
	for at, i := range order {
		end[i] = at
	}
	last := len(order)
	for _, at := range end {
		last = min(last, at)
	}
	previous := map[int]int{}
	for at, i := range order[:last] {
		if len(begun) == tasks {
			if gap := at - previous[i]; gap != tasks {
				return fmt.Errorf("run %d is of task %d, %d runs after its last one", at, i, gap)
			}
		}
		begun[i], previous[i] = true, at
	}
	return nil
}

// pair gives the two ends of a connection.
func pair(t testing.TB) [2]int {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds
}

// TestYieldAfterEvents: what is ready when a task yields goes before its next
// turn.
func TestYieldAfterEvents(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l, fds, rounds := g.Loops()[0], pair(t), 200
		var writer, reader Task
		var in, out Conn
		var heard, said int
		done := make(chan struct{})
		reader.Init(l, handlerFunc(func() {
			var b [8]byte
			n, _ := in.Read(b[:])
			heard += n
		}))
		if err := in.Bind(fds[0], &reader); err != nil {
			t.Fatal(err)
		}
		// An event that comes during Bind is dealt with by a turn of the queue,
		// which may come after the writer's.
		l.idle(t)
		for end := time.Now().Add(patience); reader.state.Load() != idle; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the reader is never idle")
			}
		}
		writer.Init(l, handlerFunc(func() {
			switch {
			case !writer.Inline() || said > rounds:
				return
			case said != heard:
				t.Errorf("%d bytes are said, and %d heard before the next turn", said, heard)
				fallthrough
			case said == rounds:
				said = rounds + 1
				close(done)
				return
			}
			if n, err := out.Write([]byte("x")); n != 1 {
				t.Errorf("write: %v", err)
			}
			said++
			writer.Yield()
		}))
		if err := out.Bind(fds[1], &writer); err != nil {
			t.Fatal(err)
		}
		await(t, "the last byte", done)
		l.idle(t)
		_, _ = in.Close(), out.Close()
	})
}

// idle waits until the loop has nothing to do any more. A handler that it was taken
// from may still run.
func (l *Loop) idle(t testing.TB) {
	t.Helper()
	done := make(chan struct{})
	var last Task
	var once sync.Once
	start(l, &last, handlerFunc(func() { once.Do(func() { close(done) }) }))
	await(t, "a free loop", done)
	last.Retire()
}

// busy is a task that always has more to do.
type busy struct {
	task  Task
	turns atomic.Int64
	stop  atomic.Bool
	ended chan struct{}
	over  bool
	work  time.Duration // of one turn
}

func newBusy(l *Loop, work time.Duration) *busy {
	b := &busy{work: work, ended: make(chan struct{})}
	start(l, &b.task, b)
	return b
}

func (b *busy) Run() {
	switch {
	case b.over:
	case b.stop.Load():
		b.over = true
		close(b.ended)
	default:
		for end := time.Now().Add(b.work); time.Now().Before(end); {
		}
		b.turns.Add(1)
		b.task.Yield()
	}
}

func (b *busy) end(t testing.TB) {
	t.Helper()
	b.stop.Store(true)
	await(t, "the end of a busy task", b.ended)
	b.task.Retire()
}

// TestYieldStarvesNobody: next to tasks that always have more to do, events come,
// deadlines strike and pokes arrive; and next to events that always come, those
// tasks go on.
func TestYieldStarvesNobody(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l := g.Loops()[0] // the client and the test need a processor, too
		all := []*busy{newBusy(l, 50*time.Microsecond), newBusy(l, 50*time.Microsecond)}
		var echoes sync.Map
		addr, stop := serve(t, g, func(a Accepted) {
			a.Loop = l
			echoes.Store(newEcho(t, a, false), nil)
		})
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 { // events
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 { // deadlines
			l.idle(t)
		}
		for _, b := range all { // and the busy ones
			before := b.turns.Load()
			for end := time.Now().Add(patience); b.turns.Load() < before+10; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("a task that has yielded does not run")
				}
			}
		}
		exchange(t, addr, 1)
		for _, b := range all {
			b.end(t)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		echoes.Range(func(e, _ any) bool { await(t, "the end of a connection", e.(*echo).closed); return true })
		stop()
	})
}

// TestYieldAfterDetach: a task that has left its loop comes back to it, also
// while the loop sleeps, and also one from which the loop was taken.
func TestYieldAfterDetach(t *testing.T) {
	for name, leave := range map[string]func(*Task){
		"detached": (*Task).Detach,
		"taken":    func(t *Task) { t.loop.takeAway(t.loop.lead.Load()) },
		"stuck":    func(*Task) { time.Sleep(100 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				l, turns := g.Loops()[0], 200
				if name == "stuck" {
					turns = 4
				}
				var task Task
				done := make(chan struct{})
				start(l, &task, handlerFunc(func() {
					switch turns--; {
					case turns < 0:
						return
					case turns == 0:
						close(done)
						return
					case !task.Inline():
						t.Error("the task has not come back")
					}
					if turns%2 == 0 {
						leave(&task)
					}
					task.Yield()
				}))
				await(t, "the last turn", done)
				task.Retire()
			})
		})
	}
}

// TestCutWhileQueued: a connection whose task waits for its turn can be ended
// from elsewhere.
func TestCutWhileQueued(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		l, fds := g.Loops()[0], pair(t)
		defer syscall.Close(fds[1])
		other := newBusy(l, time.Millisecond)
		var task Task
		var c Conn
		turns := make(chan struct{}, 1)
		closed := make(chan struct{})
		over := false
		task.Init(l, handlerFunc(func() {
			select {
			case turns <- struct{}{}:
			default:
			}
			switch {
			case over:
			case c.IsCut():
				over = true
				task.Retire()
				_ = c.Close()
				close(closed)
			default:
				task.Yield()
			}
		}))
		if err := c.Bind(fds[0], &task); err != nil {
			t.Fatal(err)
		}
		await(t, "a turn", turns)
		g.Each(func(c *Conn) { c.Cut() })
		await(t, "the end of the connection", closed)
		other.end(t)
	})
}

// TestYieldStress: tasks that yield, detach, wait and return as it comes, and
// are poked from outside meanwhile, never overlap themselves, and every poke is
// followed by a run.
func TestYieldStress(t *testing.T) {
	both(t, func(t *testing.T, g *Group) {
		var wg sync.WaitGroup
		for i := range 16 {
			s := &restless{random: rand.New(rand.NewPCG(uint64(i), 1)), seen: make(chan int64, 1)}
			s.task.Init(g.Loops()[i%2], s)
			wg.Go(func() { s.drive(t, 100) })
		}
		wg.Wait()
	})
}

type restless struct {
	task   Task
	random *rand.Rand // of the owner
	inside atomic.Int32
	asked  atomic.Int64
	told   int64
	left   int // turns up to the answer
	seen   chan int64
}

func (s *restless) drive(t *testing.T, rounds int64) {
	for i := int64(1); i <= rounds; i++ {
		s.asked.Store(i)
		if i%3 == 0 { // by the loop
			s.task.loop.arm(&s.task.timer, 1)
			s.task.deadline.Store(1)
		}
		s.task.Poke()
		select {
		case got := <-s.seen:
			if got != i {
				t.Errorf("saw %d, want %d", got, i)
				return
			}
		case <-time.After(patience):
			t.Errorf("poke %d is lost", i)
			return
		}
	}
	if s.inside.Load() < 0 {
		t.Error("two runs of one task overlap")
	}
	s.task.Retire()
}

func (s *restless) Run() {
	if !s.inside.CompareAndSwap(0, 1) {
		s.inside.Store(-1 << 20)
	}
	defer s.inside.CompareAndSwap(1, 0)
	asked := s.asked.Load()
	if asked == s.told {
		return
	}
	if s.left == 0 {
		s.left = 1 + s.random.IntN(6)
	}
	if s.random.IntN(4) == 0 {
		s.task.Detach()
	}
	if s.left--; s.left > 0 {
		s.task.Yield()
		return
	}
	s.told = asked
	s.seen <- asked
	if s.random.IntN(3) == 0 { // once more, for nothing
		s.task.Yield()
	}
}

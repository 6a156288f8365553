package cluster

import (
	"cmp"
	"net"
	"slices"
	"testing"
	"time"
)

// TestDeadLeaderIsReplacedAtOnce: when the leader's process dies, there is another
// one before raft's own timeouts would even notice, also if the node whose turn it
// is first has died before.
func TestDeadLeaderIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	for name, died := range map[string]int{"alone": 0, "after another": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inLab(t, func(t *testing.T, l *lab) {
				for i := range 5 {
					l.start(i, func(c *Config) {
						expecting(5)(c)
						c.Timing.Heartbeat, c.Timing.Election = 10*time.Second, 10*time.Second
					})
				}
				leader := waitLeader(t, l.nodes...)
				put(t, leader, "before")
				turns := slices.SortedFunc(slices.Values(l.nodes), func(a, b *Node) int { return cmp.Compare(a.id, b.id) })
				var dead, rest []*Node
				for _, n := range turns {
					switch {
					case n == leader:
					case len(dead) < died:
						dead = append(dead, n)
					default:
						rest = append(rest, n)
					}
				}
				for _, n := range rest {
					holds(t, n, "before")
				}
				for _, n := range dead {
					crash(t, n)
				}
				start := time.Now()
				crash(t, leader)
				next := waitLeader(t, rest...)
				put(t, next, "after")
				if took := time.Since(start); took > 2*time.Second { // virtual; raft alone needs ten
					t.Errorf("the next leader leads after %v", took)
				}
				for _, n := range rest {
					holds(t, n, "after")
				}
			})
		})
	}
}

// TestLeaderThatAnswersStays: connections that end are no reason to replace a
// leader that is there.
func TestLeaderThatAnswersStays(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		for i := range 3 {
			l.start(i, expecting(3))
		}
		leader := waitLeader(t, l.nodes...)
		term := leader.raft.CurrentTerm()
		for range 20 {
			for _, n := range l.nodes {
				wake(n.streams.broken)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waitLeader(t, l.nodes...) != leader || leader.raft.CurrentTerm() != term {
			t.Error("the leader was replaced")
		}
	})
}

// lingering is a network whose port takes connections for a while after it was
// closed, only to end them, as that of a process does of which the kernel has
// closed the connections first.
type lingering struct {
	Network
	port *lingeringPort
}

func (l *lingering) Listen(address string) (net.Listener, net.PacketConn, error) {
	if l.port != nil {
		_ = l.port.Listener.Close() // it has lingered long enough
	}
	ln, packets, err := l.Network.Listen(address)
	if err != nil {
		return nil, nil, err
	}
	l.port = &lingeringPort{Listener: ln, conns: make(chan net.Conn), closed: make(chan struct{})}
	go l.port.accept()
	return l.port, packets, nil
}

type lingeringPort struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
}

func (p *lingeringPort) accept() {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return
		}
		select {
		case p.conns <- conn:
		case <-p.closed:
			_ = conn.Close() // nobody is there to be told
		}
	}
}

func (p *lingeringPort) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *lingeringPort) Close() error {
	close(p.closed)
	time.AfterFunc(100*time.Millisecond, func() { _ = p.Listener.Close() })
	return nil
}

// TestDeadLeaderWhosePortLingers: neither a port that takes connections for a while
// after the leader's process has died, nor one that has begun in its place before
// anybody looked, keep the others from having a leader at once.
func TestDeadLeaderWhosePortLingers(t *testing.T) {
	t.Parallel()
	for name, restarts := range map[string]bool{"for a while": false, "until it has started again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inLab(t, func(t *testing.T, l *lab) {
				slow := func(c *Config) {
					expecting(3)(c)
					c.Timing.Heartbeat, c.Timing.Election = 10*time.Second, 10*time.Second
					c.Network = &lingering{Network: c.Network}
				}
				for i := range 3 {
					l.start(i, slow)
				}
				leader := waitLeader(t, l.nodes...)
				put(t, leader, "before")
				at := slices.Index(l.nodes, leader)
				rest := slices.Delete(slices.Clone(l.nodes), at, at+1)
				for _, n := range rest {
					holds(t, n, "before")
				}
				start := time.Now()
				crash(t, leader)
				if restarts {
					rest = append(rest, l.start(at, func(c *Config) {
						slow(c)
						c.DataDir, c.Network = leader.conf.DataDir, leader.conf.Network
					}))
				}
				put(t, waitLeader(t, rest...), "after")
				if took := time.Since(start); took > 2*time.Second { // virtual; raft alone needs ten
					t.Errorf("the next leader leads after %v", took)
				}
				for _, n := range rest {
					holds(t, n, "after")
				}
			})
		})
	}
}

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

func TestCallLeader(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 2)
	leader := waitLeader(t, nodes...)
	follower := nodes[0]
	if follower == leader {
		follower = nodes[1]
	}
	leader.Handle("echo", func(_ context.Context, body []byte) ([]byte, error) { return append([]byte("leader: "), body...), nil })
	follower.Handle("echo", func(context.Context, []byte) ([]byte, error) { return []byte("follower"), nil })
	leader.Handle("fail", func(context.Context, []byte) ([]byte, error) { return nil, errors.New("out of order") })
	for _, n := range nodes {
		got, err := n.CallLeader(t.Context(), "echo", []byte("hi"))
		if err != nil || string(got) != "leader: hi" {
			t.Errorf("%s: %q, %v", n.Name(), got, err)
		}
		if _, err := n.CallLeader(t.Context(), "fail", nil); err == nil || err.Error() != "out of order" {
			t.Errorf("%s: a handler's error arrives as %v", n.Name(), err)
		}
		if _, err := n.CallLeader(t.Context(), "none/../x", nil); !errors.Is(err, ErrUnknownCall) {
			t.Errorf("%s: unknown call: %v", n.Name(), err)
		}
	}
	for from, to := range map[*Node]*Node{leader: follower, follower: leader} {
		want := map[*Node]string{leader: "leader: hi", follower: "follower"}[to]
		if got, err := from.CallNode(t.Context(), to.ID(), "echo", []byte("hi")); err != nil || string(got) != want {
			t.Errorf("call of %s: %q, %v", to.Name(), got, err)
		}
		if _, err := from.CallNode(t.Context(), to.ID(), "none/../x", nil); !errors.Is(err, ErrUnknownCall) {
			t.Errorf("unknown call of %s: %v", to.Name(), err)
		}
	}
	if _, err := follower.CallNode(t.Context(), follower.ID(), "echo", nil); err != nil {
		t.Errorf("a node calls itself: %v", err)
	}
	if _, err := follower.CallNode(t.Context(), "nobody", "echo", nil); err == nil {
		t.Error("a call of a node that is not there has an answer")
	}
	if _, err := follower.ApplyLocal(t.Context(), create("x")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("apply on a follower: %v", err)
	}
	if result, err := leader.ApplyLocal(t.Context(), create("x")); err != nil || result.Err != nil {
		t.Errorf("apply on the leader: %v, %v", result, err)
	}
	crash(t, leader)
	eventually(t, func() error {
		if _, err := follower.CallLeader(t.Context(), "echo", nil); !errors.Is(err, ErrNoLeader) {
			return fmt.Errorf("call without a leader: %v", err)
		}
		return nil
	})
}

func TestARepeatedRequestIsAnsweredAsTheFirst(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 3)
	command := create("once")
	first, err := nodes[0].Apply(t.Context(), command)
	if err != nil || first.Err != nil {
		t.Fatalf("%v, %v", first, err)
	}
	for _, n := range nodes {
		again, err := n.Apply(t.Context(), command)
		if err != nil || again.Err != nil || again.Index != first.Index || again.Entities[0].CreateIndex != first.Index {
			t.Errorf("%s: %+v, %v", n.Name(), again, err)
		}
	}
	refused := create("once")
	for _, n := range nodes {
		result, err := n.Apply(t.Context(), refused)
		if err != nil || result.Err == nil || result.Err.Code != fsm.CodeUnique {
			t.Errorf("%s: a name taken gives %+v, %v", n.Name(), result, err)
		}
	}
}

// lossy loses the answers to calls.
type lossy struct {
	Network
	lose atomic.Int32 // so many more
}

func (l *lossy) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := l.Network.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &lossyConn{Conn: conn, from: l}, nil
}

type lossyConn struct {
	net.Conn
	from   *lossy
	kind   atomic.Uint32 // the first byte written
	writes atomic.Bool   // an apply was written
}

func (c *lossyConn) Write(p []byte) (int, error) {
	c.kind.CompareAndSwap(0, uint32(p[0]))
	if bytes.Contains(p, []byte(pathApply)) {
		c.writes.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if streamKind(c.kind.Load()) == streamCall && c.writes.Load() && n > 0 && c.from.lose.Add(-1) >= 0 {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Conn.Close())
	}
	return n, err
}

func TestALostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	first := open(t, config(t, t.TempDir()))
	waitLeader(t, first)
	network := &lossy{Network: hostNetwork{}}
	conf := config(t, t.TempDir())
	conf.Join, conf.Network = []string{first.Address()}, network
	n := open(t, conf)
	put(t, n, "undisturbed")
	eventually(t, func() error {
		if n.IsLeader() || n.Voters() != 2 {
			return errors.New("not a voting follower")
		}
		return nil
	})

	network.lose.Store(2)
	index := put(t, n, "answer lost twice")
	if network.lose.Load() >= 0 {
		t.Error("no answer was lost: the test proves nothing")
	}
	if e := first.conf.Machine.View().Lookup("consumers", "answer lost twice"); e == nil || e.CreateIndex != index {
		t.Errorf("entity %+v, index %d", e, index)
	}

	// A limiter entry has no request id: it must not be sent twice.
	network.lose.Store(1)
	_, err := n.Apply(t.Context(), &fsm.Command{Version: fsm.CommandVersion, Type: fsm.CommandLimits})
	if !errors.Is(err, ErrOutcomeUnknown) && network.lose.Load() < 0 {
		t.Errorf("limiter entry: %v, want %v", err, ErrOutcomeUnknown)
	}
}

func TestApplyRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	n := open(t, config(t, t.TempDir()))
	waitLeader(t, n)
	c := &fsm.Command{Version: fsm.CommandVersion, Type: fsm.CommandStage, Stage: &fsm.Stage{Data: make([]byte, MaxCommand)}}
	if _, err := n.Apply(t.Context(), c); !errors.Is(err, ErrCommandTooLarge) {
		t.Errorf("error %v, want %v", err, ErrCommandTooLarge)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Apply(ctx, create("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// TestLargeWrite: a write of many entries of the log is one change, on every node.
func TestLargeWrite(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 3)
	c := fsm.NewWrite("", 1)
	for i := range 1200 {
		one := create(fmt.Sprintf("%d-%s", i, strings.Repeat("x", 500)))
		c.Write.Ops = append(c.Write.Ops, one.Write.Ops...)
	}
	result, err := nodes[2].Apply(t.Context(), c)
	if err != nil || result.Err != nil {
		t.Fatalf("%v, %v", result, err)
	}
	for _, n := range nodes {
		if err := n.conf.Machine.Wait(t.Context(), result.Index); err != nil {
			t.Fatal(err)
		}
		history := n.conf.Machine.View().History()
		if last := history[len(history)-1]; last.Index != result.Index || len(last.Entities) != 1200 {
			t.Errorf("%s: the last change is at %d, of %d entities", n.Name(), last.Index, len(last.Entities))
		}
	}
}

// TestLargeWriteTakesTime: a write that a leader works on for longer than a call may last
// is waited for, also by another node.
func TestLargeWriteTakesTime(t *testing.T) {
	t.Parallel()
	// None of the three shall lose the lead because it is busy.
	patient := func(join ...string) *Node {
		conf := config(t, t.TempDir())
		conf.Join, conf.Timing.Heartbeat, conf.Timing.Election, conf.Timing.Lease = join, 3*time.Second, 3*time.Second, 2*time.Second
		return open(t, conf)
	}
	nodes := []*Node{patient()}
	leader := waitLeader(t, nodes...)
	nodes = append(nodes, patient(leader.Address()), patient(leader.Address()))
	waitVoters(t, nodes...)
	var other *Node
	for _, n := range nodes {
		if n != leader {
			other = n
		}
	}
	conf := config(t, other.conf.DataDir)
	conf.Timing.Heartbeat, conf.Timing.Election, conf.Timing.Lease = 3*time.Second, 3*time.Second, 2*time.Second
	conf.Join, conf.Timing.Call, conf.Timing.Hold = []string{leader.Address()}, 2*time.Millisecond, time.Millisecond
	conf.Listen = other.Address()
	if err := other.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	other = open(t, conf)
	eventually(t, func() error {
		if !other.HasLeader() {
			return errors.New("no leader is known")
		}
		return nil
	})
	parts, err := func() ([]*fsm.Command, error) {
		c := fsm.NewWrite("large", 1)
		for i := range 1000 {
			c.Write.Ops = append(c.Write.Ops, create(fmt.Sprintf("%d-%s", i, strings.Repeat("x", 500))).Write.Ops...)
		}
		return c.Split("parts", MaxCommand)
	}()
	if err != nil || len(parts) < 2 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for _, part := range parts[:len(parts)-1] {
		if result, err := leader.Apply(t.Context(), part); err != nil || result.Err != nil {
			t.Fatalf("%v, %v", result, err)
		}
	}
	result, err := other.Apply(t.Context(), parts[len(parts)-1])
	if err != nil || result.Err != nil {
		t.Fatalf("%v, %v", result, err)
	}
}

// stuck is a data plane that serves nothing new.
type stuck struct{}

func (stuck) Index() uint64 { return 0 }
func (stuck) Wait(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestWaitAllNamesTheLate(t *testing.T) {
	t.Parallel()
	first := open(t, config(t, t.TempDir()))
	waitLeader(t, first)
	conf := config(t, t.TempDir())
	conf.Join, conf.Served, conf.NodeName = []string{first.Address()}, stuck{}, "late-one"
	second := open(t, conf)
	put(t, first, "seen")
	holds(t, second, "seen")
	index := put(t, second, "unserved")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	late, err := first.WaitAll(ctx, index)
	if err != nil || !slices.Equal(late, []string{"late-one"}) {
		t.Errorf("late: %v, %v", late, err)
	}
	if err := second.WaitServed(ctx, index); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("served: %v", err)
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, 3)
	put(t, nodes[0], "kept")
	leader := waitLeader(t, nodes...)
	if err := leader.Leave(t.Context()); err != nil {
		t.Fatalf("the leader leaves: %v", err)
	}
	if _, err := leader.Apply(context.Background(), create("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("a node that left: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(leader.conf.DataDir, "cluster"))
	if err != nil || len(left) > 0 {
		t.Errorf("the data directory still holds %v, %v", left, err)
	}
	var rest []*Node
	for _, n := range nodes {
		if n != leader {
			rest = append(rest, n)
		}
	}
	next := waitLeader(t, rest...)
	put(t, rest[0], "after")
	follower := rest[0]
	if follower == next {
		follower = rest[1]
	}
	if err := follower.Leave(t.Context()); err != nil {
		t.Fatalf("a follower leaves: %v", err)
	}
	put(t, next, "alone")
	if next.Voters() != 1 {
		t.Errorf("%d voters", next.Voters())
	}
	if err := next.Leave(t.Context()); !errors.Is(err, ErrLastVoter) {
		t.Errorf("the last one leaves: %v", err)
	}
	put(t, next, "still there")

	// The directory of a node that left makes a new node.
	conf := config(t, leader.conf.DataDir)
	conf.Join = []string{next.Address()}
	again := open(t, conf)
	if again.ID() == leader.ID() {
		t.Error("the id came back")
	}
	holds(t, again, "still there")
}

// A leave that was interrupted after it counted is finished by the next start.
func TestInterruptedLeaveIsFinished(t *testing.T) {
	t.Parallel()
	dir, id := written(t)
	d := &dataDir{path: filepath.Join(dir, "cluster")}
	if err := d.openLog(nil); err != nil {
		t.Fatal(err)
	}
	if err := d.readIdentity(); err != nil {
		t.Fatal(err)
	}
	d.node.Left = true
	if err := errors.Join(d.writeIdentity(), d.log.Close()); err != nil {
		t.Fatal(err)
	}
	n := open(t, config(t, dir))
	if n.ID() == id || has(n, "first") {
		t.Error("the node is still what it was")
	}
}

func TestErrorsKeepTheirIdentityBetweenNodes(t *testing.T) {
	t.Parallel()
	n := open(t, config(t, t.TempDir()))
	waitLeader(t, n)
	wrapped := []error{fmt.Errorf("more: %w", ErrOutcomeUnknown), fmt.Errorf("%w: %w", ErrNotLeader, ErrOutcomeUnknown)}
	for _, sentinel := range wireErrors() {
		wrapped = append(wrapped, sentinel, fmt.Errorf("%w: with more", sentinel))
	}
	for _, want := range wrapped {
		got := overTheWire(t, n, want)
		for _, sentinel := range []error{ErrOutcomeUnknown, ErrNotLeader, ErrBusy, ErrLastVoter, ErrAlive, ErrUnknownNode, ErrUnknownCall, ErrClosed, ErrCommandTooLarge} {
			if errors.Is(got, sentinel) != errors.Is(want, sentinel) {
				t.Errorf("%v became %v: is %v is %t", want, got, sentinel, errors.Is(got, sentinel))
			}
		}
	}
}

// overTheWire gives what another node makes of an error of this one.
func overTheWire(t *testing.T, n *Node, err error) error {
	t.Helper()
	server := httptest.NewServer(n.answer(func(*http.Request, []byte) ([]byte, error) { return nil, err }))
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return n.client.fromWire("x", res.Status, body)
}

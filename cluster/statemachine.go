package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// stateMachine shows the machine to raft. It opens what is sealed, so that the
// machine knows nothing of it.
type stateMachine struct {
	machine *fsm.Machine
	keys    *seal.Keys
	// sealWith gives the key of the next snapshot, nil for one in clear.
	sealWith func() *seal.Key
	// changed is called after a command that changed entities, configured after
	// raft committed other members, failed when the machine stands still. None may
	// block.
	changed, configured func()
	failed              func(error)

	// sealed is set once something sealed was met: from then on nothing is written
	// in clear.
	sealed atomic.Bool
	// halted is why no entry is applied any more.
	halted atomic.Pointer[error]

	// hurry is set when this node ends, and waits for its snapshot.
	hurry atomic.Bool

	restoreErr atomic.Pointer[error] // why the last Restore failed
	persisted  atomic.Uint64         // config index of the newest snapshot on disk
	seconds    atomic.Int64          // nanoseconds the last snapshot took to write
	rest       atomic.Int64          // nanoseconds after which the next may be begun
}

var (
	_ raft.FSM                = (*stateMachine)(nil)
	_ raft.ConfigurationStore = (*stateMachine)(nil)
)

// Apply implements raft.FSM; the answer is a *fsm.Result, or an error if the
// machine stands still.
func (s *stateMachine) Apply(entry *raft.Log) any {
	if why := s.halted.Load(); why != nil {
		return *why
	}
	data, err := s.open(entry.Data)
	if err != nil {
		return s.halt(fmt.Errorf("entry %d of the log: %w", entry.Index, err))
	}
	before := s.machine.ConfigIndex()
	result := s.machine.Apply(entry.Index, data)
	if s.machine.ConfigIndex() != before {
		s.changed()
	}
	return result
}

// open gives what is in an entry, sealed or not.
func (s *stateMachine) open(data []byte) ([]byte, error) {
	if !seal.IsSealed(data) {
		return data, nil
	}
	plain, err := s.keys.Open(kindEntry, data)
	if err == nil {
		s.sealed.Store(true)
	}
	return plain, err
}

// halt ends the applying of entries for good. To pass over one that others apply
// would be another state under the same index; so nothing is applied after it, and
// no snapshot is taken, which would claim that it was. The log has all of it for
// the next start.
func (s *stateMachine) halt(why error) error {
	why = fmt.Errorf("%w: %w", ErrHalted, why)
	if s.halted.CompareAndSwap(nil, &why) {
		s.failed(why)
	}
	return why
}

// StoreConfiguration implements raft.ConfigurationStore. Without it raft
// refuses a snapshot after a change of members until the next command.
func (s *stateMachine) StoreConfiguration(uint64, raft.Configuration) { s.configured() }

// Snapshot implements raft.FSM.
func (s *stateMachine) Snapshot() (raft.FSMSnapshot, error) {
	if why := s.halted.Load(); why != nil {
		return nil, *why
	}
	return &stateSnapshot{of: s, content: s.machine.Snapshot(), index: s.machine.ConfigIndex()}, nil
}

// Restore implements raft.FSM.
func (s *stateMachine) Restore(content io.ReadCloser) error {
	err := s.restore(content)
	if err != nil {
		err = fmt.Errorf("restore: %w", err)
		s.restoreErr.Store(&err)
		if missing := (*seal.MissingKeyError)(nil); errors.As(err, &missing) {
			return s.halt(err) // the leader would send it again for ever
		}
		return err
	}
	// The stream came from a file of this node's own store.
	s.persisted.Store(s.machine.ConfigIndex())
	s.configured()
	return nil
}

func (s *stateMachine) restore(content io.Reader) error {
	in := bufio.NewReader(content)
	head, err := in.Peek(seal.HeaderSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !seal.IsSealed(head) {
		return s.machine.Restore(in)
	}
	opened, err := s.keys.NewReader(in, kindSnapshot)
	if err != nil {
		return err
	}
	if err := s.machine.Restore(opened); err != nil {
		if why := opened.Err(); why != nil {
			return why // and not that it "ends early"
		}
		return err
	}
	s.sealed.Store(true)
	return nil
}

type stateSnapshot struct {
	of      *stateMachine
	content io.WriterTo
	index   uint64
}

// Persist implements raft.FSMSnapshot; raft cancels the sink on an error and
// closes it otherwise.
func (s *stateSnapshot) Persist(sink raft.SnapshotSink) error {
	start := time.Now()
	out := &easy{to: sink, hurry: &s.of.hurry, since: start}
	if err := s.write(out); err != nil {
		return err
	}
	if err := sink.Close(); err != nil {
		return err
	}
	took := time.Since(start)
	s.of.seconds.Store(int64(took))
	s.of.rest.Store(int64(max(10*(took-out.rested), min(60*out.worked, longestRare))))
	s.of.persisted.Store(s.index)
	return nil
}

func (s *stateSnapshot) write(w io.Writer) error {
	key := s.of.sealWith()
	if key == nil {
		_, err := s.content.WriteTo(w)
		return err
	}
	s.of.sealed.Store(true)
	out := key.NewWriter(w, kindSnapshot)
	if _, err := s.content.WriteTo(out); err != nil {
		return err
	}
	return out.Close()
}

// easy writes with pauses, three times as long as what is made and written between
// them takes. A snapshot follows each change; on a machine with few cores one that is
// written in one go keeps requests waiting for as long as that lasts, and even one
// with pauses some of them a little. So a large state, which takes 10 ms or more, is
// written less often while there is change after change: making it may take a
// sixtieth of the time, and a tenth with what the disk takes.
type easy struct {
	to    io.Writer
	hurry *atomic.Bool
	since time.Time // the last pause
	// worked is the time between the pauses, rested theirs.
	worked, rested time.Duration
}

const (
	// longestRest bounds a pause: a disk that hangs is waited for once and not again.
	longestRest = 2 * time.Millisecond
	// longestRare bounds how rare snapshots are for what it takes to make them.
	longestRare = 30 * time.Second
)

func (e *easy) Write(p []byte) (int, error) {
	n, err := e.to.Write(p)
	now := time.Now()
	e.worked += now.Sub(e.since)
	if err == nil && !e.hurry.Load() {
		time.Sleep(min(3*now.Sub(e.since), longestRest))
	}
	e.since = time.Now()
	e.rested += e.since.Sub(now)
	return n, err
}

// Release implements raft.FSMSnapshot: the memory collector does it.
func (s *stateSnapshot) Release() {}

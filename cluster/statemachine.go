package cluster

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/sluicegate/sluice/fsm"
)

// stateMachine shows the machine to raft.
type stateMachine struct {
	machine *fsm.Machine
	// changed is called after a command that changed entities, configured after
	// raft committed other members. Neither may block.
	changed, configured func()

	restoreErr atomic.Pointer[error] // why the last Restore failed
	persisted  atomic.Uint64         // config index of the newest snapshot on disk
	seconds    atomic.Int64          // nanoseconds the last snapshot took to write
}

var (
	_ raft.FSM                = (*stateMachine)(nil)
	_ raft.ConfigurationStore = (*stateMachine)(nil)
)

// Apply implements raft.FSM; the answer is a *fsm.Result.
func (s *stateMachine) Apply(entry *raft.Log) any {
	before := s.machine.ConfigIndex()
	result := s.machine.Apply(entry.Index, entry.Data)
	if s.machine.ConfigIndex() != before {
		s.changed()
	}
	return result
}

// StoreConfiguration implements raft.ConfigurationStore. Without it raft
// refuses a snapshot after a change of members until the next command.
func (s *stateMachine) StoreConfiguration(uint64, raft.Configuration) { s.configured() }

// Snapshot implements raft.FSM.
func (s *stateMachine) Snapshot() (raft.FSMSnapshot, error) {
	return &stateSnapshot{of: s, content: s.machine.Snapshot(), index: s.machine.ConfigIndex()}, nil
}

// Restore implements raft.FSM.
func (s *stateMachine) Restore(content io.ReadCloser) error {
	err := s.machine.Restore(content)
	if err != nil {
		err = fmt.Errorf("restore: %w", err)
		s.restoreErr.Store(&err)
		return err
	}
	// The stream came from a file of this node's own store.
	s.persisted.Store(s.machine.ConfigIndex())
	s.configured()
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
	if _, err := s.content.WriteTo(sink); err != nil {
		return err
	}
	if err := sink.Close(); err != nil {
		return err
	}
	s.of.seconds.Store(int64(time.Since(start)))
	s.of.persisted.Store(s.index)
	return nil
}

// Release implements raft.FSMSnapshot: the memory collector does it.
func (s *stateSnapshot) Release() {}

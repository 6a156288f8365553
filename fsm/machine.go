// Package fsm is the replicated state machine: what every node of a cluster
// knows, changed only by the commands of the Raft log, in their order. Apply is
// deterministic: no clock, no randomness, no map order, no I/O.
package fsm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/limiter/ledger"
)

// Machine applies commands and shows the state they made. Apply, Snapshot and
// Restore are called by one goroutine (raft's); everything else is safe for
// concurrent use.
type Machine struct {
	defs     []*Definition
	byKind   map[string]*Definition
	requests *requests
	version  uint64 // of the kind that changed last

	view atomic.Pointer[View]
	// restored is what the first Restore brought, until it is taken.
	restored atomic.Pointer[View]

	// mu guards what waits for the state to move.
	mu      sync.Mutex
	applied chan struct{} // closed by every command
	changed chan struct{} // closed by every command that changes entities

	// limitsMu guards the pointers to the ledger and to requests, which a Restore
	// changes, for those who are not the goroutine of Apply.
	limitsMu sync.RWMutex
	ledger   *ledger.Ledger
	onLimits func(*ledger.Outcome)
}

// New makes an empty machine. onLimits, if not nil, is called with the outcome
// of every limiter entry, in the order of the log, and after a Restore with the
// state that it brought; it must not block.
func New(onLimits func(*ledger.Outcome)) (*Machine, error) {
	defs := Definitions()
	m := &Machine{defs: defs, byKind: make(map[string]*Definition, len(defs)), onLimits: onLimits,
		applied: make(chan struct{}), changed: make(chan struct{})}
	for _, def := range defs {
		m.byKind[def.Kind] = def
	}
	m.requests = newRequests()
	m.ledger = ledger.New()
	m.view.Store(m.Empty())
	return m, nil
}

// Empty gives a state in which nothing is, at index 0.
func (m *Machine) Empty() *View { return &View{tables: newTables(m.defs), defs: m.byKind} }

// Definition gives what is known of a kind, or nil.
func (m *Machine) Definition(kind string) *Definition { return m.byKind[kind] }

// Definitions gives every kind, a referenced one before those that reference
// it. The slice must not be changed.
func (m *Machine) Definitions() []*Definition { return m.defs }

// View gives the newest state.
func (m *Machine) View() *View { return m.view.Load() }

// TakeRestored gives, once, the state that a Restore brought to the machine when it
// was empty: what a process that begins knows for certain was the configuration. nil
// if there was none.
func (m *Machine) TakeRestored() *View { return m.restored.Swap(nil) }

// Index is the log index of the last command applied.
func (m *Machine) Index() uint64 { return m.View().index }

// ConfigIndex is the log index of the last command that changed entities.
func (m *Machine) ConfigIndex() uint64 { return m.View().configIndex }

// ClusterID is "" before the first command of a cluster.
func (m *Machine) ClusterID() string { return m.View().clusterID }

// Changed is closed at the next command that changes entities. Take it before
// reading View, so that no change falls between.
func (m *Machine) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Wait returns once a command of this index or a later one has been applied.
func (m *Machine) Wait(ctx context.Context, index uint64) error {
	for {
		m.mu.Lock()
		applied := m.applied
		m.mu.Unlock()
		if m.Index() >= index {
			return nil
		}
		select {
		case <-applied:
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d: %w", index, context.Cause(ctx))
		}
	}
}

// Limits returns the ledger of rate limits, which is another one after a
// Restore.
func (m *Machine) Limits() *ledger.Ledger {
	m.limitsMu.RLock()
	defer m.limitsMu.RUnlock()
	return m.ledger
}

// Answered says whether this node remembers a write of a request id: then that is only
// answered and not done again, whatever else it says.
func (m *Machine) Answered(requestID string) bool {
	m.limitsMu.RLock()
	defer m.limitsMu.RUnlock()
	_, ok := m.requests.find(requestID)
	return ok
}

// applyLimits carries out a limiter entry.
func (m *Machine) applyLimits(c *Command, result *Result) {
	var e ledger.Entry
	if err := e.UnmarshalBinary(c.Limits); err != nil {
		result.Err = refused(fmt.Errorf("%w: %w", ErrMalformedCommand, err))
		return
	}
	result.Limits = m.Limits().Apply(&e)
	if m.onLimits != nil {
		m.onLimits(result.Limits)
	}
}

// Apply carries out one log entry. It never panics and never fails half-way: a
// command that cannot be applied changes nothing but the index.
func (m *Machine) Apply(index uint64, data []byte) *Result {
	now := m.View()
	if index <= now.index && index != 0 {
		return &Result{Index: index, Err: refused(fmt.Errorf("log entry %d was applied already", index))}
	}
	c, err := DecodeCommand(data)
	next := *now
	next.index = index
	result := &Result{Index: index}
	switch {
	case err != nil && c != nil && c.Ignorable():
	case err != nil:
		result.Err = refused(err)
	case c.Type == CommandInit:
		if next.clusterID == "" {
			next.clusterID = c.Init.ClusterID
		}
	case c.Type == CommandWrite:
		result = m.applyWrite(index, c, &next)
	case c.Type == CommandLimits:
		m.applyLimits(c, result)
	case c.Type == CommandStage:
		if next.staged, err = now.staged.after(index).with(index, c.Stage); err != nil {
			result.Err = refused(err)
		}
	}
	m.publish(&next, next.configIndex != now.configIndex)
	return result
}

func (m *Machine) applyWrite(index uint64, c *Command, next *View) *Result {
	next.staged = next.staged.after(index)
	if done, ok := m.requests.find(c.RequestID); ok {
		if c.Write.Parts != nil {
			next.staged = next.staged.without(c.Write.Parts.ID)
		}
		return done.result(next)
	}
	w, parts := c.Write, c.Write.Parts
	if parts != nil {
		var err error
		if w, err = next.staged.write(parts); err != nil {
			return &Result{Index: index, Err: refused(err)}
		}
		next.staged = next.staged.without(parts.ID)
	}
	// The write goes to copies of the indexes, which share all that is not written:
	// views made before never see it, and a refused one is forgotten.
	txn := newTxn(next.tables)
	entities, err := m.write(txn, index, w)
	if err != nil {
		m.requests.add(c.RequestID, w, index, err)
		return &Result{Index: index, Err: err}
	}
	changes := txn.changes()
	if err := next.record(index, w, changes); err != nil {
		return &Result{Index: index, Err: refused(err)}
	}
	next.tables, next.configIndex = txn.result(), index
	for _, change := range changes {
		m.touch(next.tables[change.def.number])
	}
	m.requests.add(c.RequestID, w, index, nil)
	if len(w.Ops) > opsRemembered {
		entities = nil
	}
	return &Result{Index: index, Entities: entities}
}

// touch gives a kind, in a view that is to come, a version that no view had before.
func (m *Machine) touch(t *table) {
	m.version++
	t.version = m.version
}

// publish makes a view the newest and wakes who waits for it.
func (m *Machine) publish(next *View, entitiesChanged bool) {
	m.view.Store(next)
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.applied)
	m.applied = make(chan struct{})
	if entitiesChanged {
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

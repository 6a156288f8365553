package fsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/limiter/ledger"
)

// CommandVersion is the envelope version this build writes. A log entry with
// a higher version was written by a newer build and is refused unless its type
// is ignorable.
const CommandVersion = 1

// CommandType says what a log entry does. Types with the high bit set may be
// skipped by a build that does not know them; any other unknown type stops
// the state machine, because skipping it would make replicas differ.
type CommandType uint8

// The command types of envelope version 1.
const (
	// CommandInit is the first command of a cluster: it gives the cluster its
	// id. Later ones change nothing.
	CommandInit CommandType = 1
	// CommandWrite changes entities: all of its operations or none.
	CommandWrite CommandType = 2
	// 3 was the limiter's entry before shares; it is refused like any unknown
	// type.

	// CommandBarrier changes nothing but the index. A node that has applied it
	// has applied every write that was answered before it was sent.
	CommandBarrier CommandType = 4
	// CommandLimits carries one limiter entry: the cluster's time, changes of
	// who has shares, and what nodes want of the pools, merged by the leader.
	CommandLimits CommandType = 5
	// CommandStage brings a part of a write that is too large for one entry.
	CommandStage CommandType = 6

	ignorable CommandType = 0x80
)

var (
	// ErrUnknownCommand is answered for a command type that this build does
	// not know and may not skip.
	ErrUnknownCommand = errors.New("unknown command")
	// ErrMalformedCommand is answered for a log entry that does not decode.
	ErrMalformedCommand = errors.New("malformed command")
)

// Command is the envelope of every log entry. Everything that is not
// deterministic (ids, times, random keys) is decided before the command is
// made, so that Apply gives the same state on every node.
type Command struct {
	Version int         `json:"v"`
	Type    CommandType `json:"t"`
	// RequestID makes a write idempotent: a second command with the same id
	// changes nothing and answers what the first one did. Empty: no such check.
	RequestID string `json:"r,omitempty"`
	// Init, Write, Limits and Stage are the payloads; exactly the one that Type
	// names is set, none for a barrier.
	Init   *Init  `json:"init,omitempty"`
	Write  *Write `json:"write,omitempty"`
	Limits []byte `json:"limits,omitempty"` // of a ledger.Entry
	Stage  *Stage `json:"stage,omitempty"`
}

// Init is the payload of CommandInit.
type Init struct {
	ClusterID string `json:"cluster_id"`
}

// Write is the payload of CommandWrite: operations applied in order, all or
// none.
type Write struct {
	// Now is the writer's time in unix seconds: entities whose time is over by
	// then are removed first. 0 removes none.
	Now int64 `json:"now,omitempty"`
	Ops []Op  `json:"ops"`
	// Parts is set, and nothing else, if the write was staged.
	Parts *Parts `json:"parts,omitempty"`
	// Whole says that the operations are one change of the configuration: an entity
	// may refer to one that comes later in the list, and take a name that another
	// one gives up. No entity may be listed twice.
	Whole bool `json:"whole,omitempty"`
	// Origin and Keep are for the history.
	Origin Origin `json:"origin,omitzero"`
	Keep   Keep   `json:"keep,omitzero"`
}

// Verb is what an operation does to its entity.
type Verb string

// The verbs of an operation.
const (
	// Create inserts; an existing id is a primary key violation.
	Create Verb = "create"
	// Put inserts or replaces.
	Put Verb = "put"
	// Update replaces; a missing id is not found.
	Update Verb = "update"
	// Delete removes the entity and what its references cascade to. A missing
	// id changes nothing and is no error.
	Delete Verb = "delete"
)

// Op is one change to one entity.
type Op struct {
	Verb Verb   `json:"verb"`
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Raw is the complete entity as JSON, fields of newer builds included.
	Raw json.RawMessage `json:"raw,omitempty"`
	// ExpiresAt is the unix time in seconds at which the entity vanishes
	// (credentials with a ttl); 0 is never.
	ExpiresAt int64 `json:"expires_at,omitempty"`
	// IfIndex, when not 0, is the modify index the entity must still have
	// (compare and set); otherwise the write is answered with ErrConflict.
	IfIndex uint64 `json:"if_index,omitempty"`
	// IfAbsent makes Put an insert only: used when a look-up by name found
	// nothing, so that two writers do not both create.
	IfAbsent bool `json:"if_absent,omitempty"`
	// Alone refuses a Delete with a conflict while anything would go with the
	// entity that the write does not name: its writer may not remove whatever that
	// is, and has to look again.
	Alone bool `json:"alone,omitempty"`
}

// NewWrite makes a write command; now is in unix seconds.
func NewWrite(requestID string, now int64, ops ...Op) *Command {
	return &Command{Version: CommandVersion, Type: CommandWrite, RequestID: requestID, Write: &Write{Now: now, Ops: ops}}
}

// NewInit makes the first command of a cluster.
func NewInit(clusterID string) *Command {
	return &Command{Version: CommandVersion, Type: CommandInit, Init: &Init{ClusterID: clusterID}}
}

// NewLimits makes a command of one limiter entry. The error is the encoding's.
func NewLimits(e *ledger.Entry) (*Command, error) {
	data, err := e.MarshalBinary()
	return &Command{Version: CommandVersion, Type: CommandLimits, Limits: data}, err
}

// NewBarrier makes a command that is only waited for.
func NewBarrier() *Command { return &Command{Version: CommandVersion, Type: CommandBarrier} }

// Encode gives the bytes of the log entry.
func (c *Command) Encode() ([]byte, error) {
	data, err := encode(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return data, nil
}

// encode is json.Marshal without its escapes for HTML, so that an entity's JSON
// stays as the Admin API made it.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// DecodeCommand reads a log entry. The error wraps ErrMalformedCommand, or
// ErrUnknownCommand for a type or version of a newer build; the command is
// still given then, so that the caller can see whether it may be skipped.
func DecodeCommand(data []byte) (*Command, error) {
	c := new(Command)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedCommand, err)
	}
	if c.Version > CommandVersion {
		return c, fmt.Errorf("%w: envelope version %d", ErrUnknownCommand, c.Version)
	}
	switch {
	case c.Type == CommandInit && c.Init != nil,
		c.Type == CommandWrite && c.Write != nil,
		c.Type == CommandLimits && len(c.Limits) > 0,
		c.Type == CommandStage && c.Stage != nil,
		c.Type == CommandBarrier:
		return c, nil
	case c.Type == CommandInit || c.Type == CommandWrite || c.Type == CommandLimits || c.Type == CommandStage:
		return nil, fmt.Errorf("%w: type %d without its payload", ErrMalformedCommand, c.Type)
	}
	return c, fmt.Errorf("%w: type %d", ErrUnknownCommand, c.Type)
}

// Ignorable says whether a build that does not know the command may skip it.
func (c *Command) Ignorable() bool { return c.Type&ignorable != 0 }

// Result is what applying a command gave. It travels from the leader to the
// node that was asked, so
// every field is JSON but Limits.
type Result struct {
	// Index is the log index of the command that made the change.
	Index uint64 `json:"index"`
	// Err is set when the command was refused; then nothing was changed.
	Err *Error `json:"err,omitempty"`
	// Entities holds, for each operation of a write in order, the entity as
	// stored, or nil for a delete. Of a write of more than 32 it holds none.
	Entities []*Entity `json:"entities,omitempty"`
	// Limits is the outcome of a limiter entry. It stays on the node: only the
	// leader makes such entries.
	Limits *ledger.Outcome `json:"-"`
}

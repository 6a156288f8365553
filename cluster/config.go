package cluster

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// Limits of the wire and of the log.
const (
	// DefaultPort is the cluster port of an address that names none: Kong's own
	// number (cluster_listen).
	DefaultPort = "8005"
	// MaxCommand bounds an encoded command in bytes: one log entry, so that a
	// heartbeat never waits long behind it.
	MaxCommand = 512 << 10

	defaultMaxVoters    = 5
	defaultTrailingLogs = 10240
	maxName             = 128
)

// Served is the data plane of this node: which log index it answers requests
// from. fsm.Machine has the same methods and stands in when there is none.
type Served interface {
	Wait(ctx context.Context, index uint64) error
	Index() uint64
}

// Handler answers a call of another node's upper floors. The context ends with
// the caller or with the node.
type Handler func(ctx context.Context, body []byte) ([]byte, error)

// Config is what a node needs to start. Only DataDir, Listen and Machine have
// no default.
type Config struct {
	// DataDir is the node's directory; everything of this package is under
	// DataDir/cluster.
	DataDir string
	// NodeName is shown to people: letters, digits, dot, dash, underscore, 128
	// at most. Default: "node-" and the end of the node's id.
	NodeName string
	// Listen is the cluster port, TCP and UDP: "127.0.0.1:8005". Port 0 takes
	// any free one.
	Listen string
	// Advertise is the address that others reach this node at. Default: Listen,
	// or an address of this machine's interfaces where Listen is 0.0.0.0.
	Advertise string
	// Join names other nodes: "host:8005", "host", or "dns:NAME[:port]" for
	// every address of a name. Empty, with an empty data directory: a new
	// cluster of one node.
	Join []string
	// Expect, with Join, forms a new cluster once so many nodes that expect the
	// same number have found each other and none has a cluster. 0: never.
	Expect int
	// Insecure allows a Listen that is not loopback.
	Insecure bool
	// MaxVoters bounds how many nodes vote; more are non-voters, which cost no
	// quorum. The leader's value counts. Default 5.
	MaxVoters int

	Timing   Timing
	Snapshot SnapshotPolicy

	// Keys seal the state before it reaches the log, a snapshot or another node:
	// the first seals, all open. Nil: everything is stored in clear.
	Keys *seal.Keys

	// Machine is the replicated state, Served this node's data plane (default:
	// the machine itself).
	Machine *fsm.Machine
	Served  Served
	// Handlers are the calls this node answers from its start on.
	Handlers map[string]Handler

	// Logger defaults to none.
	Logger *zap.Logger
	// Network defaults to the machine's own. Tests put one in memory here.
	Network Network

	// noSync leaves the log to the kernel. This package's tests crash nodes, not
	// machines, and share their disk.
	noSync bool
}

// SnapshotPolicy says when the state goes to disk. A node that restarts alone
// serves what its last snapshot holds.
type SnapshotPolicy struct {
	// Quiet is how long after the last change of an entity. Default 300 ms.
	Quiet time.Duration
	// Longest is how long changes without a pause may put a snapshot off. Default
	// 2 s. Ten times what the last one took passes before the next in any case.
	Longest time.Duration
	// TrailingLogs is how many entries stay in the log behind a snapshot, for
	// followers that missed a few. Default 10240.
	TrailingLogs uint64
	// Retain is how many snapshots are kept. Default 2.
	Retain int
}

// Timing holds the clocks of raft and gossip. The zero value of a field is
// DefaultTiming's.
type Timing struct {
	// Heartbeat is how long a follower waits for its leader before it asks for
	// an election, up to twice that; Election how long a candidate waits for
	// votes; Lease how long a leader leads without hearing from a majority.
	Heartbeat, Election, Lease time.Duration
	// Commit is how often followers are told the commit index: they apply a
	// change that much later than the leader.
	Commit time.Duration
	// Probe is how often gossip checks one other node, ProbeTimeout how long it
	// waits, Gossip how often it spreads news, Sync how often it exchanges all.
	Probe, ProbeTimeout, Gossip, Sync time.Duration
	// Rejoin is how often a node looks after its own membership.
	Rejoin time.Duration
	// Hold is how long a write waits for a leader.
	Hold time.Duration
	// Call bounds one call to another node, Dial one connection to it.
	Call, Dial time.Duration
}

// DefaultTiming suits a local network: after the loss of a leader there is a
// new one in half a second to one and a half.
func DefaultTiming() Timing {
	return Timing{
		Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 300 * time.Millisecond,
		Commit: 8 * time.Millisecond,
		Probe:  500 * time.Millisecond, ProbeTimeout: 250 * time.Millisecond,
		Gossip: 100 * time.Millisecond, Sync: 15 * time.Second,
		Rejoin: time.Second, Hold: 5 * time.Second,
		Call: 5 * time.Second, Dial: 2 * time.Second,
	}
}

func (t *Timing) setDefaults() {
	d := DefaultTiming()
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Heartbeat, d.Heartbeat}, {&t.Election, d.Election}, {&t.Lease, d.Lease}, {&t.Commit, d.Commit},
		{&t.Probe, d.Probe}, {&t.ProbeTimeout, d.ProbeTimeout}, {&t.Gossip, d.Gossip}, {&t.Sync, d.Sync},
		{&t.Rejoin, d.Rejoin}, {&t.Hold, d.Hold}, {&t.Call, d.Call}, {&t.Dial, d.Dial},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
}

func (p *SnapshotPolicy) setDefaults() {
	if p.Quiet <= 0 {
		p.Quiet = 300 * time.Millisecond
	}
	if p.Longest <= 0 {
		p.Longest = 2 * time.Second
	}
	if p.TrailingLogs == 0 {
		p.TrailingLogs = defaultTrailingLogs
	}
	if p.Retain <= 0 {
		p.Retain = 2
	}
}

func (c *Config) setDefaults() {
	c.Timing.setDefaults()
	c.Snapshot.setDefaults()
	if c.MaxVoters <= 0 {
		c.MaxVoters = defaultMaxVoters
	}
	if c.Served == nil && c.Machine != nil {
		c.Served = c.Machine
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Network == nil {
		c.Network = hostNetwork{}
	}
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)

func (c *Config) validate() error {
	switch {
	case c.Machine == nil:
		return fmt.Errorf("%w: no state machine", ErrInvalidConfig)
	case c.DataDir == "":
		return fmt.Errorf("%w: no data directory", ErrInvalidConfig)
	case len(c.NodeName) > maxName || !namePattern.MatchString(c.NodeName):
		return fmt.Errorf("%w: node name %q is not up to %d letters, digits, dots, dashes and underscores", ErrInvalidConfig, c.NodeName, maxName)
	case c.Expect < 0 || c.Expect > c.MaxVoters:
		return fmt.Errorf("%w: expect %d is not between 0 and the %d voters allowed", ErrInvalidConfig, c.Expect, c.MaxVoters)
	case c.Expect > 0 && len(c.Join) == 0:
		return fmt.Errorf("%w: expect %d needs nodes to join", ErrInvalidConfig, c.Expect)
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("%w: cluster listen address %q: %w", ErrInvalidConfig, c.Listen, err)
	}
	if !c.Insecure && !isLoopback(host) {
		return fmt.Errorf("%w: whoever reaches %s could change the configuration, so listening beyond loopback must be asked for as insecure", ErrInsecure, c.Listen)
	}
	if c.Advertise != "" {
		if _, _, err := net.SplitHostPort(c.Advertise); err != nil {
			return fmt.Errorf("%w: cluster advertise address %q: %w", ErrInvalidConfig, c.Advertise, err)
		}
	}
	for _, entry := range c.Join {
		if _, err := parseSeed(entry); err != nil {
			return err
		}
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

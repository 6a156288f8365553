package cluster

import (
	"errors"
	"fmt"
)

// Errors that a caller may want to tell apart. Those of Open end as the one
// sentence an operator sees; those of Apply become answers of the Admin API.
var (
	// ErrClosed is given by a node that is shutting down or has left.
	ErrClosed = errors.New("this node is shutting down")
	// ErrNotLeader is given by ApplyLocal on a node that does not lead, or
	// stopped leading before the command was committed.
	ErrNotLeader = errors.New("this node does not lead the cluster")
	// ErrNoLeader is given by CallLeader when no leader is known.
	ErrNoLeader = errors.New("the cluster has no leader")
	// ErrOutcomeUnknown is given for a command that was sent and not answered:
	// it may or may not have been carried out.
	ErrOutcomeUnknown = errors.New("the command may or may not have been carried out")
	// ErrCommandTooLarge is given for a command of more than MaxCommand bytes.
	ErrCommandTooLarge = errors.New("command too large")
	// ErrBusy is given when too many writes wait on this node already.
	ErrBusy = errors.New("too many writes are waiting on this node")

	// ErrInsecure refuses a cluster port that others can reach.
	ErrInsecure = errors.New("the cluster port has no authentication")
	// ErrInvalidConfig is given for a Config that makes no sense.
	ErrInvalidConfig = errors.New("invalid cluster configuration")
	// ErrPortInUse is given when another program has the cluster port.
	ErrPortInUse = errors.New("the cluster port is in use")
	// ErrDataDir is given for a data directory that cannot be read or written.
	ErrDataDir = errors.New("the data directory cannot be used")
	// ErrDataDirLocked is given while another process uses the data directory.
	ErrDataDirLocked = errors.New("the data directory is in use by another process")
	// ErrCorruptData is given for a data directory whose contents are damaged.
	ErrCorruptData = errors.New("the data directory is damaged")

	// ErrKeyMissing is given for a data directory, a node that joins, or an entry
	// that takes an encryption key which is not there.
	ErrKeyMissing = errors.New("an encryption key is missing")
	// ErrNoCommonKey refuses a write: the state is sealed, and no key is left that
	// every member can open.
	ErrNoCommonKey = errors.New("there is no encryption key that all members have")
	// ErrNoKeys is given where keys are needed and this node has none.
	ErrNoKeys = errors.New("this node has no encryption_keys")
	// ErrRotation refuses a rotation of encryption keys.
	ErrRotation = errors.New("the encryption key cannot be rotated now")
	// ErrHalted is given by a node that has met an entry which it cannot open.
	ErrHalted = errors.New("this node cannot go on applying the log")

	// ErrLastVoter refuses to remove the only voter: the data would be lost.
	ErrLastVoter = errors.New("the only voter of a cluster cannot leave it")
	// ErrAlive refuses the removal of a node that is alive.
	ErrAlive = errors.New("the node is alive: let it leave instead")
	// ErrUnknownNode is given for an id that is not a member.
	ErrUnknownNode = errors.New("no such node in the cluster")
	// ErrUnknownCall is given for a call that no handler was registered for.
	ErrUnknownCall = errors.New("unknown call")
)

// NoQuorumError says that a write found no leader for as long as it was held.
type NoQuorumError struct {
	// Reachable of Voters answered this node just now, this node included.
	Reachable, Voters int
	// Sent says that the write reached a leader before that leader was lost: it
	// may still be carried out. A repetition under its request id is safe.
	Sent bool
}

// Error is one sentence for the client of the Admin API.
func (e *NoQuorumError) Error() string {
	if e.Voters == 0 {
		return "no leader: this node is not yet a member of a cluster"
	}
	return fmt.Sprintf("no leader: %d of %d voters reachable; writes need %d", e.Reachable, e.Voters, e.Voters/2+1)
}

// ForeignClusterError refuses a node of another cluster.
type ForeignClusterError struct {
	// Ours and Theirs are cluster ids, Address is where the other node is.
	Ours, Theirs, Address string
}

func (e *ForeignClusterError) Error() string {
	return fmt.Sprintf("this node belongs to cluster %s and the node at %s to cluster %s: start this one with an empty data directory to join the other",
		e.Ours, e.Address, e.Theirs)
}

package cluster

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A leader's raft waits after each failure to send entries to a follower, longer
// and longer, up to ten seconds, and only a success resets that: a node that was
// away for a while heard of nothing for as long again after its return. Heartbeats
// are sent beside, and tried at least once in half a heartbeat's timeout. So here,
// entries for a follower to which sending has failed wait for the next heartbeat
// that gets through, within the call: raft counts one failure, however long that
// takes.

// stillWanted is how often who waits for a follower looks whether it leads still,
// and the follower is a member.
const stillWanted = 100 * time.Millisecond

var errNotWanted = errors.New("this node does not lead any more, or the follower is no member")

// reach knows to which followers sending has failed.
type reach struct {
	ctx context.Context // of the node
	// wanted says whether this node leads in a term, and a follower is a member.
	wanted func(follower raft.ServerID, term uint64) bool

	mu   sync.Mutex
	lost map[raft.ServerID]loss
}

// loss is a follower to which sending has failed in a term of this node's.
type loss struct {
	term  uint64
	found chan struct{} // closed when a heartbeat gets through
}

func newReach(ctx context.Context, wanted func(raft.ServerID, uint64) bool) *reach {
	return &reach{ctx: ctx, wanted: wanted, lost: map[raft.ServerID]loss{}}
}

// failed takes note that sending to a follower has failed.
func (r *reach) failed(follower raft.ServerID, term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.lost[follower]; !ok || l.term != term {
		r.lost[follower] = loss{term, make(chan struct{})}
	}
}

// found takes note that a heartbeat got through.
func (r *reach) found(follower raft.ServerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.lost[follower]; ok {
		close(l.found)
		delete(r.lost, follower)
	}
}

// await waits until a follower can be sent to, as far as is known.
func (r *reach) await(follower raft.ServerID, term uint64) error {
	r.mu.Lock()
	l, ok := r.lost[follower]
	r.mu.Unlock()
	if !ok || l.term != term {
		return nil
	}
	look := time.NewTicker(stillWanted)
	defer look.Stop()
	for {
		select {
		case <-l.found:
			return nil
		case <-r.ctx.Done():
			return errNotWanted
		case <-look.C:
			if !r.wanted(follower, term) {
				r.forget(follower, l)
				return errNotWanted
			}
		}
	}
}

// forget drops a loss that nobody waits for any more.
func (r *reach) forget(follower raft.ServerID, l loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost[follower] == l {
		delete(r.lost, follower)
	}
}

// AppendEntries implements raft.Transport.
func (t raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	send := func() error { return t.NetworkTransport.AppendEntries(id, target, args, resp) }
	if !isHeartbeat(args) {
		return t.sendEntries(id, args.Term, send)
	}
	err := send()
	if err == nil {
		t.reach.found(id)
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (t raftTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.sendEntries(id, args.Term, func() error {
		return t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
	})
}

// sendEntries sends entries, or a snapshot in their place, when the follower can be
// reached.
func (t raftTransport) sendEntries(id raft.ServerID, term uint64, send func() error) error {
	if err := t.reach.await(id, term); err != nil {
		return err
	}
	err := send()
	if err != nil {
		t.reach.failed(id, term)
	}
	return err
}

// isHeartbeat tells heartbeats as the receiver's raft does.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.Term != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

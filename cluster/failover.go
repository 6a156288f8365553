package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// A leader whose process has died is replaced at once: raft alone waits for
// Timing.Heartbeat, up to twice, in which nobody can write. A killed process's
// connections end, and its port refuses others, which a process that hangs, a
// network that fails and a machine that is gone do not do: for these, raft's
// timeouts stay. If a leader is taken for dead that is not, it is replaced, as
// if it had handed its leadership over.

const (
	// deathShows bounds how long it is looked whether the leader is there, and
	// lookAgain how often. The kernel ends a dead process's connections one after
	// the other and its port at some moment between, so that the port may take
	// connections for a while yet, only to end them.
	deathShows = 200 * time.Millisecond
	lookAgain  = 10 * time.Millisecond
	// turnApart is how much later than a voter the next one asks for an election,
	// so that not all do at the same time.
	turnApart = 80 * time.Millisecond
)

// brokenStream is a connection of raft's that says when the other side ends it.
type brokenStream struct {
	net.Conn
	broken func()
}

func (s *brokenStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.broken()
	}
	return n, err
}

// failoverLoop looks after the leader whenever a connection to this node ends.
func (n *Node) failoverLoop() {
	for {
		select {
		case <-n.streams.broken:
			if err := n.replaceDead(); err != nil {
				n.log.Warn("no election could be asked for", zap.Error(err))
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// replaceDead asks for an election if the leader's process has died, when it is
// this node's turn and nobody else has.
func (n *Node) replaceDead() error {
	at, dead, voters := time.Now(), n.leaderID(), n.VoterIDs()
	if dead == "" || dead == n.id || !slices.Contains(voters, n.id) || !n.died(dead) {
		return nil
	}
	voters = slices.DeleteFunc(voters, func(id string) bool { return id == dead })
	slices.Sort(voters)
	if !pause(n.ctx, time.Duration(slices.Index(voters, n.id))*turnApart) {
		return nil
	}
	if now := n.leaderID(); now != dead && now != "" || n.raft.State() != raft.Follower || n.raft.LastContact().After(at) {
		return nil
	}
	n.log.Info("the leader's process has died: this node asks for an election", zap.String("leader", dead))
	// This is what a leader that hands over sends: the node to be the next one
	// need not wait, and the others may vote for it although they know a leader.
	return n.raftTransport.TimeoutNow(raft.ServerID(n.id), raft.ServerAddress(n.id), &raft.TimeoutNowRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.id), Addr: []byte(n.id)},
	}, &raft.TimeoutNowResponse{})
}

// died says whether the process of the node that led is there no more. Another one
// may have begun in its place, which does not lead and says so.
func (n *Node) died(leader string) bool {
	ctx, cancel := context.WithTimeout(n.ctx, deathShows)
	defer cancel()
	another := false // process answers in its place
	for n.leaderID() == leader {
		info, err := n.client.info(ctx, n.dir.address(leader))
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return true
		case err == nil && (info.State == raft.Leader.String() || info.State == ""): // of before there was State
			return false
		}
		another = another || err == nil && info.ID == leader
		if !pause(ctx, lookAgain) {
			return another // had it handed over, the next leader would be known by now
		}
	}
	return false
}

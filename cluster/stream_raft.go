package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// raftStreams carries raft over the cluster port. For raft, the address of a
// server is its id: where a node is comes from the directory at every dial.
//
// A connection begins with the id of the node it is meant for. Without that, a
// node that took over another's address (a wiped disk, a reused container
// address, another cluster) would take and acknowledge entries in the other's
// name, and two majorities could exist.
type raftStreams struct {
	*streamQueue
	mux *mux
	id  uuid.UUID
	dir *directory
	// broken wakes who looks whether the leader is there still.
	broken chan struct{}
}

// newRaftStreams must be called before the mux serves.
func newRaftStreams(m *mux, id uuid.UUID, dir *directory) *raftStreams {
	r := &raftStreams{mux: m, id: id, dir: dir, broken: make(chan struct{}, 1)}
	r.streamQueue = m.queue(streamRaft, r.hello)
	return r
}

func (r *raftStreams) hello(conn net.Conn) error {
	var target uuid.UUID
	if _, err := io.ReadFull(conn, target[:]); err != nil {
		return fmt.Errorf("read target: %w", err)
	}
	if !bytes.Equal(target[:], r.id[:]) {
		return fmt.Errorf("meant for node %s, this is %s", target, r.id)
	}
	return nil
}

// Accept gives the next connection that another server has opened.
func (r *raftStreams) Accept() (net.Conn, error) {
	conn, err := r.streamQueue.Accept()
	if err != nil {
		return nil, err
	}
	return &brokenStream{Conn: conn, broken: func() { wake(r.broken) }}, nil
}

// Dial opens a connection to the server whose id is the address.
func (r *raftStreams) Dial(server raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, err := uuid.Parse(string(server))
	if err != nil {
		return nil, fmt.Errorf("raft server %q: %w", server, err)
	}
	address := r.dir.address(id.String())
	if address == "" {
		return nil, fmt.Errorf("the address of node %s is not known yet", id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return r.mux.dial(ctx, address, streamRaft, id[:])
}

// Addr is the id, as raft knows this server.
func (r *raftStreams) Addr() net.Addr { return serverAddr(r.id.String()) }

type serverAddr string

func (serverAddr) Network() string  { return "raft" }
func (a serverAddr) String() string { return string(a) }

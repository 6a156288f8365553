package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// A follower hears of what is committed with its leader's next message only, which
// comes up to two Timing.Commit later where nobody else writes. Whoever wrote through
// it would wait for that: the change is there when the follower serves it. So the
// leader's answer to a write has the term and index of its entry, and the follower
// tells its own raft what the leader's next message would.

// commitment is an entry that is committed, and the node that led in its term.
type commitment struct {
	leader      string
	term, index uint64
}

// commits is the newest that was heard of. Safe for concurrent use.
type commits struct {
	mu     sync.Mutex
	newest commitment
	heard  chan struct{}
}

func newCommits() *commits { return &commits{heard: make(chan struct{}, 1)} }

// hear notes what the leader has answered. A term of 0 is not known.
func (c *commits) hear(n commitment) {
	if n.term == 0 || n.leader == "" {
		return
	}
	c.mu.Lock()
	newer := n.term > c.newest.term || n.term == c.newest.term && n.index > c.newest.index
	if newer {
		c.newest = n
	}
	c.mu.Unlock()
	if newer {
		wake(c.heard)
	}
}

func (c *commits) get() commitment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// entryOnItsWay is how often it is looked whether an entry that is committed has come
// here, too.
const entryOnItsWay = 500 * time.Microsecond

// commitLoop tells this node's raft of commitments.
func (n *Node) commitLoop() {
	for {
		select {
		case <-n.commits.heard:
		case <-n.ctx.Done():
			return
		}
		// As long as the leader's own message may take; that tells it then.
		for end := time.Now().Add(2 * n.conf.Timing.Commit); n.raft.LastIndex() < n.commits.get().index && time.Now().Before(end); {
			if !pause(n.ctx, entryOnItsWay) {
				return
			}
		}
		news := n.commits.get()
		if n.raft.LastIndex() < news.index || n.raft.CommitIndex() >= news.index {
			continue
		}
		if err := n.tellCommitted(news); err != nil && n.ctx.Err() == nil {
			n.log.Debug("raft was not told what is committed", zap.Uint64("index", news.index), zap.Error(err))
		}
	}
}

// tellCommitted is the message that the leader of that term sends next, or would have
// sent: no entries, the one before is in that term, and it is committed. It is true
// for ever, and raft refuses it where its term is a later one.
func (n *Node) tellCommitted(c commitment) error {
	return n.raftTransport.AppendEntries(raft.ServerID(n.id), raft.ServerAddress(n.id), &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(c.leader), Addr: []byte(c.leader)},
		Term:      c.term, PrevLogEntry: c.index, PrevLogTerm: c.term, LeaderCommitIndex: c.index,
	}, &raft.AppendEntriesResponse{})
}

// committed is what a write that this node has led to its end tells of itself. Its
// entry is in the term in which this node led, also if another leads by now.
func (n *Node) committed(index uint64) commitment {
	var entry raft.Log
	if n.entries.GetLog(index, &entry) != nil {
		return commitment{} // removed already: a snapshot has it
	}
	return commitment{leader: n.id, term: entry.Term, index: index}
}

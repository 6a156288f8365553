package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// raftTransport is raft's own, which knows whom it can reach (reach.go), and with
// pipelines that end when they fail.
//
// A leader sends entries to a follower through a pipeline: one goroutine of raft's
// sends, another takes the answers and ends with the first that is no success (a
// follower that was restarted, or lacks the entry before). If the first sends once
// more before it notices, it waits for ever for somebody to take that answer: the
// follower gets heartbeats and no entry any more until another node leads, and the
// leader's raft does not stop (hashicorp/raft issue 612). So the pipeline is closed
// behind the first answer that is no success, which wakes who waits in it.
type raftTransport struct {
	*raft.NetworkTransport
	reach *reach
}

// AppendEntriesPipeline implements raft.Transport.
func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(inner), nil
}

type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	done    chan struct{}
	once    sync.Once
}

func newPipeline(inner raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), done: make(chan struct{})}
	go p.pass() // until Close
	return p
}

// pass hands the answers on, the first that is no success as the last.
func (p *pipeline) pass() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			last := f.Error() != nil || !f.Response().Success
			select {
			case p.answers <- f:
			case <-p.done:
				return
			}
			if last {
				_ = p.AppendPipeline.Close() // again at Close, which raft calls
				return
			}
		case <-p.done:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.AppendPipeline.Close()
}

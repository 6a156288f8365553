package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// answered is a future that raft's transport is done with.
type answered struct{ response raft.AppendEntriesResponse }

func (f *answered) Error() error                          { return nil }
func (f *answered) Start() time.Time                      { return time.Time{} }
func (f *answered) Request() *raft.AppendEntriesRequest   { return &raft.AppendEntriesRequest{} }
func (f *answered) Response() *raft.AppendEntriesResponse { return &f.response }

// strict is a pipeline like raft's: it takes no entries while an answer waits to be
// taken, until it is closed.
type strict struct {
	sent, answers chan raft.AppendFuture
	closed        chan struct{}
}

var errStrictClosed = errors.New("closed")

func (p *strict) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f := &answered{}
	select {
	case p.sent <- f:
		return f, nil
	case <-p.closed:
		return nil, errStrictClosed
	}
}

func (p *strict) Consumer() <-chan raft.AppendFuture { return p.answers }

func (p *strict) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// A sender that goes on after the taker of answers has ended is woken.
func TestAPipelineEndsWithTheFirstFailure(t *testing.T) {
	t.Parallel()
	inner := &strict{sent: make(chan raft.AppendFuture), answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	p := newPipeline(inner)
	inner.answers <- &answered{raft.AppendEntriesResponse{Success: true}}
	if f := <-p.Consumer(); !f.Response().Success {
		t.Fatal("an answer became another")
	}
	select {
	case <-inner.closed:
		t.Fatal("closed after a success")
	default:
	}
	inner.answers <- &answered{}
	if f := <-p.Consumer(); f.Response().Success {
		t.Fatal("a failure was not handed on")
	}
	// Nobody takes answers any more, as raft does it.
	if _, err := p.AppendEntries(nil, nil); !errors.Is(err, errStrictClosed) {
		t.Errorf("the sender is told %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

package fsm

import "sync"

// requestsKept is how many writes are remembered for their request ids. A
// writer retries for seconds; at a thousand writes a second this is ten.
const requestsKept = 10_000

// opsRemembered is of how many operations a write is at most whose repetition is
// answered with their entities.
const opsRemembered = 32

// requests remembers what the newest writes answered, so that one whose answer
// was lost can be sent again without being done again. It is part of the
// replicated state: every node forgets the same writes at the same entry.
//
// It is changed by the goroutine of Apply alone, and find is safe for concurrent use.
type requests struct {
	mu   sync.RWMutex
	byID map[string]*request
	ring []*request // oldest at next, once full
	next int
}

// request is one remembered write.
type request struct {
	ID    string      `json:"id"`
	Index uint64      `json:"index"`
	Err   *Error      `json:"err,omitempty"`
	Ops   []requestOp `json:"ops,omitempty"`
}

type requestOp struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Delete bool   `json:"delete,omitempty"`
}

func newRequests() *requests { return &requests{byID: map[string]*request{}} }

func (r *requests) find(id string) (*request, bool) {
	if id == "" {
		return nil, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	done, ok := r.byID[id]
	return done, ok
}

// add remembers what a write answered. Of one of many operations, what they were
// about is not.
func (r *requests) add(id string, w *Write, index uint64, err *Error) {
	if id == "" {
		return
	}
	done := &request{ID: id, Index: index, Err: err}
	if err == nil && len(w.Ops) <= opsRemembered {
		done.Ops = make([]requestOp, len(w.Ops))
		for i, op := range w.Ops {
			done.Ops[i] = requestOp{Kind: op.Kind, ID: op.ID, Delete: op.Verb == Delete}
		}
	}
	r.remember(done)
}

func (r *requests) remember(done *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[done.ID] = done
	if len(r.ring) < requestsKept {
		r.ring = append(r.ring, done)
		return
	}
	delete(r.byID, r.ring[r.next].ID)
	r.ring[r.next] = done
	r.next = (r.next + 1) % requestsKept
}

// all gives the remembered writes, oldest first.
func (r *requests) all() []*request {
	return append(append(make([]*request, 0, len(r.ring)), r.ring[r.next:]...), r.ring[:r.next]...)
}

// result answers a repeated write: what the first one answered. An entity that
// was changed since is shown as it is now.
func (r *request) result(v *View) *Result {
	res := &Result{Index: r.Index, Err: r.Err}
	if r.Err != nil {
		return res
	}
	res.Entities = make([]*Entity, len(r.Ops))
	for i, op := range r.Ops {
		if !op.Delete {
			res.Entities[i] = v.Get(op.Kind, op.ID)
		}
	}
	return res
}

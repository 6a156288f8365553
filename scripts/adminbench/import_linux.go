package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// set is a configuration to bring in: numbered consumers with a key each, or numbered routes each with a service of
// its own.
type set struct {
	first, consumers int // numbers from first on
	routes           int
	upstream         string // address that the services lead to
	operations       int    // at most in a transaction
}

func consumerName(i int) string { return fmt.Sprintf("consumer-%06d", i) }
func consumerKey(i int) string  { return fmt.Sprintf("key-of-consumer-%06d", i) }
func serviceName(i int) string  { return fmt.Sprintf("service-%05d", i) }
func routePath(i int) string    { return fmt.Sprintf("/routes/%05d", i) }
func servicePath(i int) string  { return fmt.Sprintf("/services/%05d", i) }

const (
	// A transaction's limits: api.maxOperations, and what the Admin API takes as a body.
	maxOperations = 50_000
	maxBody       = 8 << 20
)

// operation is one of a transaction.
type operation struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   any    `json:"body"`
}

type fields map[string]any

// entries gives the two operations of the i-th consumer or route.
func (s *set) entries(i int) []operation {
	if s.routes > 0 {
		return []operation{
			{http.MethodPost, "/services", fields{"name": serviceName(i), "url": "http://" + s.upstream + servicePath(i)}},
			{http.MethodPost, "/services/" + serviceName(i) + "/routes", fields{"name": fmt.Sprintf("route-%05d", i), "paths": []string{routePath(i)}}},
		}
	}
	return []operation{
		{http.MethodPost, "/consumers", fields{"username": consumerName(i)}},
		{http.MethodPost, "/consumers/" + consumerName(i) + "/key-auth", fields{"key": consumerKey(i)}},
	}
}

// bodies makes the bodies of as few transactions as the limits allow; sizes are how many operations are in each.
func (s *set) bodies() (bodies [][]byte, sizes []int, err error) {
	const before, after = `{"operations":[`, `]}`
	var body bytes.Buffer
	count := 0
	flush := func() {
		if count > 0 {
			body.WriteString(after)
			bodies, sizes = append(bodies, bytes.Clone(body.Bytes())), append(sizes, count)
		}
		body.Reset()
		count = 0
	}
	for i := s.first; i < s.first+s.consumers+s.routes; i++ {
		for _, o := range s.entries(i) {
			text, err := json.Marshal(o)
			if err != nil {
				return nil, nil, err
			}
			if count == s.operations || body.Len()+len(text)+len(after)+1 > maxBody {
				flush()
			}
			if count > 0 {
				body.WriteByte(',')
			} else {
				body.WriteString(before)
			}
			body.Write(text)
			count++
		}
	}
	flush()
	return bodies, sizes, nil
}

// imported is what came of a set.
type imported struct {
	took     time.Duration // of the requests, from the first byte sent to the last one read, added up
	answered time.Time     // when the last was
	index    uint64        // of the last change
	requests int
}

// bringIn has a node take a set, and returns when all nodes serve it. It is the only function that knows how that
// is done: by POST /transactions.
func (b *bench) bringIn(ctx context.Context, n *node, s set) (*imported, error) {
	s.operations = b.opts.sizes.operations
	bodies, sizes, err := s.bodies()
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, n.admin)
	if err != nil {
		return nil, err
	}
	defer c.close()
	done := &imported{requests: len(bodies)}
	for i, body := range bodies {
		a, err := c.do(http.MethodPost, "/transactions?wait=all", body)
		if err != nil {
			return nil, err
		}
		done.answered = time.Now()
		done.took += a.took
		if err := a.transaction(sizes[i]); err != nil {
			return nil, err
		}
		if done.index, err = a.index(); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// transaction wants every one of so many operations to have made an entity, and every node to serve it.
func (a *answer) transaction(operations int) error {
	if err := a.is(http.StatusOK); err != nil {
		return err
	}
	var told struct {
		Results []struct {
			Status int `json:"status"`
		} `json:"results"`
	}
	if err := json.Unmarshal(a.body, &told); err != nil {
		return fmt.Errorf("%s: %s: %w", a.what, a.describe(), err)
	}
	if len(told.Results) != operations {
		return fmt.Errorf("%s: %d results of %d operations", a.what, len(told.Results), operations)
	}
	for i, r := range told.Results {
		if r.Status != http.StatusCreated {
			return fmt.Errorf("%s: operation %d: status %d", a.what, i+1, r.Status)
		}
	}
	return a.served()
}

package main

import (
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
	batch            int    // entities in a request, at most
}

func consumerName(i int) string { return fmt.Sprintf("consumer-%06d", i) }
func consumerKey(i int) string  { return fmt.Sprintf("key-of-consumer-%06d", i) }
func serviceName(i int) string  { return fmt.Sprintf("service-%05d", i) }
func routePath(i int) string    { return fmt.Sprintf("/routes/%05d", i) }
func servicePath(i int) string  { return fmt.Sprintf("/services/%05d", i) }

// perNumber is how many entities a number stands for: a consumer and its key, or a service and its route.
const perNumber = 2

// document is a declarative file.
type document struct {
	Version   string           `json:"_format_version"`
	Services  []map[string]any `json:"services,omitempty"`
	Consumers []map[string]any `json:"consumers,omitempty"`
}

// documents makes as few as the size of a request allows.
func (s *set) documents() []document {
	var list []document
	for from := s.first; from < s.first+s.consumers+s.routes; {
		d := document{Version: "3.0"}
		to := min(from+max(1, s.batch/perNumber), s.first+s.consumers+s.routes)
		for i := from; i < to; i++ {
			if s.routes > 0 {
				d.Services = append(d.Services, map[string]any{"name": serviceName(i), "url": "http://" + s.upstream + servicePath(i),
					"routes": []any{map[string]any{"name": fmt.Sprintf("route-%05d", i), "paths": []string{routePath(i)}}}})
			} else {
				d.Consumers = append(d.Consumers, map[string]any{"username": consumerName(i),
					"keyauth_credentials": []any{map[string]any{"key": consumerKey(i)}}})
			}
		}
		list = append(list, d)
		from = to
	}
	return list
}

// imported is what came of a set.
type imported struct {
	took     time.Duration // of the requests, from the first byte sent to the last one read, added up
	answered time.Time     // when the last was
	index    uint64        // of the last change
	requests int
}

// bringIn has a node take a set that it has nothing of, and returns when all nodes serve it. It is the only function
// that knows how that is done: by POST /config, which removes nothing.
func (b *bench) bringIn(ctx context.Context, n *node, s set) (*imported, error) {
	s.batch = b.opts.sizes.batch
	c, err := dial(ctx, n.admin)
	if err != nil {
		return nil, err
	}
	defer c.close()
	done := &imported{}
	for _, d := range s.documents() {
		body, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		a, err := c.do(http.MethodPost, "/config?merge=1&answer=changes&wait=all", body)
		if err != nil {
			return nil, err
		}
		done.requests++
		done.answered = time.Now()
		done.took += a.took
		if err := a.created(perNumber * (len(d.Services) + len(d.Consumers))); err != nil {
			return nil, err
		}
		if done.index, err = a.index(); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// created wants an import to have made so many entities and changed nothing else, and every node to serve it.
func (a *answer) created(entities int) error {
	if err := a.is(http.StatusCreated); err != nil {
		return err
	}
	var told struct {
		Count   int `json:"count"`
		Changes []struct {
			Action string `json:"action"`
		} `json:"changes"`
	}
	if err := json.Unmarshal(a.body, &told); err != nil {
		return fmt.Errorf("%s: %s: %w", a.what, a.describe(), err)
	}
	if told.Count != entities || len(told.Changes) != entities {
		return fmt.Errorf("%s: %d changes, and %d of them told, of %d entities", a.what, told.Count, len(told.Changes), entities)
	}
	for i, c := range told.Changes {
		if c.Action != "create" {
			return fmt.Errorf("%s: change %d: %s", a.what, i+1, c.Action)
		}
	}
	return a.served()
}

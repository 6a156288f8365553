package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

const (
	// startPatience is how long a cluster may take to be there.
	startPatience = 60 * time.Second
	adminPatience = 6 * time.Second // longer than a node holds a write
	closePatience = 2 * time.Second
	pollEvery     = 50 * time.Millisecond
)

// status is the answer of GET /cluster.
type status struct {
	ClusterID string `json:"cluster_id"`
	Leader    string `json:"leader"`
	Quorum    bool   `json:"quorum"`
	Nodes     []struct {
		Name   string `json:"name"`
		State  string `json:"state"`
		Leader bool   `json:"leader"`
	} `json:"nodes"`
}

// admin asks a node's Admin API and decodes the answer into to, unless that is
// nil. It returns the status, 0 if there was no answer.
func (n *node) admin(ctx context.Context, method, path string, form url.Values, to any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.addr(adminPort)+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: n.space.Dial}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.StatusCode >= 300 {
		return resp.StatusCode, fmt.Errorf("%s: %s %s: %s: %s", n.name, method, path, resp.Status, body)
	}
	if to != nil {
		err = json.Unmarshal(body, to)
	}
	return resp.StatusCode, err
}

// poll calls f until it returns nil.
func poll(ctx context.Context, patience time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, errors.Join(context.Cause(ctx), err))
		case <-time.After(pollEvery):
		}
	}
}

// awaitCluster waits until each of the nodes sees all of them, and a leader.
func awaitCluster(ctx context.Context, nodes []*node) (id string, err error) {
	err = poll(ctx, startPatience, "the cluster", func() error {
		for _, n := range nodes {
			var s status
			if _, err := n.admin(ctx, http.MethodGet, "/cluster", nil, &s); err != nil {
				return err
			}
			alive := 0
			for _, m := range s.Nodes {
				if m.State == "alive" {
					alive++
				}
			}
			if alive < len(nodes) || s.Leader == "" || !s.Quorum || s.ClusterID == "" {
				return fmt.Errorf("%s sees %d nodes, leader %q", n.name, alive, s.Leader)
			}
			id = s.ClusterID
		}
		return nil
	})
	return id, err
}

// leaderOf asks the nodes who leads, "" if none says.
func leaderOf(ctx context.Context, nodes []*node) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, n := range nodes {
		if !n.serves() {
			continue
		}
		var s status
		if _, err := n.admin(ctx, http.MethodGet, "/cluster", nil, &s); err != nil {
			continue
		}
		for _, m := range s.Nodes {
			if m.Leader && m.State == "alive" {
				return m.Name
			}
		}
	}
	return ""
}

// configure makes a service, and for each demand a route with the plugin.
func configure(ctx context.Context, n *node, upstream string, demands []demand) ([]*book.Limit, error) {
	post := func(path string, to any, fields ...string) error {
		_, err := n.admin(ctx, http.MethodPost, path, form(fields...), to)
		return err
	}
	if err := post("/services", nil, "name", "up", "url", "http://"+upstream); err != nil {
		return nil, err
	}
	var limits []*book.Limit
	for i := range demands {
		d := &demands[i]
		if err := post("/services/up/routes", nil, "name", d.name, "paths[]", d.path()); err != nil {
			return nil, err
		}
		terms := book.Terms{Asked: monotonic(), Windows: d.windows}
		var made struct{ ID string }
		if err := post("/routes/"+d.name+"/plugins", &made, d.config()...); err != nil {
			return nil, err
		}
		terms.Confirmed = monotonic()
		l := d.limit(made.ID)
		l.Terms = []book.Terms{terms}
		limits = append(limits, l)
	}
	return limits, nil
}

func form(fields ...string) url.Values {
	f := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		f.Add(fields[i], fields[i+1])
	}
	return f
}

// service is what is behind the proxies. It listens in every namespace, so that no
// request leaves the one of its node.
type service struct {
	server http.Server
	done   sync.WaitGroup
}

func newService() *service {
	s := &service{}
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ms, err := strconv.Atoi(r.Header.Get(holdHeader)); err == nil {
			sleep(r.Context(), time.Duration(ms)*time.Millisecond)
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return s
}

func (s *service) serve(ln net.Listener) {
	s.done.Go(func() { _ = s.server.Serve(ln) }) // until close
}

// close ends the service when the nodes are gone, and with them all requests.
func (s *service) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close()
	}
	s.done.Wait()
}

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

// client makes calls to other nodes. Safe for concurrent use.
type client struct {
	cluster func() string
	dialing time.Duration
	pooled  *http.Client
	// fresh dials for every call: a pool holds dead connections after the other
	// node restarted.
	fresh *http.Client
}

// maxCalls is how many calls to a node are under way at most. Their connections are kept
// for some seconds: a writer's next write would dial anew.
const maxCalls = 256

func newClient(n *Node) *client {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, n.conf.Timing.Dial)
		defer cancel()
		return n.mux.dial(ctx, address, streamCall, nil)
	}
	transport := &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: maxCalls, MaxConnsPerHost: maxCalls, IdleConnTimeout: 30 * time.Second,
		DisableCompression: true,
	}
	fresh := transport.Clone()
	fresh.DisableKeepAlives = true
	return &client{cluster: n.clusterID, dialing: n.conf.Timing.Dial,
		pooled: &http.Client{Transport: transport}, fresh: &http.Client{Transport: fresh}}
}

func (c *client) close() {
	c.pooled.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}

// request is one call.
type request struct {
	method, address, path string
	target                string // the node's id, or "" for whoever answers
	body                  []byte
	fresh                 bool
}

// do makes a call and gives the answer's body. sent says whether the other node
// may have got it.
func (c *client) do(ctx context.Context, r request) (answer []byte, sent bool, err error) {
	if r.address == "" {
		return nil, false, fmt.Errorf("the address of node %s is not known", r.target)
	}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+r.address+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, false, fmt.Errorf("call %s: %w", r.address, err)
	}
	if r.target != "" {
		req.Header.Set(headerTarget, r.target)
	}
	if id := c.cluster(); id != "" {
		req.Header.Set(headerCluster, id)
	}
	via := c.pooled
	if r.fresh {
		via = c.fresh
	}
	res, err := via.Do(req)
	if err != nil {
		return nil, connected.Load(), fmt.Errorf("call node at %s: %w", r.address, err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxCallAnswer+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, true, fmt.Errorf("answer of the node at %s: %w", r.address, err)
	}
	if len(body) > maxCallAnswer {
		return nil, true, fmt.Errorf("answer of the node at %s: more than %d bytes", r.address, maxCallAnswer)
	}
	if res.StatusCode != http.StatusOK {
		err := c.fromWire(r.address, res.Status, body)
		return nil, errors.Is(err, ErrOutcomeUnknown), err
	}
	return body, true, nil
}

// notLeaderError is another node's ErrNotLeader, with who it thinks leads.
type notLeaderError struct {
	message         string
	leader, address string
}

func (e *notLeaderError) Error() string { return e.message }
func (e *notLeaderError) Unwrap() error { return ErrNotLeader }

// fromWire gives back the error that another node had.
func (c *client) fromWire(address, status string, body []byte) error {
	var e callError
	if err := json.Unmarshal(body, &e); err != nil || e.Code == "" {
		return fmt.Errorf("node at %s: unexpected answer %s", address, status)
	}
	var out error
	switch sentinel := wireErrors()[e.Code]; {
	case e.Code == codeForeign:
		return &ForeignClusterError{Ours: c.cluster(), Theirs: e.Ours, Address: address}
	case e.Code == codeOther:
		out = &e
	case sentinel == nil:
		out = &e
	case errors.Is(sentinel, ErrNotLeader):
		out = &notLeaderError{message: e.Message, leader: e.Leader, address: e.Address}
	default:
		out = sentinel
		if e.Message != sentinel.Error() {
			out = &remoteError{message: e.Message, is: sentinel}
		}
	}
	if e.Unknown {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, out)
	}
	return out
}

// remoteError keeps another node's text and what kind of error it is.
type remoteError struct {
	message string
	is      error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.is }

// apply hands a command to the leader.
func (c *client) apply(ctx context.Context, leader, address string, data []byte, fresh bool) (result applyAnswer, sent bool, err error) {
	answer, sent, err := c.do(ctx, request{method: http.MethodPost, address: address, path: pathApply, target: leader, body: data, fresh: fresh})
	if err != nil {
		return result, sent, err
	}
	result.Result = new(fsm.Result)
	if err := json.Unmarshal(answer, &result); err != nil {
		return result, true, fmt.Errorf("answer of the leader: %w", err)
	}
	return result, true, nil
}

// info asks a node about itself; it waits no longer than a dial may take.
func (c *client) info(ctx context.Context, address string) (nodeInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, c.dialing)
	defer cancel()
	var info nodeInfo
	answer, _, err := c.do(ctx, request{method: http.MethodGet, address: address, path: pathInfo, fresh: true})
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(answer, &info); err != nil {
		return info, fmt.Errorf("answer of the node at %s: %w", address, err)
	}
	return info, nil
}

// served returns once a node serves an index.
func (c *client) served(ctx context.Context, m member, index uint64) error {
	_, _, err := c.do(ctx, request{method: http.MethodGet, address: m.Address, target: m.ID,
		path: pathServed + "?index=" + strconv.FormatUint(index, 10)})
	return err
}

// call asks the leader's handler of a name.
func (c *client) call(ctx context.Context, leader, address, name string, body []byte) ([]byte, error) {
	answer, _, err := c.do(ctx, request{method: http.MethodPost, address: address, target: leader,
		path: pathCall + url.PathEscape(name), body: body})
	return answer, err
}

// join asks a node for membership, and the leader it names if it does not lead.
func (c *client) join(ctx context.Context, address string, req joinRequest) (joinAnswer, error) {
	var answer joinAnswer
	out, err := c.toLeader(ctx, address, pathJoin, req)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return answer, fmt.Errorf("answer to the join: %w", err)
	}
	return answer, nil
}

// toLeader posts to a node, and once more to the leader that it names.
func (c *client) toLeader(ctx context.Context, address, path string, body any) ([]byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", path, err)
	}
	out, _, err := c.do(ctx, request{method: http.MethodPost, address: address, path: path, body: data, fresh: true})
	if moved := (*notLeaderError)(nil); errors.As(err, &moved) && moved.address != "" && moved.address != address {
		out, _, err = c.do(ctx, request{method: http.MethodPost, address: moved.address, path: path, target: moved.leader, body: data, fresh: true})
	}
	return out, err
}

package cluster

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
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

// Calls between nodes are plain HTTP on the cluster port.
const (
	pathApply  = "/v1/apply"
	pathInfo   = "/v1/info"
	pathServed = "/v1/served"
	pathJoin   = "/v1/join"
	pathRemove = "/v1/remove"
	pathCall   = "/v1/call/"
	pathNode   = "/v1/node/"
	pathSealed = "/v1/encryption"

	// headerTarget names the node a call is meant for: its address may be
	// another's by now. headerCluster names the caller's cluster.
	headerTarget  = "Sluice-Node"
	headerCluster = "Sluice-Cluster"

	// maxCallBody bounds what a call may carry, maxCallAnswer what it may give,
	// in bytes.
	maxCallBody   = 4 << 20
	maxCallAnswer = 16 << 20
	// readLongest bounds the reading of a call, not the time until its answer.
	readLongest = 10 * time.Second
)

// applyAnswer is what comes of a write. Term and At are those of its entry in the
// log, 0 in answers of older builds.
type applyAnswer struct {
	*fsm.Result
	Term uint64 `json:"term,omitempty"`
	At   uint64 `json:"at,omitempty"`
}

// nodeInfo is what a node tells of itself when asked.
type nodeInfo struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Address   string `json:"address"`
	ClusterID string `json:"cluster_id,omitempty"`
	// Index is the last command this node applied, Applied the last raft entry
	// (which also counts changes of members).
	Index   uint64 `json:"index"`
	Applied uint64 `json:"applied"`
	// State is raft's word for what the node is at present: Follower, Candidate,
	// Leader or Shutdown.
	State string `json:"state,omitempty"`
	// Configured, Expect and Members are what the forming of a cluster needs:
	// whether there is one, how many nodes this one expects, and the ids it
	// finds alive.
	Configured bool     `json:"configured"`
	Expect     int      `json:"expect,omitempty"`
	Members    []string `json:"members,omitempty"`
	// Keys are the encryption keys it has (splitKeys).
	Keys string `json:"keys,omitempty"`
}

// joinRequest asks the leader for membership.
type joinRequest struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Address   string `json:"address"`
	ClusterID string `json:"cluster_id,omitempty"`
	Keys      string `json:"keys,omitempty"`
}

type joinAnswer struct {
	ClusterID string   `json:"cluster_id"`
	Members   []member `json:"members"`
}

// removeRequest asks the leader to end a membership; Leaving is set by the node
// itself.
type removeRequest struct {
	ID      string `json:"id"`
	Leaving bool   `json:"leaving,omitempty"`
}

// callError is an error on its way to another node.
type callError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Leader and Address say who leads, with code "not_leader".
	Leader  string `json:"leader,omitempty"`
	Address string `json:"address,omitempty"`
	// Unknown says that the command may have been carried out.
	Unknown bool `json:"unknown,omitempty"`
	// Ours is the answering node's cluster, with code "foreign".
	Ours string `json:"ours,omitempty"`
}

func (e *callError) Error() string { return e.Message }

// wireErrors are the errors that keep their identity between nodes.
func wireErrors() map[string]error {
	return map[string]error{
		"not_leader": ErrNotLeader, "too_large": ErrCommandTooLarge, "busy": ErrBusy, "closed": ErrClosed,
		"last_voter": ErrLastVoter, "alive": ErrAlive, "unknown_node": ErrUnknownNode, "unknown_call": ErrUnknownCall,
		"key_missing": ErrKeyMissing, "no_common_key": ErrNoCommonKey, "no_keys": ErrNoKeys, "rotation": ErrRotation, "halted": ErrHalted,
	}
}

const (
	codeForeign   = "foreign"
	codeOther     = "other"
	codeMalformed = "malformed"
)

// Handle registers what answers the calls of a name: CallLeader's on whichever
// node leads, and CallNode's. A second registration replaces the first. Handlers must end soon after
// their context does.
func (n *Node) Handle(name string, h func(ctx context.Context, body []byte) ([]byte, error)) {
	n.handlersMu.Lock()
	defer n.handlersMu.Unlock()
	n.handlers[name] = h
}

// CallLeader has the leader's handler of a name answer; on the leader it is
// called at once. ErrNoLeader, ErrNotLeader (leadership just moved) and
// ErrUnknownCall are wrapped; a handler's own error arrives as its text. A call
// is made once: whether a lost one is repeated is up to the caller.
func (n *Node) CallLeader(ctx context.Context, name string, body []byte) ([]byte, error) {
	if n.IsLeader() {
		return n.call(ctx, name, body)
	}
	leader := n.leaderID()
	if leader == "" || leader == n.id {
		return nil, ErrNoLeader
	}
	return n.client.call(ctx, leader, n.dir.address(leader), name, body)
}

// CallNode has another node's handler of a name answer. ErrUnknownCall is
// wrapped; a handler's own error arrives as its text. A call is made once.
func (n *Node) CallNode(ctx context.Context, id, name string, body []byte) ([]byte, error) {
	if id == n.id {
		return n.call(ctx, name, body)
	}
	answer, _, err := n.client.do(ctx, request{
		method: http.MethodPost, address: n.dir.address(id), path: pathNode + url.PathEscape(name), target: id, body: body,
	})
	return answer, err
}

func (n *Node) call(ctx context.Context, name string, body []byte) ([]byte, error) {
	n.handlersMu.RLock()
	h := n.handlers[name]
	n.handlersMu.RUnlock()
	if h == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownCall, name)
	}
	return h(ctx, body)
}

// newServer answers the calls of other nodes.
func newServer(n *Node) *http.Server {
	routes := http.NewServeMux()
	routes.HandleFunc("GET "+pathInfo, n.answer(n.answerInfo))
	routes.HandleFunc("GET "+pathServed, n.answer(n.answerServed))
	routes.HandleFunc("POST "+pathApply, n.answer(n.answerApply))
	routes.HandleFunc("POST "+pathJoin, n.answer(n.answerJoin))
	routes.HandleFunc("GET "+pathSealed, n.answer(n.answerEncryption))
	routes.HandleFunc("POST "+pathSealed, n.answer(n.answerRotate))
	routes.HandleFunc("POST "+pathRemove, n.answer(n.answerRemove))
	routes.HandleFunc("POST "+pathCall+"{name}", n.answer(n.answerCall))
	routes.HandleFunc("POST "+pathNode+"{name}", n.answer(n.answerNode))
	return &http.Server{
		Handler: routes, ReadHeaderTimeout: readLongest, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return n.ctx },
		ErrorLog:    zap.NewStdLog(libraryLogger(n.log, "calls")),
	}
}

// answer wraps a call: who it is meant for, what it may carry, how errors go
// back.
func (n *Node) answer(f func(r *http.Request, body []byte) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := n.accept(w, r)
		var out []byte
		if err == nil {
			out, err = f(r, body)
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			e := n.toWire(err)
			w.WriteHeader(statusOf(e.Code))
			out, err = json.Marshal(e)
			if err != nil {
				return // four strings and a boolean always encode
			}
		}
		_, _ = w.Write(out) // the caller sees a lost answer as such
	}
}

func (n *Node) accept(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if target := r.Header.Get(headerTarget); target != "" && target != n.id {
		return nil, fmt.Errorf("%w: the call is meant for node %s, this is %s", ErrNotLeader, target, n.id)
	}
	ours, theirs := n.clusterID(), r.Header.Get(headerCluster)
	if ours != "" && theirs != "" && ours != theirs {
		return nil, &ForeignClusterError{Ours: ours, Theirs: theirs, Address: r.RemoteAddr}
	}
	// Not the server's ReadTimeout: that would end long answers too.
	control := http.NewResponseController(w)
	err := control.SetReadDeadline(time.Now().Add(readLongest))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBody))
	if err != nil {
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	return body, control.SetReadDeadline(time.Time{})
}

// toWire makes an error ready to travel.
func (n *Node) toWire(err error) *callError {
	if e := (*callError)(nil); errors.As(err, &e) {
		return e
	}
	e := &callError{Code: codeOther, Message: err.Error(), Unknown: errors.Is(err, ErrOutcomeUnknown)}
	if foreign := (*ForeignClusterError)(nil); errors.As(err, &foreign) {
		e.Code, e.Ours = codeForeign, foreign.Ours
		return e
	}
	for code, sentinel := range wireErrors() {
		if errors.Is(err, sentinel) {
			e.Code = code
		}
	}
	if errors.Is(err, ErrNotLeader) {
		e.Code, e.Leader = "not_leader", n.leaderID()
		e.Address = n.dir.address(e.Leader)
	}
	return e
}

func statusOf(code string) int {
	switch code {
	case codeMalformed, "too_large":
		return http.StatusBadRequest
	case codeForeign, "alive", "last_voter", "key_missing", "no_keys", "rotation":
		return http.StatusConflict
	case "not_leader":
		return http.StatusMisdirectedRequest
	case "unknown_node", "unknown_call":
		return http.StatusNotFound
	case "busy", "closed", "no_common_key", "halted":
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (n *Node) info() nodeInfo {
	info := nodeInfo{ID: n.id, Name: n.name, Address: n.at.text, ClusterID: n.clusterID(),
		Index: n.conf.Machine.Index(), Applied: n.raft.AppliedIndex(), State: n.raft.State().String(),
		Configured: len(n.servers()) > 0, Expect: n.conf.Expect, Keys: joinKeys(n.conf.Keys.IDs())}
	for _, m := range n.dir.alive() {
		info.Members = append(info.Members, m.ID)
	}
	return info
}

func (n *Node) answerInfo(*http.Request, []byte) ([]byte, error) { return json.Marshal(n.info()) }

func (n *Node) answerServed(r *http.Request, _ []byte) ([]byte, error) {
	index, err := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	if err != nil {
		return nil, &callError{Code: codeMalformed, Message: "index: " + err.Error()}
	}
	if err := n.conf.Served.Wait(r.Context(), index); err != nil {
		return nil, err
	}
	return []byte("{}"), nil
}

func (n *Node) answerApply(r *http.Request, body []byte) ([]byte, error) {
	body, err := n.acceptEntry(body)
	if err != nil {
		return nil, err
	}
	result, index, err := n.applyLocal(r.Context(), body)
	if err != nil {
		return nil, err
	}
	c := n.committed(index)
	return json.Marshal(applyAnswer{Result: result, Term: c.term, At: c.index})
}

func (n *Node) answerJoin(r *http.Request, body []byte) ([]byte, error) {
	var req joinRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	if _, err := uuid.Parse(req.ID); err != nil {
		return nil, &callError{Code: codeMalformed, Message: "id: " + err.Error()}
	}
	if _, err := decodeMeta(meta{Name: req.Name, Address: req.Address, Cluster: req.ClusterID, Keys: req.Keys}.encode()); err != nil {
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	answer, err := n.addMember(r.Context(), req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

func (n *Node) answerRemove(r *http.Request, body []byte) ([]byte, error) {
	var req removeRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	if err := n.removeMember(r.Context(), req); err != nil {
		return nil, err
	}
	return []byte("{}"), nil
}

func (n *Node) answerCall(r *http.Request, body []byte) ([]byte, error) {
	if !n.IsLeader() {
		return nil, ErrNotLeader
	}
	return n.call(r.Context(), r.PathValue("name"), body)
}

func (n *Node) answerNode(r *http.Request, body []byte) ([]byte, error) {
	return n.call(r.Context(), r.PathValue("name"), body)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
)

// Paths of the Admin API that operate the node. They are no part of package
// api, because they act on the process as a whole.
const (
	pathLeave = "/cluster/leave"
	pathNodes = "/cluster/nodes/"
	// pathEncryption tells how each node stores the state, pathRotate leaves one
	// encryption key in use.
	pathEncryption = "/cluster/encryption"
	pathRotate     = "/cluster/encryption/rotate"

	// removeTimeout bounds the removal of another node, which takes a quorum.
	removeTimeout = 30 * time.Second
)

var (
	errNoLeader = errors.New("there is no leader to take the node out of the cluster: try again when a majority of the voters is back")
	errLeaving  = errors.New("the node is leaving already")
)

// operations are what package api has no means for.
func (g *gateway) operations() []api.Operation {
	return []api.Operation{
		{Method: http.MethodPost, Pattern: pathLeave, Do: func(context.Context, []string) (any, error) {
			return said("left the cluster", g.leave())
		}},
		{Method: http.MethodDelete, Pattern: pathNodes + "{id}", Do: func(ctx context.Context, params []string) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, removeTimeout)
			defer cancel()
			return said("removed", g.node.Remove(ctx, params[0]))
		}},
		{Method: http.MethodGet, Pattern: pathEncryption, Do: func(ctx context.Context, _ []string) (any, error) {
			return encryptionAnswer{Nodes: g.node.Encryption(ctx)}, nil
		}},
		{Method: http.MethodPost, Pattern: pathRotate, Do: g.rotate},
	}
}

// operationError is an error that knows how it is answered.
type operationError struct{ error }

// said is the answer of an operation that has a message when it went well.
func said(message string, err error) (any, error) {
	if err != nil {
		return nil, operationFailed(err)
	}
	return message, nil
}

func operationFailed(err error) error {
	if err == nil {
		return nil
	}
	return operationError{err}
}

func (e operationError) Unwrap() error   { return e.error }
func (e operationError) HTTPStatus() int { return operationStatus(e.error) }

func operationStatus(err error) int {
	var noQuorum *cluster.NoQuorumError
	switch {
	case errors.Is(err, cluster.ErrUnknownNode):
		return http.StatusNotFound
	case errors.Is(err, cluster.ErrLastVoter), errors.Is(err, cluster.ErrAlive), errors.Is(err, errLeaving),
		errors.Is(err, cluster.ErrNoKeys), errors.Is(err, cluster.ErrRotation):
		return http.StatusConflict
	case errors.Is(err, errNoLeader), errors.Is(err, cluster.ErrNoLeader), errors.As(err, &noQuorum):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// writeJSON answers with a JSON value. A client that is gone is no error.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(value)
}

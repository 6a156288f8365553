package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/cluster"
)

// Paths of the Admin API that operate the node. They are no part of package
// api, because they act on the process as a whole.
const (
	pathLeave = "/cluster/leave"
	pathNodes = "/cluster/nodes/"
)

var (
	errNoLeader = errors.New("there is no leader to take the node out of the cluster: try again when a majority of the voters is back")
	errLeaving  = errors.New("the node is leaving already")
)

// operations answers the paths above and gives everything else to next.
func (g *gateway) operations(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		switch {
		case r.Method == http.MethodPost && path == pathLeave:
			// Not the request's context: a client that goes away must not
			// leave the node half-way out.
			g.answer(w, g.leave(), "left the cluster")
		case r.Method == http.MethodDelete && strings.HasPrefix(path, pathNodes):
			id, err := url.PathUnescape(strings.TrimPrefix(path, pathNodes))
			if err == nil {
				err = g.node.Remove(r.Context(), id)
			}
			g.answer(w, err, "removed")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (g *gateway) answer(w http.ResponseWriter, err error, done string) {
	status := http.StatusOK
	message := done
	if err != nil {
		status, message = operationStatus(err), err.Error()
		g.adminLog.Warn("operation refused", zap.Error(err))
	}
	writeJSON(w, status, map[string]string{"message": message})
}

func operationStatus(err error) int {
	var noQuorum *cluster.NoQuorumError
	switch {
	case errors.Is(err, cluster.ErrUnknownNode):
		return http.StatusNotFound
	case errors.Is(err, cluster.ErrLastVoter), errors.Is(err, cluster.ErrAlive), errors.Is(err, errLeaving):
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

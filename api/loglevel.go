package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// LogLevels is the log level of this node and of the others. Safe for concurrent use.
type LogLevels interface {
	// Level names this node's level.
	Level() string
	// SetLevel changes it for a time; 0 is for good. changed is false if it was that level before. The
	// error is about the name, and clients are shown it.
	SetLevel(name string, d time.Duration) (changed bool, err error)
	// SetEverywhere is SetLevel on every node. unreached names those that did not answer; they keep theirs.
	SetEverywhere(ctx context.Context, name string, d time.Duration) (unreached []string, err error)
}

const (
	// levelTime is how long a log level is changed for unless the request says so, in seconds.
	levelTime = 60
	// levelTimeMax is longer than any node lives, and short enough to be counted in nanoseconds.
	levelTimeMax = 100 * 365 * 24 * 3600

	msgLevelChanged = "log level changed"
)

func (a *API) levelRoutes(rt *router) {
	levels := a.cfg.LogLevels
	if levels == nil {
		return
	}
	rt.handle(http.MethodGet, "/debug/node/log-level", func(*request) (*reply, error) {
		return messageReply(http.StatusOK, "log level: "+levels.Level()), nil
	})
	rt.handle(http.MethodPut, "/debug/node/log-level/{log_level}", func(q *request) (*reply, error) {
		name := q.params[0]
		d, err := levelDuration(q)
		if err != nil {
			return nil, err
		}
		changed, err := levels.SetLevel(name, d)
		switch {
		case err != nil:
			return nil, badRequest("%s", err.Error())
		case !changed:
			return messageReply(http.StatusOK, "log level is already "+name), nil
		}
		return messageReply(http.StatusOK, msgLevelChanged), nil
	})
	rt.handle(http.MethodPut, "/debug/cluster/log-level/{log_level}", func(q *request) (*reply, error) {
		d, err := levelDuration(q)
		if err != nil {
			return nil, err
		}
		unreached, err := levels.SetEverywhere(q.Context(), q.params[0], d)
		if err != nil {
			return nil, badRequest("%s", err.Error())
		}
		rep := messageReply(http.StatusOK, msgLevelChanged)
		if len(unreached) > 0 {
			rep.set(headerWarning, "these nodes did not answer and keep their log level: "+strings.Join(unreached, ", "))
		}
		return rep, nil
	})
}

// levelDuration reads the argument timeout, in seconds.
func levelDuration(q *request) (time.Duration, error) {
	seconds := float64(levelTime)
	if q.query.Has("timeout") {
		var err error
		if seconds, err = strconv.ParseFloat(q.query.Get("timeout"), 64); err != nil || seconds != seconds {
			return 0, badRequest("timeout must be a number of seconds")
		}
	}
	if seconds < 0 {
		return 0, badRequest("timeout must be greater than or equal to 0")
	}
	return time.Duration(min(seconds, levelTimeMax) * float64(time.Second)), nil
}

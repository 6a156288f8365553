package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

// Which state of the configuration a read shows, and which one a write is about.

// headerMinIndex is on reads: the answer shows at least what the log had made by this index. With the
// X-Sluice-Index of a write it reads one's own write on any node.
const headerMinIndex = "X-Sluice-Min-Index"

var (
	errBadConsistency = &statusError{http.StatusBadRequest, "consistency must be 'strong' or 'local'"}
	errBadAsOf        = &statusError{http.StatusBadRequest, "expected an index of the history, or a time such as 2026-01-31T12:00:00Z"}
	errBadMinIndex    = &statusError{http.StatusBadRequest, headerMinIndex + " must be an index"}
	errNotYet         = &statusError{http.StatusServiceUnavailable, "this node has not come to the index of " + headerMinIndex + " in time"}
	errModified       = &statusError{http.StatusPreconditionFailed, "the entity is not the one of If-Match"}
)

// view is what a read shows.
func (q *request) view() *fsm.View {
	if q.shown != nil {
		return q.shown
	}
	return q.only(q.a.view())
}

// choose looks at what the client wants to read: the newest configuration that this node has, or with
// consistency=strong one that has in it everything that was answered before, or one at least of an index, or
// with as_of that of some time ago.
func (q *request) choose() error {
	ctx, cancel := context.WithTimeout(q.Context(), servedTimeout)
	defer cancel()
	switch q.query.Get("consistency") {
	case "", "local":
	case "strong":
		if err := q.a.bringUpToDate(ctx); err != nil {
			return err
		}
	default:
		return errBadConsistency
	}
	if text := q.Header.Get(headerMinIndex); text != "" {
		index, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errBadMinIndex
		}
		if q.a.cfg.Machine.Wait(ctx, index) != nil {
			return errNotYet
		}
	}
	if !q.query.Has("as_of") {
		return nil
	}
	then, err := asOf(q.a.view(), q.query.Get("as_of"))
	if err != nil {
		return err
	}
	q.shown = q.only(then)
	return nil
}

// asOf gives the configuration of an index or a time.
func asOf(v *fsm.View, text string) (*fsm.View, error) {
	var then *fsm.View
	index, err := strconv.ParseUint(text, 10, 64)
	if err == nil {
		then, err = v.AsOf(index)
	} else {
		at, malformed := time.Parse(time.RFC3339, text)
		if malformed != nil {
			return nil, errBadAsOf
		}
		then, err = v.AsOfTime(at.Unix())
	}
	if errors.Is(err, fsm.ErrHistoryGone) {
		return nil, &statusError{http.StatusGone, err.Error()}
	}
	return then, err
}

// etag names a state of an entity.
func etag(e *fsm.Entity) string { return `"` + strconv.FormatUint(e.ModifyIndex, 10) + `"` }

// tagsIn lists the entity tags of If-Match or If-None-Match (RFC 9110, section 13.1). Weak ones are compared
// as if they were not.
func tagsIn(header string) (tags []string) {
	for tag := range strings.SplitSeq(header, ",") {
		tags = append(tags, strings.TrimPrefix(strings.TrimSpace(tag), "W/"))
	}
	return tags
}

// matches demands that the entity is in a state that If-Match names.
func (q *request) matches(e *fsm.Entity) error {
	header := q.Header.Get("If-Match")
	if header == "" {
		return nil
	}
	for _, tag := range tagsIn(header) {
		if e != nil && (tag == "*" || tag == etag(e)) {
			return nil
		}
	}
	return errModified
}

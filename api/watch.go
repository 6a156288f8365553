package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"time"
)

const (
	// maxWatchers bounds the streams of a node.
	maxWatchers = 256
	// watchQuiet is after how long without a change a line is sent that keeps the connection alive.
	watchQuiet = 15 * time.Second
	// watchWrite bounds the sending of one event to a client that does not read.
	watchWrite = 10 * time.Second
)

var errManyWatch = &statusError{http.StatusServiceUnavailable, "too many clients watch this node"}

// watch answers GET /watch: changes as server-sent events (WHATWG HTML, section 9.2), in the order of the log,
// from the one after ?index= on, or without that from now on. The id of an event is its index, so a browser's
// EventSource goes on where it was (Last-Event-ID). If what follows an index is not remembered, the first event
// is "reset", with the index that is shown next: the client has to read everything.
func (a *API) watch(q *request) (*reply, error) {
	after := a.view().ConfigIndex()
	text := q.query.Get("index")
	if last := q.Header.Get("Last-Event-ID"); last != "" {
		text = last
	}
	if text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, badRequest("index must be a number")
		}
	}
	select {
	case a.watchers <- struct{}{}:
	default:
		return nil, errManyWatch
	}
	return &reply{status: http.StatusOK, stream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { <-a.watchers }()
		if r.Method == http.MethodHead {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		s := &eventStream{w: w, control: http.NewResponseController(w)}
		a.follow(r, s, after, q.stillAdmitted)
	})}, nil
}

// stillAdmitted says whether a request that takes long would be let in now.
func (q *request) stillAdmitted() bool {
	if q.who == nil {
		return true
	}
	who, err := q.a.authenticate(q.Request)
	return err == nil && who.admits(q.endpoint, q.Method) == nil
}

// follow sends changes until the client has gone, may not see them any more, or the node stops.
func (a *API) follow(r *http.Request, s *eventStream, after uint64, admitted func() bool) {
	quiet := time.NewTicker(watchQuiet)
	defer quiet.Stop()
	if s.comment("watching after index "+strconv.FormatUint(after, 10)) != nil {
		return
	}
	for {
		changed := a.cfg.Machine.Changed()
		v := a.view()
		if !admitted() { // by a view that is no older: what is sent was made while the client could see it
			return
		}
		if since, _ := v.HistoryBase(); after < since {
			after = v.ConfigIndex()
			if s.event("reset", after, map[string]uint64{"index": after}) != nil {
				return
			}
		}
		all := v.History()
		for i := sort.Search(len(all), func(i int) bool { return all[i].Index > after }); i < len(all); i++ {
			if s.event("change", all[i].Index, a.showWrite(all[i], false)) != nil {
				return
			}
			after = all[i].Index
		}
		select {
		case <-changed:
		case <-quiet.C:
			if s.comment("quiet") != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-a.closing:
			return
		}
	}
}

// eventStream writes server-sent events.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *eventStream) event(name string, id uint64, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.send(fmt.Sprintf("event: %s\nid: %d\ndata: %s\n\n", name, id, data))
}

func (s *eventStream) comment(text string) error { return s.send(": " + text + "\n\n") }

func (s *eventStream) send(text string) error {
	// A server without deadlines is one of a test.
	_ = s.control.SetWriteDeadline(time.Now().Add(watchWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

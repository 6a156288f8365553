package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

// Sluice's own headers.
const (
	// headerIndex carries, on reads, the log index of the configuration that was shown, on writes that of
	// the change.
	headerIndex = "X-Sluice-Index"
	// headerRequestID names a write. A client that got no answer may repeat the write under the same id:
	// it is not done twice. Answers to writes carry the id.
	headerRequestID = "X-Sluice-Request-Id"
	// headerNotServed lists, by name, the nodes that did not serve a change before the wait was over.
	headerNotServed = "X-Sluice-Not-Served"
	// headerWarning says what of a write is stored as sent and has no effect here.
	headerWarning = "X-Sluice-Warning"
)

// request is one request on its way through the API.
type request struct {
	*http.Request
	a        *API
	endpoint *endpoint
	params   []string    // of the path, unescaped, in order
	query    url.Values  // parsed once
	body     requestBody // of POST, PUT and PATCH
	id       string      // of a write, see headerRequestID
	shown    *fsm.View   // what a read shows, if that is not what is newest when it looks
	who      *principal  // nil: anybody
}

// serve answers one request to the endpoints of a table, whatever happens. A guarded one must come from somebody who
// is known.
func (a *API) serve(rt *router, w http.ResponseWriter, r *http.Request, guarded bool) {
	start := a.cfg.Now()
	out := &countingWriter{ResponseWriter: w}
	q := &request{Request: r, a: a}
	defer func() {
		a.logAccess(r, out, start, q.who)
	}()
	defer func() {
		if cause := recover(); cause != nil {
			a.cfg.Logger.Error("admin request panicked", zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
			if out.status == 0 {
				a.write(out, r, messageReply(http.StatusInternalServerError, "An unexpected error occurred"), start)
			}
		}
	}()
	rep, err := a.answer(rt, w, q, guarded)
	if err != nil {
		failed := a.errorReply(err)
		if rep != nil {
			failed.header = merged(rep.header, failed.header)
		}
		rep = failed
	}
	if guarded && (rep.status == http.StatusUnauthorized || rep.status == http.StatusForbidden) {
		a.refused(r, q.who, rep.status)
	}
	a.write(out, r, rep, start)
}

// answer finds the endpoint and runs it. A reply next to an error only carries headers.
func (a *API) answer(rt *router, w http.ResponseWriter, q *request, guarded bool) (*reply, error) {
	r := q.Request
	// A preflight has no token: browsers send none with it.
	if guarded && r.Method != http.MethodOptions {
		var err error
		if q.who, err = a.authenticate(r); err != nil {
			return (&reply{}).set("WWW-Authenticate", challenge(err)), err
		}
		q.who.leaveUser(r.Context())
	}
	e, params := rt.find(r.URL.EscapedPath())
	if e == nil {
		return nil, errNotFound
	}
	if r.Method == http.MethodOptions {
		return preflight(r, e), nil
	}
	h := e.methods[r.Method]
	if h == nil {
		return (&reply{}).set("Allow", e.allow()), errMethodNotAllowed
	}
	if err := q.who.admits(e, r.Method); err != nil {
		return nil, err
	}
	q.endpoint, q.params = e, params
	var err error
	if q.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if err := q.choose(); err != nil {
			return nil, err
		}
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		read := a.readBody
		if e.read != nil {
			read = e.read
		}
		if q.body, err = read(w, r); err != nil {
			return nil, err
		}
	}
	return h(q)
}

// preflight answers OPTIONS (the CORS protocol's preflight among them).
func preflight(r *http.Request, e *endpoint) *reply {
	headers := r.Header.Get("Access-Control-Request-Headers")
	if headers == "" {
		headers = "Content-Type"
	}
	rep := &reply{status: http.StatusNoContent}
	rep.set("Allow", e.allow()).set("Access-Control-Allow-Methods", e.allow())
	return rep.set("Access-Control-Allow-Headers", headers)
}

// write sends a reply with the headers that every answer has.
func (a *API) write(w http.ResponseWriter, r *http.Request, rep *reply, start time.Time) {
	h := w.Header()
	for name, values := range rep.header {
		h[name] = values
	}
	h.Set("Server", "kong/"+a.cfg.Info.Version+"-sluice")
	h.Set("Access-Control-Allow-Origin", a.allowedOrigin(r.Header.Get("Origin")))
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Vary", "Origin")
	if r.ProtoMajor == 1 {
		h.Set("Connection", "keep-alive")
	}
	if rep.index != 0 {
		h.Set(headerIndex, strconv.FormatUint(rep.index, 10))
	}
	h.Set("X-Kong-Admin-Latency", strconv.FormatInt(a.cfg.Now().Sub(start).Milliseconds(), 10))
	if rep.stream != nil {
		rep.stream.ServeHTTP(w, r)
		return
	}
	if rep.body != nil {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	if rep.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(rep.body)))
	}
	w.WriteHeader(rep.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(rep.body) // the client has gone; there is nobody to tell
	}
}

// allowedOrigin is the origin that a browser is told it may call from.
func (a *API) allowedOrigin(origin string) string {
	if len(a.cfg.Origins) == 0 {
		if origin == "" {
			return "*"
		}
		return origin
	}
	for _, allowed := range a.cfg.Origins {
		if allowed == origin {
			return origin
		}
	}
	return a.cfg.Origins[0]
}

func merged(a, b http.Header) http.Header {
	if a == nil {
		return b
	}
	for name, values := range b {
		a[name] = values
	}
	return a
}

// countingWriter remembers what was sent, for the access log.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logAccess writes nginx's "combined" line, which is what Kong's admin_access_log holds.
func (a *API) logAccess(r *http.Request, w *countingWriter, start time.Time, who *principal) {
	if a.cfg.AccessLog == nil {
		return
	}
	host := r.RemoteAddr
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = strings.Trim(host[:i], "[]")
	}
	user := "-"
	if who != nil {
		user = logEscape(who.name)
	}
	line := fmt.Sprintf("%s - %s [%s] \"%s\" %d %d \"%s\" \"%s\"\n", host, user, start.Format("02/Jan/2006:15:04:05 -0700"),
		logEscape(r.Method+" "+r.RequestURI+" "+r.Proto), w.status, w.bytes,
		logEscape(orDash(r.Referer())), logEscape(orDash(r.UserAgent())))
	a.accessMu.Lock()
	defer a.accessMu.Unlock()
	_, _ = a.cfg.AccessLog.Write([]byte(line)) // a request is not refused because its log is full
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// logEscape writes what could end a quoted part or a line as \xHH, like nginx.
func logEscape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r >= 0x7f }) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, "\\x%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// now is the time in unix seconds, the unit of everything stored.
func (a *API) now() int64 { return a.cfg.Now().Unix() }

// view is the newest configuration that this node has.
func (a *API) view() *fsm.View { return a.cfg.Machine.View() }

// readReply makes the answer to a read of a view.
func readReply(v *fsm.View, body []byte) *reply {
	return &reply{status: http.StatusOK, body: body, index: v.ConfigIndex()}
}

// writeContext bounds a write.
func writeContext(q *request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(q.Context(), writeTimeout)
}

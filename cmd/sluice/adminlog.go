package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/obs"
)

// openAdminLog opens the access log of the Admin API. For nginx's format it gives
// the writer that package api writes to, for JSON what a handler has to be wrapped
// in; wrap is never nil.
func (g *gateway) openAdminLog() (combined io.Writer, wrap func(http.Handler) http.Handler, err error) {
	wrap = func(h http.Handler) http.Handler { return h }
	file, err := g.openAccessLog(g.cfg.AdminAccessLog())
	if err != nil || file == nil {
		return nil, wrap, err
	}
	lines := obs.NewLines(file, "admin access log", g.adminLog)
	g.onClose(func(context.Context) error { lines.Close(); return nil })
	if g.cfg.AdminAccessLogFormat() != config.FormatJSON {
		return lines, wrap, nil
	}
	return nil, func(h http.Handler) http.Handler { return &adminLog{lines: lines, next: h} }, nil
}

// adminLog writes a JSON object for each request. Its names are those of the
// proxy's log that have a meaning here; all are in every line, null where there
// is no value.
type adminLog struct {
	lines *obs.Lines
	next  http.Handler
}

func (a *adminLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start, counted := time.Now(), &adminAnswer{ResponseWriter: w}
	var user api.User
	defer func() { // also after http.ErrAbortHandler
		a.lines.Add(0, appendAdminLine(nil, r, user.Name, counted, start, time.Now()))
	}()
	a.next.ServeHTTP(counted, r.WithContext(api.WithUser(r.Context(), &user)))
}

func appendAdminLine(b []byte, r *http.Request, user string, answer *adminAnswer, start, end time.Time) []byte {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	status := answer.status
	if status == 0 {
		status = http.StatusOK
	}
	b = append(b, `{"time":"`...)
	b = end.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '"')
	for _, f := range [...]struct{ name, value string }{
		{"client", client}, {"user", user}, {"method", r.Method}, {"uri", r.RequestURI}, {"host", r.Host}, {"protocol", r.Proto},
		{"referer", r.Referer()}, {"user_agent", r.UserAgent()},
	} {
		b = append(append(append(b, `,"`...), f.name...), `":`...)
		if f.value == "" {
			b = append(b, "null"...)
		} else {
			b = obs.AppendJSONString(b, f.value)
		}
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"bytes_sent":`...)
	b = strconv.AppendInt(b, answer.bytes, 10)
	b = append(b, `,"latency_request":`...)
	b = strconv.AppendFloat(b, float64(end.Sub(start).Microseconds())/1000, 'f', 3, 64)
	return append(b, "}\n"...)
}

// adminAnswer remembers what was sent.
type adminAnswer struct {
	http.ResponseWriter
	status int
	bytes  int64 // of the body
}

func (w *adminAnswer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *adminAnswer) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *adminAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

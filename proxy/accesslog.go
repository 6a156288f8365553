package proxy

import (
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// accessLogBuffer bounds the lines that wait for the writer, in bytes: a few
// thousand lines.
const accessLogBuffer = 1 << 20

// accessLog writes one line for each exchange, through one goroutine. A line
// that finds no room is dropped and counted: a slow disk must not slow down
// requests.
type accessLog struct {
	out     io.Writer
	logger  *zap.Logger
	dropped atomic.Uint64
	clock   atomic.Pointer[clockText]
	lines   sync.Pool

	mu      sync.Mutex
	pending []byte
	closed  bool
	wake    chan struct{} // holds one token while there may be something pending
	writer  sync.WaitGroup
}

// clockText is the time of one second as nginx writes it ($time_local).
type clockText struct {
	second int64
	text   string
}

func newAccessLog(out io.Writer, logger *zap.Logger) *accessLog {
	a := &accessLog{out: out, logger: logger, wake: make(chan struct{}, 1)}
	a.lines.New = func() any { b := make([]byte, 0, 512); return &b }
	a.writer.Go(a.writeLoop)
	return a
}

// log adds the line of an exchange that has ended.
func (a *accessLog) log(x *exchange) {
	line := a.lines.Get().(*[]byte)
	*line = a.appendLine((*line)[:0], x)
	a.mu.Lock()
	if a.closed || len(a.pending)+len(*line) > accessLogBuffer {
		a.dropped.Add(1)
	} else {
		a.pending = append(a.pending, *line...)
	}
	a.mu.Unlock()
	a.lines.Put(line)
	select {
	case a.wake <- struct{}{}:
	default: // the writer has not taken the last one yet
	}
}

// writeLoop writes what is pending, a batch at a time.
func (a *accessLog) writeLoop() {
	var batch []byte
	failing := false
	for {
		a.mu.Lock()
		batch, a.pending = a.pending, batch[:0]
		closed := a.closed
		a.mu.Unlock()
		if len(batch) > 0 {
			_, err := a.out.Write(batch)
			if err != nil && !failing {
				a.logger.Error("access log cannot be written", zap.Error(err))
			}
			failing = err != nil
			continue
		}
		if closed {
			return
		}
		<-a.wake
	}
}

// close writes what is pending and ends the writer.
func (a *accessLog) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	a.writer.Wait()
}

// appendLine writes Kong's default format: $remote_addr - $remote_user
// [$time_local] "$request" $status $body_bytes_sent "$http_referer"
// "$http_user_agent" kong_request_id: "$kong_request_id".
func (a *accessLog) appendLine(b []byte, x *exchange) []byte {
	b = x.Client.Addr().AppendTo(b)
	b = append(b, " - "...)
	b = appendEscaped(b, remoteUser(x.received.Get("Authorization")))
	b = append(b, " ["...)
	b = append(b, a.timeText(x.Times.Finished)...)
	b = append(b, "] \""...)
	b = appendEscaped(b, x.Request.Method)
	b = append(b, ' ')
	b = appendEscaped(b, x.Request.RawPath)
	if x.Request.HasQuery {
		b = append(b, '?')
		if x.Request.Query != "" {
			b = appendEscaped(b, x.Request.Query)
		}
	}
	b = append(b, " HTTP/"...)
	b = strconv.AppendInt(b, int64(x.Request.ProtoMajor), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(x.Request.ProtoMinor), 10)
	b = append(b, "\" "...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, x.bodySent, 10)
	b = append(b, " \""...)
	b = appendEscaped(b, x.received.Get("Referer"))
	b = append(b, "\" \""...)
	b = appendEscaped(b, x.received.Get("User-Agent"))
	b = append(b, "\" kong_request_id: \""...)
	b = append(b, x.Request.ID...)
	return append(b, "\"\n"...)
}

// timeText formats a time once a second.
func (a *accessLog) timeText(t time.Time) string {
	second := t.Unix()
	if c := a.clock.Load(); c != nil && c.second == second {
		return c.text
	}
	text := t.Format("02/Jan/2006:15:04:05 -0700")
	a.clock.Store(&clockText{second: second, text: text})
	return text
}

// appendEscaped writes a value as nginx does (log_format escape=default): "-"
// for none, and \xXX for what could end the field, the line, or upset a
// terminal.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	if s == "" {
		return append(b, '-')
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// remoteUser is the user of Basic credentials, or "".
func remoteUser(authorization string) string {
	scheme, credentials, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return ""
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	if err != nil {
		return ""
	}
	user, _, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return ""
	}
	return user
}

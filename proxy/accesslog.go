package proxy

import (
	"encoding/base64"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/internal/obs"
)

// AccessLogFormat names what a line of the access log looks like.
type AccessLogFormat string

// The formats. In the first two, values are escaped as nginx does, so that no
// value can end its field or its line.
const (
	// AccessLogKong is Kong's default: combined, and kong_request_id: "<id>".
	AccessLogKong AccessLogFormat = "kong"
	// AccessLogCombined is nginx's: $remote_addr - $remote_user [$time_local]
	// "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent".
	AccessLogCombined AccessLogFormat = "combined"
	// AccessLogJSON is one object a line; accesslog_json.go has its names.
	AccessLogJSON AccessLogFormat = "json"
)

// known says whether the format is one of those above, or none, which is Kong's.
func (f AccessLogFormat) known() bool {
	switch f {
	case "", AccessLogKong, AccessLogCombined, AccessLogJSON:
		return true
	}
	return false
}

// accessLog writes one line for each exchange. A line that finds no room is
// dropped and counted: a slow disk must not slow down requests.
type accessLog struct {
	format AccessLogFormat
	lines  *obs.Lines
	clock  atomic.Pointer[logTime]
	spare  sync.Pool // of *[]byte, to make lines in
}

// clockText is the time of one second in some format.
type clockText struct {
	second int64
	text   string
}

// logTime is the time of one second as the access log's formats write it.
type logTime struct {
	second int64
	local  string // nginx's $time_local
	utc    string // RFC 3339 without fraction and zone
}

func newAccessLog(out io.Writer, format AccessLogFormat, logger *zap.Logger) *accessLog {
	a := &accessLog{format: format, lines: obs.NewLines(out, "access log", logger)}
	a.spare.New = func() any { b := make([]byte, 0, 512); return &b }
	return a
}

// maxSpareLine keeps a rare long line from staying in memory.
const maxSpareLine = 4 << 10

// log adds the line of an exchange that has ended.
func (a *accessLog) log(x *exchange) {
	line := a.spare.Get().(*[]byte)
	*line = a.appendLine((*line)[:0], x)
	a.lines.Add(x.Shard, *line)
	if cap(*line) <= maxSpareLine {
		a.spare.Put(line)
	}
}

// dropped counts the lines that were not written.
func (a *accessLog) dropped() uint64 { return a.lines.Dropped() }

// close writes what is there and ends the writer.
func (a *accessLog) close() { a.lines.Close() }

func (a *accessLog) appendLine(b []byte, x *exchange) []byte {
	switch a.format {
	case AccessLogJSON:
		return a.appendJSON(b, x)
	case AccessLogCombined:
		return append(a.appendCombined(b, x), '\n')
	default:
		b = append(a.appendCombined(b, x), " kong_request_id: \""...)
		b = obs.AppendLogField(b, x.Request.ID)
		return append(b, "\"\n"...)
	}
}

func (a *accessLog) appendCombined(b []byte, x *exchange) []byte {
	b = appendAddr(b, x.Client.Addr())
	b = append(b, " - "...)
	b = obs.AppendLogField(b, remoteUser(x.received.Get("Authorization")))
	b = append(b, " ["...)
	b = append(b, a.timeText(x.Times.Finished).local...)
	b = append(b, "] \""...)
	b = obs.AppendLogField(b, x.Request.Method)
	b = append(b, ' ')
	b = obs.AppendLogField(b, x.Request.RawPath)
	if x.Request.HasQuery {
		b = append(b, '?')
		if x.Request.Query != "" {
			b = obs.AppendLogField(b, x.Request.Query)
		}
	}
	b = append(b, ' ')
	b = appendProtocol(b, x)
	b = append(b, "\" "...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, x.bodySent, 10)
	b = append(b, " \""...)
	b = obs.AppendLogField(b, x.received.Get("Referer"))
	b = append(b, "\" \""...)
	b = obs.AppendLogField(b, x.received.Get("User-Agent"))
	return append(b, '"')
}

// appendAddr writes an address without its zone, whose name may be anything.
func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, '-')
	}
	return addr.WithZone("").AppendTo(b)
}

func appendProtocol(b []byte, x *exchange) []byte {
	b = append(b, "HTTP/"...)
	b = strconv.AppendInt(b, int64(x.Request.ProtoMajor), 10)
	b = append(b, '.')
	return strconv.AppendInt(b, int64(x.Request.ProtoMinor), 10)
}

// timeText formats a time once a second.
func (a *accessLog) timeText(t time.Time) *logTime {
	second := t.Unix()
	if c := a.clock.Load(); c != nil && c.second == second {
		return c
	}
	c := &logTime{second: second, local: t.Format("02/Jan/2006:15:04:05 -0700"), utc: t.UTC().Format("2006-01-02T15:04:05")}
	a.clock.Store(c)
	return c
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

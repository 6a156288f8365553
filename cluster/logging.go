package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The libraries repeat themselves while a node is away. The same message is
// logged this often in each period, then every hundredth time.
const (
	libraryPeriod = 10 * time.Second
	libraryFirst  = 5
	libraryThen   = 100
)

// libraryLogger is for what raft and gossip say themselves.
func libraryLogger(l *zap.Logger, name string) *zap.Logger {
	return l.Named(name).WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, libraryPeriod, libraryFirst, libraryThen)
	}))
}

// raftLog shows raft's log lines through zap. What raft calls information is
// for who debugs raft: this package logs elections and members itself.
type raftLog struct {
	log  *zap.Logger
	name string
	args []any
	// over says that the node stops: connections break then, and are meant to.
	over func() bool
}

var _ hclog.Logger = (*raftLog)(nil)

// Log implements hclog.Logger.
func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	to := l.level(level, msg)
	for _, arg := range args {
		if err, ok := arg.(error); ok && (errors.Is(err, raft.ErrNothingNewToSnapshot) || errors.Is(err, raft.ErrLogNotFound)) {
			to = zapcore.DebugLevel // no snapshot is needed; a follower gets one instead of the log
		}
	}
	entry := l.log.Check(to, msg)
	if entry == nil {
		return
	}
	all := append(append([]any(nil), l.args...), args...)
	fields := make([]zap.Field, 0, len(all)/2)
	for i := 0; i+1 < len(all); i += 2 {
		key := fmt.Sprint(all[i])
		if format, ok := all[i+1].(hclog.Format); ok && len(format) > 0 {
			fields = append(fields, zap.String(key, fmt.Sprintf(fmt.Sprint(format[0]), format[1:]...)))
			continue
		}
		fields = append(fields, zap.Any(key, all[i+1]))
	}
	entry.Write(fields...)
}

// level translates raft's. What it calls an error is one where the disk is
// concerned; another node that does not answer is worth a warning.
func (l *raftLog) level(level hclog.Level, msg string) zapcore.Level {
	if l.over() {
		return zapcore.DebugLevel
	}
	switch level {
	case hclog.Warn:
		return zapcore.InfoLevel
	case hclog.Error:
		for _, usual := range []string{"failed to heartbeat", "failed to appendEntries", "failed to pipeline", "failed to decode incoming",
			"failed to flush response", "failed to make request", "failed to send snapshot", "failed to accept", "peer has newer term"} {
			if strings.HasPrefix(msg, usual) {
				return zapcore.WarnLevel
			}
		}
		return zapcore.ErrorLevel
	case hclog.NoLevel, hclog.Trace, hclog.Debug, hclog.Info, hclog.Off:
	}
	return zapcore.DebugLevel
}

func (l *raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLog) IsTrace() bool { return l.IsDebug() }
func (l *raftLog) IsDebug() bool { return l.log.Core().Enabled(zapcore.DebugLevel) }
func (l *raftLog) IsInfo() bool  { return l.IsDebug() }
func (l *raftLog) IsWarn() bool  { return l.log.Core().Enabled(zapcore.WarnLevel) }
func (l *raftLog) IsError() bool { return l.log.Core().Enabled(zapcore.ErrorLevel) }

func (l *raftLog) ImpliedArgs() []any { return l.args }
func (l *raftLog) Name() string       { return l.name }

// With implements hclog.Logger.
func (l *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{log: l.log, name: l.name, args: append(append([]any(nil), l.args...), args...), over: l.over}
}

// Named implements hclog.Logger.
func (l *raftLog) Named(name string) hclog.Logger {
	return &raftLog{log: l.log.Named(name), name: name, args: l.args, over: l.over}
}

// ResetNamed implements hclog.Logger.
func (l *raftLog) ResetNamed(name string) hclog.Logger { return l.Named(name) }

// The level is zap's: it cannot be set from here.

func (l *raftLog) SetLevel(hclog.Level)  {}
func (l *raftLog) GetLevel() hclog.Level { return hclog.NoLevel }

// StandardLogger implements hclog.Logger.
func (l *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(nil), "", 0)
}

// StandardWriter implements hclog.Logger.
func (l *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return &memberlistLog{log: l.log}
}

// memberlistLog shows memberlist's lines ("[WARN] memberlist: ...") through
// zap. Its errors are warnings: a connection that failed, a packet that did not
// decode. Nothing there needs a person by itself.
type memberlistLog struct{ log *zap.Logger }

func (w *memberlistLog) Write(line []byte) (int, error) {
	text := bytes.TrimRight(line, "\n")
	level, rest, _ := bytes.Cut(text, []byte(" "))
	msg := string(bytes.TrimPrefix(rest, []byte("memberlist: ")))
	switch string(level) {
	case "[ERR]", "[WARN]":
		w.log.Warn(msg)
	case "[INFO]", "[DEBUG]":
		w.log.Debug(msg)
	default:
		w.log.Debug(string(text))
	}
	return len(line), nil
}

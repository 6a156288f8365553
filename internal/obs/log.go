package obs

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ParseLevel turns Kong's level names into zap's. notice, which zap lacks, is
// info; crit, alert and emerg are all above error.
func ParseLevel(name string) (zapcore.Level, error) {
	switch name {
	case "debug":
		return zapcore.DebugLevel, nil
	case "info", "notice":
		return zapcore.InfoLevel, nil
	case "warn":
		return zapcore.WarnLevel, nil
	case "error":
		return zapcore.ErrorLevel, nil
	case "crit", "alert", "emerg":
		return zapcore.DPanicLevel, nil
	}
	return 0, fmt.Errorf("unknown log level: %s", name)
}

// NewLogger writes JSON lines to out: ts (RFC 3339, UTC), level, logger, msg and
// the fields. level may be changed while the logger is in use.
func NewLogger(out *File, level zap.AtomicLevel) *zap.Logger {
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.SecondsDurationEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(enc), out, level)
	return zap.New(core, zap.AddStacktrace(zapcore.DPanicLevel), zap.WithClock(utcClock{zapcore.DefaultClock}))
}

// utcClock makes log times comparable between the nodes of a cluster.
type utcClock struct{ zapcore.Clock }

func (c utcClock) Now() time.Time { return c.Clock.Now().UTC() }

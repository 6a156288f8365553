//go:build !linux

package limiter

import "time"

// sinceBoot is a clock in microseconds. Nothing outlives a process here, so that
// any will do.
func sinceBoot() int64 { return time.Now().UnixMicro() }

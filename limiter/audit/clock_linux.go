package audit

import (
	"syscall"
	"time"
	"unsafe"
)

// clock is the machine's monotonic one, in microseconds: the same for all
// processes of a boot.
type clock struct {
	begin time.Time
	base  int64
}

func newClock() clock {
	const monotonic = 1
	var t syscall.Timespec
	c := clock{begin: time.Now()}
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&t)), 0); errno == 0 {
		c.base = t.Nano() / 1000
	}
	return c
}

func (c clock) now() int64 { return c.base + time.Since(c.begin).Microseconds() }

package limiter

import (
	"syscall"
	"time"
	"unsafe"
)

// sinceBoot is a clock in microseconds that goes on from process to process
// until the machine is started again, and while it sleeps.
func sinceBoot() int64 {
	const boottime = 7
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, boottime, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return time.Now().UnixMicro()
	}
	return t.Nano() / 1000
}

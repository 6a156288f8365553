package limiter

import (
	"syscall"
	"time"
	"unsafe"
)

// sinceBoot is a clock in microseconds that goes on from process to process
// until the machine is started again, as fast as time.Since does.
func sinceBoot() int64 {
	const monotonic = 1
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return time.Now().UnixMicro()
	}
	return t.Nano() / 1000
}

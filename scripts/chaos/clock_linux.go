package main

import (
	"syscall"
	"time"
	"unsafe"
)

// monotonic is the machine's monotonic clock in microseconds, which the nodes'
// records have too.
func monotonic() int64 {
	const clock = 1
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return time.Now().UnixMicro() // there is no Linux without it
	}
	return t.Nano() / 1000
}

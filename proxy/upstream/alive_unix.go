//go:build unix

package upstream

import (
	"errors"
	"net"
	"syscall"
)

// alive says whether a connection without a request is still open and silent.
// Anything that can be read means it is not: a service says nothing unasked
// but goodbye.
func alive(c net.Conn) bool {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	var readErr error
	err = rc.Control(func(fd uintptr) { // Read would fail once the last read's deadline has passed
		_, _, readErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && (errors.Is(readErr, syscall.EAGAIN) || errors.Is(readErr, syscall.EINTR))
}

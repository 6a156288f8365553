//go:build unix

package upstream

import (
	"errors"
	"net"
	"syscall"
)

// aliveness gives what says whether a connection without a request is still open and
// silent. Anything that can be read means it is not: a service says nothing unasked
// but goodbye. It is made once for a connection, so that to ask costs no memory.
func aliveness(c net.Conn) (alive func() bool) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var b [1]byte
	var nothing bool
	look := func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
	}
	return func() bool {
		// Read would fail once the last read's deadline has passed.
		return raw.Control(look) == nil && nothing
	}
}

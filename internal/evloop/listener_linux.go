package evloop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Accepted is a connection that a Listener has taken. The descriptor is
// non-blocking and belongs to who is called.
type Accepted struct {
	FD    int
	Loop  *Loop
	Peer  netip.AddrPort
	Local netip.AddrPort
}

// maxAccepts is how many connections are taken before others have their turn.
const maxAccepts = 32

// acceptPause is how long a listener rests that cannot accept for lack of
// descriptors or memory.
const acceptPause = 50 * time.Millisecond

// Listener takes the connections of one listening socket in one loop.
type Listener struct {
	conn   Conn
	task   Task
	taken  func(Accepted)
	failed func(error)
	closed atomic.Bool
	gone   bool // closed in the loop, too
	paused bool
	done   chan struct{}
}

// Listen takes the connections of a listening socket, which is duplicated: the
// caller may close ln afterwards. taken is called by the loop's goroutine and
// must not wait; failed is told, once a while, why connections cannot be taken.
func (l *Loop) Listen(ln *net.TCPListener, taken func(Accepted), failed func(error)) (*Listener, error) {
	fd, err := duplicate(ln)
	if err != nil {
		return nil, err
	}
	s := &Listener{taken: taken, failed: failed, done: make(chan struct{})}
	s.task.Init(l, s)
	// By level, so that connections that are left for later are told of again.
	if err := s.conn.bind(fd, &s.task, levels); err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	return s, nil
}

// Close takes no more connections. It returns when taken is not called any more.
func (s *Listener) Close() {
	s.closed.Store(true)
	s.task.Poke()
	<-s.done
}

// Run implements Handler.
func (s *Listener) Run() {
	switch {
	case s.gone:
		return
	case s.closed.Load():
		s.gone = true
		s.task.Retire()
		if err := s.conn.Close(); err != nil {
			s.failed(err)
		}
		close(s.done)
		return
	case s.paused && !s.task.Expired():
		return
	case s.paused:
		s.pause(false)
	}
	for range maxAccepts {
		a, err := s.accept()
		switch {
		case err == nil:
			s.taken(a)
		case errors.Is(err, ErrAgain):
			return
		case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR):
		default:
			s.failed(err)
			s.pause(true)
			return
		}
	}
}

// pause stops or resumes the events of a listener that cannot accept.
func (s *Listener) pause(on bool) {
	s.paused = on
	events, until := uint32(levels), Time(0)
	if on {
		events, until = 0, s.task.loop.group.Now().Add(acceptPause)
	}
	s.task.SetDeadline(until)
	if err := s.task.loop.control(syscall.EPOLL_CTL_MOD, s.conn.fd, s.conn.id, events); err != nil {
		s.failed(err)
	}
}

func (s *Listener) accept() (Accepted, error) {
	var sa syscall.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	fd, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(s.conn.fd), uintptr(unsafe.Pointer(&sa)),
		uintptr(unsafe.Pointer(&size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	switch {
	case errno == syscall.EAGAIN:
		return Accepted{}, ErrAgain
	case errno != 0:
		return Accepted{}, fmt.Errorf("accept: %w", errno)
	}
	a := Accepted{FD: int(fd), Loop: s.task.loop, Peer: addrPort(&sa)}
	size = uint32(unsafe.Sizeof(sa))
	if _, _, errno := syscall.RawSyscall(syscall.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size))); errno == 0 {
		a.Local = addrPort(&sa)
	}
	SetOptions(a.FD)
	return a, nil
}

// SetOptions makes a socket one for a proxy: small writes leave at once, and a
// peer that is gone is found out in the end.
func SetOptions(fd int) {
	// A socket without these works, too.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
}

func addrPort(sa *syscall.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case syscall.AF_INET:
		in := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkPort(&in.Port))
	case syscall.AF_INET6:
		in := (*syscall.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), networkPort(&in.Port))
	}
	return netip.AddrPort{}
}

func networkPort(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// Duplicate gives a non-blocking descriptor of its own for the socket of a
// connection, whose owner may close it afterwards.
func Duplicate(c syscall.Conn) (int, error) { return duplicate(c) }

func duplicate(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("duplicate: %w", err)
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(own uintptr) {
		r, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, own, syscall.F_DUPFD_CLOEXEC, 0)
		if errno != 0 {
			dupErr = errno
			return
		}
		fd = int(r)
	})
	if err = errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("duplicate: %w", err)
	}
	return fd, nil
}

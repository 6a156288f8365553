package load

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// The calls that the syscall package has no name for; the numbers are the same
// on every architecture that Go has for Linux but MIPS.
const (
	sysEpollPwait2   = 441
	prSetTimerSlack  = 29
	scratchSize      = 256 << 10
	eventsPerWait    = 512
	connectTimeLimit = 5 * time.Second
)

// poller is an epoll set. Where the process has nothing else to do (alone) its
// waits go around the Go scheduler too; next to other goroutines that would
// hold up every collection of garbage.
type poller struct {
	fd     int
	wait6  func(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err syscall.Errno)
	events [eventsPerWait]syscall.EpollEvent
}

// newPoller also takes this thread's timer slack away, 50 us by default, so
// that a wait ends when it is due.
func newPoller(alone bool) (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0); errno != 0 {
		return nil, fmt.Errorf("prctl timer slack: %w", errno)
	}
	p := &poller{fd: fd, wait6: syscall.Syscall6}
	if alone {
		p.wait6 = syscall.RawSyscall6
	}
	return p, nil
}

func (p *poller) close() { _ = syscall.Close(p.fd) }

func (p *poller) add(fd int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &event)
}

// wantWrite says whether room to write is an event of fd too.
func (p *poller) wantWrite(fd int, on bool) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if on {
		event.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_MOD, fd, &event)
}

// wait gives the events there are, none after the timeout; below 0: no limit.
func (p *poller) wait(timeout time.Duration) ([]syscall.EpollEvent, error) {
	var limit *syscall.Timespec
	if timeout >= 0 {
		t := syscall.NsecToTimespec(int64(timeout))
		limit = &t
	}
	n, _, errno := p.wait6(sysEpollPwait2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
		eventsPerWait, uintptr(unsafe.Pointer(limit)), 0, 0)
	switch errno {
	case 0:
		return p.events[:n], nil
	case syscall.EINTR:
		return nil, nil
	case syscall.ENOSYS:
		return nil, errors.New("epoll_pwait2 needs Linux 5.11")
	}
	return nil, fmt.Errorf("epoll_pwait2: %w", errno)
}

// rawRead and rawWrite go around the scheduler: the sockets do not block.
func rawRead(fd int, p []byte) (int, syscall.Errno) {
	return rawIO(syscall.SYS_READ, fd, p)
}

// readWith goes through the scheduler if the call may block.
func readWith(instant bool, fd int, p []byte) (int, syscall.Errno) {
	if instant {
		return rawRead(fd, p)
	}
	n, err := syscall.Read(fd, p)
	errno, _ := err.(syscall.Errno) // syscall.Read gives no other
	return max(n, 0), errno
}

func rawWrite(fd int, p []byte) (int, syscall.Errno) {
	return rawIO(syscall.SYS_WRITE, fd, p)
}

func rawIO(call uintptr, fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

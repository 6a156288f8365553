package load

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// acceptor is a listening socket, and the poller that waits for it and for the
// connections that it gives.
type acceptor struct {
	listener *os.File
	fd       int // its descriptor: Fd makes it block, so it is called once
	poll     *poller
}

// listen gives the address that it listens on, too. alone says that the process
// does nothing else.
func listen(address string, alone bool) (*acceptor, string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = listener.Close() }() // the file is another descriptor
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return nil, "", err
	}
	a := &acceptor{listener: file, fd: int(file.Fd())}
	if a.poll, err = newPoller(alone); err == nil {
		err = a.poll.add(a.fd)
	}
	if err == nil {
		err = syscall.SetNonblock(a.fd, true)
	}
	return a, listener.Addr().String(), err
}

func (a *acceptor) close() {
	a.poll.close()
	_ = a.listener.Close()
}

// each accepts what there is. The sockets do not block, and are watched.
func (a *acceptor) each(f func(fd int) error) error {
	for {
		fd, _, err := syscall.Accept4(a.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR) {
			return nil
		}
		if err == nil {
			err = a.watch(fd)
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := f(fd); err != nil {
			return err
		}
	}
}

// watch waits for a connection from now on.
func (a *acceptor) watch(fd int) error {
	return errors.Join(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1), a.poll.add(fd))
}

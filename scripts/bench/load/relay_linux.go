package load

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// Relay passes bytes on between each of its connections and one of its own to a
// service, and does nothing else: a read and a write for a request, a read and a
// write for its answer, and a share of a wait. A proxy that asks the kernel for
// these in this way cannot cost less. What cannot be passed on at once ends both
// connections.
type Relay struct {
	*acceptor
	service syscall.SockaddrInet4
	other   []int // by descriptor; 0: closed
	buffer  []byte
}

// NewRelay listens on an address, and relays to that of a service on IPv4. Its
// process has nothing else to do.
func NewRelay(address, service string) (*Relay, error) {
	to, err := netip.ParseAddrPort(service)
	if err != nil {
		return nil, err
	}
	if !to.Addr().Is4() {
		return nil, fmt.Errorf("%s is not of IPv4", service)
	}
	a, _, err := listen(address, true)
	return &Relay{acceptor: a, service: syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())},
		buffer: make([]byte, scratchSize)}, err
}

// Run relays until there is an error. There is no other end but that of the
// process.
func (r *Relay) Run() error {
	for {
		events, err := r.poll.wait(-1)
		if err != nil {
			return err
		}
		for i := range events {
			if fd := int(events[i].Fd); fd != r.fd {
				r.pass(fd)
			} else if err := r.each(r.dial); err != nil {
				return err
			}
		}
	}
}

// dial gives a client a connection to the service.
func (r *Relay) dial(client int) error {
	service, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	// It blocks until it is connected, and not after.
	if err := errors.Join(syscall.Connect(service, &r.service), syscall.SetNonblock(service, true), r.watch(service)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	r.join(client, service)
	r.join(service, client)
	return nil
}

func (r *Relay) join(fd, other int) {
	for fd >= len(r.other) {
		r.other = append(r.other, 0)
	}
	r.other[fd] = other
}

func (r *Relay) pass(fd int) {
	other := r.other[fd]
	if other == 0 {
		return // closed by an event before
	}
	n, errno := rawRead(fd, r.buffer)
	if errno == syscall.EAGAIN {
		return
	}
	if errno == 0 && n > 0 {
		if k, errno := rawWrite(other, r.buffer[:n]); errno == 0 && k == n {
			return
		}
	}
	r.other[fd], r.other[other] = 0, 0
	_, _ = syscall.Close(fd), syscall.Close(other)
}

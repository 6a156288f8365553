// Package netns puts processes into network namespaces of their own, with a
// switch of the runner's between them that loses, doubles, delays and cuts. It
// needs no tool, only the kernel's namespaces and /dev/net/tun: netem, which tc
// would set, is missing from some kernels, knows no cut in one direction only,
// and is another program to clean up after. Namespaces have no names and are gone
// when the runner is, however it ended.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

const (
	device    = "net0"
	mtu       = 1500
	tunDevice = "/dev/net/tun"

	tunSetIff = 0x400454ca // TUNSETIFF of linux/if_tun.h
	iffTun    = 0x0001
	iffNoPI   = 0x1000
)

// Space is a network namespace with a loopback device and one to the switch; or
// the runner's own, see Here.
type Space struct {
	Addr netip.Addr
	tun  *os.File // nil for Here

	work chan func()
	quit chan struct{}
	done sync.WaitGroup
}

// New makes a namespace whose device has the address, in a network of 256. It
// runs a goroutine, and a thread for it, until Close.
func New(addr netip.Addr) (*Space, error) {
	s, err := open(addr, func(s *Space) error {
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		return s.build()
	})
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return s, nil
}

// Here gives the runner's own namespace the shape of a Space, for where others
// cannot be made. The address is one of loopback's.
func Here(addr netip.Addr) *Space {
	s, _ := open(addr, func(*Space) error { return nil })
	return s
}

func open(addr netip.Addr, enter func(*Space) error) (*Space, error) {
	s := &Space{Addr: addr, work: make(chan func()), quit: make(chan struct{})}
	made := make(chan error)
	s.done.Go(func() { s.live(made, enter) })
	if err := <-made; err != nil {
		s.done.Wait()
		return nil, err
	}
	return s, nil
}

// live is the goroutine whose thread is in the namespace. The thread is never
// given back: it ends with the goroutine.
func (s *Space) live(made chan<- error, enter func(*Space) error) {
	runtime.LockOSThread()
	err := enter(s)
	made <- err
	if err != nil {
		return
	}
	for {
		select {
		case f := <-s.work:
			f()
		case <-s.quit:
			return
		}
	}
}

// Do has f run in the namespace: what it dials, listens on and starts is there.
// It must not block for long: there is one thread. After Close it is an error.
func (s *Space) Do(f func() error) error {
	done := make(chan error, 1)
	select {
	case s.work <- func() { done <- f() }:
		return <-done
	case <-s.quit:
		return net.ErrClosed
	}
}

// Dial connects to an address in the namespace.
func (s *Space) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = s.Do(func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Close lets go of the namespace, which ends with the last process in it.
func (s *Space) Close() error {
	close(s.quit)
	s.done.Wait()
	if s.tun == nil {
		return nil
	}
	return s.tun.Close()
}

// build makes the devices.
func (s *Space) build() (err error) {
	fd, err := syscall.Open(tunDevice, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: tunDevice, Err: err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, syscall.Close(fd))
		}
	}()
	r := newRequest(device)
	r.putShort(iffTun | iffNoPI)
	if err := ioctl(fd, tunSetIff, r); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { err = errors.Join(err, syscall.Close(socket)) }()
	mask := netip.AddrFrom4([4]byte{255, 255, 255, 0})
	for _, step := range []struct {
		name string
		call uintptr
		r    *ifRequest
	}{
		{"loopback up", syscall.SIOCSIFFLAGS, newRequest("lo").putShort(syscall.IFF_UP)},
		{"address", syscall.SIOCSIFADDR, newRequest(device).putAddr(s.Addr)},
		{"netmask", syscall.SIOCSIFNETMASK, newRequest(device).putAddr(mask)},
		{"mtu", syscall.SIOCSIFMTU, newRequest(device).putInt(mtu)},
		{"up", syscall.SIOCSIFFLAGS, newRequest(device).putShort(syscall.IFF_UP)},
	} {
		if err := ioctl(socket, step.call, step.r); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	s.tun = os.NewFile(uintptr(fd), tunDevice)
	return nil
}

// ifRequest is the kernel's struct ifreq.
type ifRequest struct {
	name [syscall.IFNAMSIZ]byte
	data [24]byte
}

func newRequest(device string) *ifRequest {
	r := new(ifRequest)
	copy(r.name[:syscall.IFNAMSIZ-1], device)
	return r
}

func (r *ifRequest) putShort(v uint16) *ifRequest {
	*(*uint16)(unsafe.Pointer(&r.data[0])) = v
	return r
}

func (r *ifRequest) putInt(v int32) *ifRequest {
	*(*int32)(unsafe.Pointer(&r.data[0])) = v
	return r
}

func (r *ifRequest) putAddr(a netip.Addr) *ifRequest {
	r.putShort(syscall.AF_INET)
	b := a.As4()
	copy(r.data[4:8], b[:])
	return r
}

func ioctl(fd int, call uintptr, r *ifRequest) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), call, uintptr(unsafe.Pointer(r))); errno != 0 {
		return errno
	}
	return nil
}

package evloop

import (
	"syscall"
	"unsafe"
)

// A request that names a socket by its descriptor begins with looking it up and
// holding it, since another thread may close it meanwhile. One that names a slot of
// the ring, into which the socket was put before, does not. What is in a slot stays
// open, so it has to be taken out before its descriptor is closed.

// maxSlots is how many sockets a ring has slots for. Others do without.
const maxSlots = 16 << 10

// slotAfter is how many sends a connection makes before it gets a slot: a call of the
// kernel, and one more in the end.
const slotAfter = 3

// slots are numbers from 1 on; 0 is none.
type slots struct {
	free []int32 // given back
	used int32   // those above it were never given
	most int32
	file int32 // what the kernel is given for a slot
}

func (s *slots) take() int32 {
	if last := len(s.free) - 1; last >= 0 {
		slot := s.free[last]
		s.free = s.free[:last]
		return slot
	}
	if s.used == s.most {
		return 0
	}
	s.used++
	return s.used
}

// openSlots makes slots, as many as a process may have descriptors and at most so
// many. There are none where the kernel does not let go of a socket at once: until
// 6.3 it did so a second later, and a peer would be told of the end as late.
func (r *uring) openSlots(most uint64) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	const sparse = 1
	reg := struct {
		n, flags      uint32
		_, data, tags uint64
	}{n: uint32(min(most, limit.Cur)), flags: sparse}
	if r.register(registerFiles2, unsafe.Pointer(&reg), unsafe.Sizeof(reg)) != 0 {
		return
	}
	if r.slots.most = int32(reg.n); !r.letsGo() {
		r.slots = slots{}
		_ = r.register(unregisterFiles, nil, 0)
	}
}

// letsGo tries whether a socket is closed with its descriptor, once it has left its
// slot.
func (r *uring) letsGo() bool {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fds[1])
	slot := r.hold(fds[0])
	left := slot > 0 && r.letGo(slot)
	if err := syscall.Close(fds[0]); err != nil || !left {
		return false
	}
	n, err := syscall.Read(fds[1], make([]byte, 1))
	return n == 0 && err == nil
}

// hold puts a socket into a slot, and gives 0 if there is none for it.
func (r *uring) hold(fd int) int32 {
	slot := r.slots.take()
	if slot > 0 && !r.update(slot, fd) {
		r.slots.most, r.slots.free = r.slots.used, nil // it would fail again
		return 0
	}
	return slot
}

// letGo empties a slot. False: what was in it stays open.
func (r *uring) letGo(slot int32) bool {
	if !r.update(slot, -1) {
		return false
	}
	r.slots.free = append(r.slots.free, slot)
	return true
}

func (r *uring) update(slot int32, fd int) bool {
	r.slots.file = int32(fd) // not on the stack, which may move before the kernel reads it
	update := struct {
		offset, _ uint32
		fds       uint64
	}{offset: uint32(slot - 1), fds: uint64(uintptr(unsafe.Pointer(&r.slots.file)))}
	return r.register(updateFiles, unsafe.Pointer(&update), 1) == 0
}

// slotFor gives the slot of a connection that sends, 0 if it has none. Only who has
// called KeepReceiving gets one, so that a socket that is given away is in none.
func (l *Loop) slotFor(c *Conn) int32 {
	switch r := &c.ring; {
	case r.slot > 0 || !r.lasting:
	case r.sends < slotAfter:
		r.sends++
	default:
		r.slot = l.uring.hold(c.fd)
	}
	return c.ring.slot
}

// leaveSlot takes a connection's socket out of its slot.
func (l *Loop) leaveSlot(c *Conn) {
	slot := c.ring.slot
	c.ring.slot = 0
	if slot > 0 && !l.uring.letGo(slot) {
		_ = syscall.Shutdown(c.fd, syscall.SHUT_RDWR) // so that the peer hears of the end
	}
}

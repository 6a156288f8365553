package evloop

import (
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// What a connection is ready for, as far as its loop has been told.
const (
	readable uint32 = 1 << iota
	writable
	hungUp // the peer has closed its direction, or all of it
	broken
	cut
	fresh // Ended was not called yet
)

// Conn is a non-blocking socket in a loop. Its methods but Cut belong to the
// owner of the task that it is bound to. A Conn is for one socket: it must not
// be bound a second time.
type Conn struct {
	fd    int
	id    uint32 // tells this use of the descriptor from others
	loop  *Loop
	ready atomic.Uint32
	task  atomic.Pointer[Task]
	ring  byRing
}

// ids are given to connections in turn; an event of one that was closed is
// told from those of its successor.
var ids atomic.Uint32

const (
	edge  = -syscall.EPOLLET & 0xffffffff // the package's constant is negative
	edges = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge
	// besides is what a ring that receives has to be told of besides.
	besides = syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge
	levels  = syscall.EPOLLIN
)

// Bind puts a socket, which must be in non-blocking mode, into the loop of a
// task, whose handler may run at once and for each event from now on. After an
// error the descriptor is still the caller's.
func (c *Conn) Bind(fd int, t *Task) error {
	if c.ring.on = t.loop.uring != nil; c.ring.on {
		return c.bind(fd, t, besides)
	}
	return c.bind(fd, t, edges)
}

func (c *Conn) bind(fd int, t *Task, events uint32) error {
	c.fd, c.loop, c.id = fd, t.loop, ids.Add(1)
	c.ready.Store(readable | writable | fresh) // to be tried
	c.task.Store(t)
	// From here on it can be found and its task poked; that must not run before
	// all of this is done, or else it may close what is added here.
	unowned := t.state.CompareAndSwap(idle, running)
	err := t.loop.group.table.put(fd, c)
	if err == nil {
		if err = t.loop.control(syscall.EPOLL_CTL_ADD, fd, c.id, events); err != nil {
			t.loop.group.table.drop(fd, c)
		}
	}
	switch {
	case err != nil:
		c.task.Store(nil) // nobody pokes it any more
		if unowned {
			t.state.Store(idle)
		}
	case unowned:
		t.release()
	}
	return err
}

// Attach makes the events of the connection those of another task of the same
// loop. For the owner of both.
func (c *Conn) Attach(t *Task) { c.task.Store(t) }

// happened notes events. It gives the task if the caller has to run it.
func (l *Loop) happened(c *Conn, events uint32) *Task {
	var bits uint32
	if events&syscall.EPOLLIN != 0 {
		bits |= readable
	}
	if events&syscall.EPOLLOUT != 0 {
		bits |= writable
	}
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP) != 0 {
		bits |= hungUp | readable
	}
	if events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
		bits |= broken | hungUp | readable | writable
	}
	if c.ring.on {
		return l.toldOfRing(c, bits)
	}
	c.ready.Or(bits)
	return c.nudge()
}

// nudge has the connection's task know that something has happened. It gives it
// if the caller has to run it.
func (c *Conn) nudge() *Task {
	if t := c.task.Load(); t != nil && t.nudge() {
		return t
	}
	return nil
}

// Read reads what is there. ErrAgain: nothing is, for the moment. io.EOF: the
// peer has closed its direction.
func (c *Conn) Read(p []byte) (int, error) {
	ready := c.ready.Load()
	switch {
	case ready&cut != 0:
		return 0, ErrCut
	case ready&readable == 0:
		return 0, ErrAgain
	case len(p) == 0:
		return 0, nil
	case c.ring.on:
		return c.readRing(p)
	}
	// Forgotten before it is tried: an event that comes meanwhile counts.
	c.ready.And(^readable)
	n, errno := c.recv(p)
	switch {
	case errno == syscall.EAGAIN:
		return 0, ErrAgain
	case errno != 0:
		c.ready.Or(readable) // whoever asks again is told again
		return 0, fmt.Errorf("read: %w", errno)
	case n == 0:
		c.ready.Or(readable)
		return 0, io.EOF
	case n == len(p), c.ready.Load()&hungUp != 0:
		c.ready.Or(readable) // there may be more, and no event for it
	}
	return n, nil
}

// recv reads from the socket. 0 without an error is the end. recvfrom and sendto
// cost the kernel less than read and write, which look after a file's position.
func (c *Conn) recv(p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Write writes what there is room for. ErrAgain comes with less than all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if c.ring.on {
		if n, done, err := c.writeRing(p, nil); done {
			return n, err
		}
	}
	total := 0
	for total < len(p) {
		ready := c.ready.Load()
		switch {
		case ready&cut != 0:
			return total, ErrCut
		case ready&writable == 0:
			return total, ErrAgain
		}
		c.ready.And(^writable)
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&p[total])), uintptr(len(p)-total),
			syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			total += int(n)
			c.ready.Or(writable) // a full buffer shows at the next try
		case syscall.EAGAIN:
			return total, ErrAgain
		case syscall.EINTR:
			c.ready.Or(writable)
		default:
			return total, fmt.Errorf("write: %w", errno)
		}
	}
	return total, nil
}

// Readable says whether Read may give something other than ErrAgain.
func (c *Conn) Readable() bool { return c.ready.Load()&(readable|cut) != 0 }

// HungUp says whether the peer is known to have closed its direction of the
// connection, or all of it. What it has sent before may still be unread. Safe
// for concurrent use.
func (c *Conn) HungUp() bool { return c.ready.Load()&(hungUp|cut) != 0 }

// Ended is HungUp, but asks the kernel the first time. An end that comes in one
// segment with data is told of a moment after the data where it is read before
// its event, or just while the event is made. For the owner.
func (c *Conn) Ended() bool {
	if c.HungUp() {
		return true
	}
	if c.ready.Load()&fresh == 0 || c.ring.on && c.inFlight() {
		return false
	}
	c.ready.And(^fresh)
	var b [1]byte
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	switch {
	case errno != 0 || n > 0:
		return false
	case c.ring.on:
		c.ready.Or(hungUp) // readable comes with what the ring receives
	default:
		c.ready.Or(hungUp | readable)
	}
	return true
}

// Broken says whether the connection is known to be over in both directions: it
// was reset, or both sides have closed theirs. Safe for concurrent use.
func (c *Conn) Broken() bool { return c.ready.Load()&(broken|cut) != 0 }

// IsCut says whether Cut was called. Safe for concurrent use.
func (c *Conn) IsCut() bool { return c.ready.Load()&cut != 0 }

// Silent says whether the peer has neither sent anything nor closed, before anything
// else came that the owner has read. It asks the kernel, unless that receives for the
// connection and tells this thread. For the owner.
func (c *Conn) Silent() bool {
	switch {
	case !c.ring.on:
		return !c.waiting()
	case !c.tells() && c.untold():
		return false
	}
	return !c.unasked()
}

// waiting asks the kernel whether there is something in the socket, or its end.
func (c *Conn) waiting() bool {
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno != syscall.EAGAIN && errno != syscall.EINTR
}

// CloseWrite tells the peer that nothing more follows.
func (c *Conn) CloseWrite() error {
	if c.ring.on && !c.closeWriteRing() {
		return nil
	}
	if err := syscall.Shutdown(c.fd, syscall.SHUT_WR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return nil
}

// Cut makes every further Read and Write fail with ErrCut and runs the task, so
// that its owner closes the connection. Safe for concurrent use.
func (c *Conn) Cut() {
	c.ready.Or(cut)
	if t := c.task.Load(); t != nil {
		t.Poke()
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	if c.ring.on && c.loop != nil {
		c.closeRing()
		return nil
	}
	fd := c.Release()
	if fd < 0 {
		return nil
	}
	if err := syscall.Close(fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Reset makes a Close answer with a reset instead of an orderly end, so that the
// peer sees that something is missing. It also frees the socket at once.
func (c *Conn) Reset() {
	c.ring.reset = true
	// A socket that is broken already needs no reset.
	_ = syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}

// Release takes the socket out of its loop and gives it to the caller; -1 if
// that was done before. No event runs the task on its account any more. It is for
// the turn in which all was read, to ErrAgain or to less than was asked for: a
// connection of which the loop may have received more is closed, and gives -1.
func (c *Conn) Release() int {
	if c.loop == nil {
		return -1
	}
	fd := c.fd
	if c.ring.on && !c.releasable() {
		c.closeRing()
		return -1
	}
	c.loop.group.table.drop(fd, c)
	// A descriptor that is closed next would leave by itself, but not one that
	// is duplicated. The errors possible here mean that it is out already.
	_ = syscall.EpollCtl(c.loop.fd, syscall.EPOLL_CTL_DEL, fd, nil)
	c.loop, c.fd = nil, -1
	return fd
}

// Task gives the task that the connection is bound to. Safe for concurrent use.
func (c *Conn) Task() *Task { return c.task.Load() }

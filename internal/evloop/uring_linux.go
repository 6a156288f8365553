package evloop

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// The kernel's numbers (linux/io_uring.h), as far as they are used.
const (
	sysUringSetup, sysUringEnter, sysUringRegister = 425, 426, 427

	setupCQSize      = 1 << 3
	setupClamp       = 1 << 4
	setupSubmitAll   = 1 << 7
	setupCoopTaskrun = 1 << 8
	setupTaskrunFlag = 1 << 9

	featSingleMmap   = 1 << 0
	featNoDrop       = 1 << 1
	featSubmitStable = 1 << 2
	featFastPoll     = 1 << 5
	featExtArg       = 1 << 8
	featCQESkip      = 1 << 11
	featNoIOWait     = 1 << 17
	featsNeeded      = featSingleMmap | featNoDrop | featSubmitStable | featFastPoll | featExtArg | featCQESkip

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3
	enterNoIOWait  = 1 << 7

	opPollAdd     = 6
	opAsyncCancel = 14
	opClose       = 19
	opSend        = 26
	opRecv        = 27

	sqeFixedFile    = 1 << 0
	sqeBufferSelect = 1 << 5
	sqeSkipSuccess  = 1 << 6

	recvPollFirst = 1 << 0
	recvMultishot = 1 << 1

	cqeBuffer        = 1 << 0
	cqeMore          = 1 << 1
	cqeSocketNotDone = 1 << 2 // IORING_CQE_F_SOCK_NONEMPTY
	cqeBufferShift   = 16

	sqOverflow = 1 << 1
	sqTaskrun  = 1 << 2

	unregisterFiles    = 3
	unregisterEventFD  = 5
	updateFiles        = 6
	registerProbe      = 8
	registerFiles2     = 13
	registerBufferRing = 22

	// opOfLinux61 came with Linux 6.1. Kernels before it may lose count of a send
	// that was done in part.
	opOfLinux61 = 48

	offsetSQEs = 0x10000000
)

// sqe is a request to the kernel.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	opFlags  uint32
	userData uint64
	bufGroup uint16
	_        uint16
	_        uint32
	_        [2]uint64
}

// cqe is its answer.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// uringParams is what the kernel is asked for a ring, and says of it.
type uringParams struct {
	sqEntries, cqEntries, flags, _, _, features, _ uint32
	_                                              [3]uint32
	sq                                             struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// waitArg is what a wait with a time limit takes.
type waitArg struct {
	sigmask   uint64
	sigmaskSz uint32
	_         uint32
	limit     uint64 // address of a Timespec
}

// lentBuffer is an entry of a ring of buffers. In the first one the last two
// bytes are the ring's tail.
type lentBuffer struct {
	addr uint64
	len  uint32
	id   uint16
	tail uint16
}

// uring is an io_uring with a ring of buffers that the kernel fills. Nothing in
// it is safe for concurrent use, and nothing in it knows of connections.
type uring struct {
	fd    int
	rings []byte
	table []byte // of sqes

	sqes           []sqe
	sqMask         uint32
	sqHead, sqTail *uint32
	sqFlags        *uint32
	filled         uint32 // sqTail with what the kernel has not been told of
	cqes           []cqe
	cqMask         uint32
	cqHead, cqTail *uint32
	taken          uint32 // *cqHead

	area     []byte // of buffers
	lent     []byte // the ring of them
	lentRing []lentBuffer
	lentTail uint16
	arg      waitArg
	limit    syscall.Timespec
	quiet    uintptr // flag of enter
	slots    slots
}

const (
	// uringEntries is how many requests go to the kernel at once.
	uringEntries = 256
	// uringAnswers is how many answers have room; the kernel keeps those that
	// have none until there is.
	uringAnswers = 4096
	// Buffers for what connections receive. They are in use only between two
	// looks at the kernel, or while a handler leaves them unread.
	uringBuffers    = 256
	uringBufferSize = 2 << 10
)

// errNoRing says that this system has no io_uring that will do.
var errNoRing = errors.New("io_uring is not to be had")

// newUring makes a ring. Its owner closes it.
func newUring() (*uring, error) {
	// The order of bytes and that of stores to shared memory are known to be
	// right on these.
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return nil, fmt.Errorf("%w: not on %s", errNoRing, runtime.GOARCH)
	}
	p := uringParams{cqEntries: uringAnswers,
		flags: setupCQSize | setupClamp | setupSubmitAll | setupCoopTaskrun | setupTaskrunFlag}
	fd, _, errno := syscall.RawSyscall(sysUringSetup, uringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("%w: io_uring_setup: %w", errNoRing, errno)
	}
	r := &uring{fd: int(fd)}
	err := r.complete(&p)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errNoRing, err), r.close())
	}
	return r, nil
}

// complete maps what the kernel shares, and lends it buffers.
func (r *uring) complete(p *uringParams) error {
	if p.features&featsNeeded != featsNeeded {
		return fmt.Errorf("the kernel is too old: features %#x", p.features)
	}
	if p.features&featNoIOWait != 0 {
		r.quiet = enterNoIOWait // or else a wait for sockets is shown as one for disks
	}
	var probe struct {
		lastOp uint8
		_      [15]uint8
	}
	if errno := r.register(registerProbe, unsafe.Pointer(&probe), 0); errno != 0 || probe.lastOp < opOfLinux61 {
		return fmt.Errorf("the kernel is too old: it has %d operations (%w)", probe.lastOp, errno)
	}
	const shared, populated = syscall.MAP_SHARED | syscall.MAP_POPULATE, syscall.PROT_READ | syscall.PROT_WRITE
	size := max(int(p.sq.array+4*p.sqEntries), int(p.cq.cqes)+int(p.cqEntries)*int(unsafe.Sizeof(cqe{})))
	var err error
	if r.rings, err = syscall.Mmap(r.fd, 0, size, populated, shared); err != nil {
		return fmt.Errorf("map rings: %w", err)
	}
	if r.table, err = syscall.Mmap(r.fd, offsetSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), populated, shared); err != nil {
		return fmt.Errorf("map requests: %w", err)
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[at])) }
	r.sqHead, r.sqTail, r.sqFlags, r.sqMask = word(p.sq.head), word(p.sq.tail), word(p.sq.flags), *word(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.table[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.rings[p.cq.cqes])), p.cqEntries)
	for i := range p.sqEntries { // an entry's place is its index, for good
		*word(p.sq.array + 4*i) = i
	}
	r.filled, r.taken = *r.sqTail, *r.cqHead
	r.openSlots(maxSlots)
	return r.lend()
}

// lend gives the kernel its buffers.
func (r *uring) lend() error {
	const private, both = syscall.MAP_PRIVATE | syscall.MAP_ANON, syscall.PROT_READ | syscall.PROT_WRITE
	var err error
	if r.area, err = syscall.Mmap(-1, 0, uringBuffers*uringBufferSize, both, private); err != nil {
		return fmt.Errorf("map buffers: %w", err)
	}
	if r.lent, err = syscall.Mmap(-1, 0, uringBuffers*int(unsafe.Sizeof(lentBuffer{})), both, private); err != nil {
		return fmt.Errorf("map buffers: %w", err)
	}
	r.lentRing = unsafe.Slice((*lentBuffer)(unsafe.Pointer(&r.lent[0])), uringBuffers)
	reg := struct {
		addr    uint64
		entries uint32
		group   uint16
		_       uint16
		_       [3]uint64
	}{addr: uint64(uintptr(unsafe.Pointer(&r.lent[0]))), entries: uringBuffers}
	if errno := r.register(registerBufferRing, unsafe.Pointer(&reg), 1); errno != 0 {
		return fmt.Errorf("register buffers: %w", errno)
	}
	for id := range uint16(uringBuffers) {
		r.give(id)
	}
	r.publish()
	return nil
}

func (r *uring) register(op uintptr, arg unsafe.Pointer, n uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(sysUringRegister, uintptr(r.fd), op, uintptr(arg), n, 0, 0)
	return errno
}

// close gives everything back. Requests under way end unanswered.
func (r *uring) close() error {
	err := syscall.Close(r.fd)
	for _, m := range [...][]byte{r.rings, r.table, r.area, r.lent} {
		if m != nil {
			err = errors.Join(err, syscall.Munmap(m))
		}
	}
	if err != nil {
		return fmt.Errorf("close io_uring: %w", err)
	}
	return nil
}

// next gives an empty request, nil if there is room for none before enter.
func (r *uring) next() *sqe {
	if r.filled-atomic.LoadUint32(r.sqHead) > r.sqMask {
		return nil
	}
	e := &r.sqes[r.filled&r.sqMask]
	r.filled++
	*e = sqe{}
	return e
}

// queued is how many requests the kernel has not been told of.
func (r *uring) queued() uint32 { return r.filled - atomic.LoadUint32(r.sqHead) }

// answers is how many answers have come that take was not called for.
func (r *uring) answers() uint32 { return atomic.LoadUint32(r.cqTail) - r.taken }

// answersSince is how many have come from a place in their row on.
func (r *uring) answersSince(from uint32) uint32 { return atomic.LoadUint32(r.cqTail) - from }

// overflown says whether the kernel keeps answers that have no room.
func (r *uring) overflown() bool { return atomic.LoadUint32(r.sqFlags)&sqOverflow != 0 }

// take gives the oldest answer. There must be one.
func (r *uring) take() cqe {
	e := r.cqes[r.taken&r.cqMask]
	r.taken++
	atomic.StoreUint32(r.cqHead, r.taken)
	return e
}

// answered says whether there is an answer with an id that was not taken, other
// than that its request was cancelled. Safe for concurrent use, but takes that
// happen meanwhile may hide it.
func (r *uring) answered(id uint64) bool {
	for at, end := atomic.LoadUint32(r.cqHead), atomic.LoadUint32(r.cqTail); at != end; at++ {
		e := &r.cqes[at&r.cqMask]
		if atomic.LoadUint64(&e.userData) == id && atomic.LoadInt32(&e.res) != -int32(syscall.ECANCELED) {
			return true
		}
	}
	return false
}

// catchUp waits until every thread that has taken something out of a socket by now
// has written the answer down: it does both under the ring's lock, and any call of
// io_uring_register takes that. This one does nothing else. Safe for concurrent use.
func (r *uring) catchUp() {
	_ = r.register(unregisterEventFD, nil, 0) // ENXIO: there is none
}

// pending says whether the kernel has answers that it writes down only when it
// is entered.
func (r *uring) pending() bool { return atomic.LoadUint32(r.sqFlags)&(sqTaskrun|sqOverflow) != 0 }

// How enter waits.
const (
	noWait    = iota
	rawWait   // without a limit, and the runtime is not told
	knownWait // up to a limit in nanoseconds, below 0 without one; gives the processor up
)

// enter tells the kernel of the requests, and waits for an answer if it is to. A
// signal ends the wait.
func (r *uring) enter(how int, limit int64) error {
	atomic.StoreUint32(r.sqTail, r.filled)
	n, least, flags := uintptr(r.queued()), uintptr(0), enterGetEvents|r.quiet
	var arg, size uintptr
	if how != noWait {
		least = 1
	}
	var errno syscall.Errno
	switch {
	case how != knownWait:
		_, _, errno = syscall.RawSyscall6(sysUringEnter, uintptr(r.fd), n, least, flags, 0, 0)
	default:
		if limit >= 0 {
			r.limit = syscall.NsecToTimespec(limit)
			r.arg = waitArg{limit: uint64(uintptr(unsafe.Pointer(&r.limit)))}
			arg, size, flags = uintptr(unsafe.Pointer(&r.arg)), unsafe.Sizeof(r.arg), flags|enterExtArg
		}
		_, _, errno = syscall.Syscall6(sysUringEnter, uintptr(r.fd), n, least, flags, arg, size)
	}
	switch errno {
	case 0, syscall.EINTR, syscall.ETIME:
	case syscall.EAGAIN, syscall.EBUSY: // it takes more when some answers are taken
	default:
		return fmt.Errorf("io_uring_enter: %w", errno)
	}
	return nil
}

// buffer is one of the buffers.
func (r *uring) buffer(id uint16) []byte {
	return r.area[int(id)*uringBufferSize:][:uringBufferSize:uringBufferSize]
}

// give lends a buffer to the kernel, which hears of it from publish.
func (r *uring) give(id uint16) {
	e := &r.lentRing[r.lentTail%uringBuffers]
	e.addr, e.len = uint64(uintptr(unsafe.Pointer(&r.buffer(id)[0]))), uringBufferSize
	e.id = id
	r.lentTail++
}

// publish tells the kernel of the buffers given. The tail is stored together
// with the number beside it, because there are no atomic stores of 16 bits.
func (r *uring) publish() {
	first := &r.lentRing[0]
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&first.id)), uint32(first.id)|uint32(r.lentTail)<<16)
}

package evloop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Stream is a connection as protocols see it: a Conn, or TLS over one.
type Stream interface {
	// Read and Write never wait: ErrAgain says that they would have to.
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// WriteBoth writes a and then b, as if they were one. It may take less than
	// both without an error; call it again with the rest.
	WriteBoth(a, b []byte) (int, error)
	// Flush sends what Write has taken and not sent, and says how many bytes have
	// left. ErrAgain: some are still there.
	Flush() (int, error)
	// CloseWrite tells the peer that nothing more follows.
	CloseWrite() error
}

var (
	_ Stream = (*Conn)(nil)
	_ Stream = (*Secure)(nil)
)

// againError is ErrAgain. It is temporary in the words of net.Error, so that
// crypto/tls reads on after it.
// It has a pointer's identity, which is what comparing it costs least by.
type againError struct{ _ byte }

var _ net.Error = (*againError)(nil)

func (*againError) Error() string   { return "connection is not ready" }
func (*againError) Timeout() bool   { return false }
func (*againError) Temporary() bool { return true }

// Flush implements Stream: a plain connection keeps nothing back.
func (c *Conn) Flush() (int, error) { return 0, nil }

// WriteBoth implements Stream.
func (c *Conn) WriteBoth(a, b []byte) (int, error) {
	switch {
	case len(a) == 0:
		return c.Write(b)
	case len(b) == 0:
		return c.Write(a)
	case c.ready.Load()&(writable|cut) != writable:
		return c.Write(a) // says why not
	}
	if c.ring.on {
		if n, done, err := c.writeRing(a, b); done {
			return n, err
		}
	}
	parts := [2]syscall.Iovec{{Base: &a[0]}, {Base: &b[0]}}
	parts[0].SetLen(len(a))
	parts[1].SetLen(len(b))
	c.ready.And(^writable)
	r, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(c.fd), uintptr(unsafe.Pointer(&parts)), 2)
	n := int(r)
	switch errno {
	case 0:
		c.ready.Or(writable)
	case syscall.EAGAIN:
		return 0, ErrAgain
	case syscall.EINTR:
		c.ready.Or(writable)
		n = 0
	default:
		return 0, fmt.Errorf("write: %w", errno)
	}
	if n == len(a)+len(b) {
		return n, nil
	}
	var more int
	var err error
	if n < len(a) {
		more, err = c.Write(a[n:])
		if err != nil {
			return n + more, err
		}
		n += more
	}
	more, err = c.Write(b[n-len(a):])
	return n + more, err
}

// Socket is the connection under TLS. It begins as an ordinary one, for the
// handshake, and then moves into a loop.
type Socket struct {
	net.Conn // until it moves
	loop     *Conn
	held     []byte // taken from crypto/tls and not yet sent
	reading  bool   // within Secure.Read
	owed     int    // of held, what was added while reading

	local, remote net.Addr // once it has moved
}

// Secure is TLS over a connection in a loop.
type Secure struct {
	*tls.Conn
	socket *Socket
	conn   Conn
}

// joints holds the buffers in which heads are put before what follows them.
var joints = sync.Pool{New: func() any { return new([record]byte) }}

// NewSecure gives a TLS connection whose handshake is done, over the socket that
// was made for it. It is of no use before Move.
func NewSecure(secure *tls.Conn, socket *Socket) *Secure {
	return &Secure{Conn: secure, socket: socket}
}

// Move puts the connection into the loop of a task. After an error it is where
// it was.
func (s *Secure) Move(t *Task) error {
	socket, old := s.socket, s.socket.Conn
	tcp, ok := old.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has no descriptor", old)
	}
	fd, err := Duplicate(tcp)
	if err != nil {
		return err
	}
	socket.local, socket.remote = old.LocalAddr(), old.RemoteAddr()
	// The loop may run the task as soon as the descriptor is in it.
	socket.Conn, socket.loop = nil, &s.conn
	if err := s.conn.Bind(fd, t); err != nil {
		socket.Conn, socket.loop = old, nil
		return errors.Join(err, syscall.Close(fd))
	}
	// The task may have closed the connection by now; this is the descriptor
	// that it was duplicated from.
	_ = old.Close()
	return nil
}

// Socket gives the connection under TLS.
func (s *Secure) Socket() *Conn { return &s.conn }

// Read implements Stream.
func (s *Secure) Read(p []byte) (int, error) {
	s.socket.reading = true
	n, err := s.Conn.Read(p)
	s.socket.reading = false
	if s.socket.owed > maxOwed {
		return 0, errOwed // crypto/tls keeps it for its next write
	}
	if n > 0 {
		// crypto/tls has looked on to an alert behind the data. What is true of
		// it the next read tells: nobody expects an end, still less ErrAgain, to
		// come with data.
		return n, nil
	}
	return n, err
}

// Write implements Stream: it takes all of p or nothing.
func (s *Secure) Write(p []byte) (int, error) {
	if _, err := s.Flush(); err != nil {
		return 0, err
	}
	return s.Conn.Write(p)
}

// record is the most data that one TLS record holds.
const record = 16 << 10

// WriteBoth implements Stream. A small head goes into one record with what
// follows.
func (s *Secure) WriteBoth(a, b []byte) (int, error) {
	if _, err := s.Flush(); err != nil {
		return 0, err
	}
	if len(a) >= record {
		// Not all at once: what is taken is held until it is sent, and no
		// progress shows meanwhile.
		return s.Conn.Write(a[:record])
	}
	k := min(record-len(a), len(b))
	joint := joints.Get().(*[record]byte)
	n, err := s.Conn.Write(append(append(joint[:0], a...), b[:k]...))
	joints.Put(joint)
	if err != nil || k == len(b) {
		return n, err
	}
	if _, err := s.Flush(); err != nil {
		return n, err
	}
	more, err := s.Conn.Write(b[k:])
	return n + more, err
}

// Flush implements Stream.
func (s *Secure) Flush() (int, error) {
	held := s.socket.held
	if len(held) == 0 {
		return 0, nil
	}
	n, err := s.conn.Write(held)
	s.socket.held = held[:copy(held, held[n:])]
	if len(s.socket.held) == 0 {
		s.socket.owed = 0
	}
	if len(s.socket.held) == 0 && cap(s.socket.held) > 2*record {
		s.socket.held = nil
	}
	return n, err
}

// NetConn gives the connection below, nil once it has moved.
func (s *Socket) NetConn() net.Conn { return s.Conn }

// Read is for crypto/tls.
func (s *Socket) Read(p []byte) (int, error) {
	if s.loop == nil {
		return s.Conn.Read(p)
	}
	return s.loop.Read(p)
}

// Write is for crypto/tls, for which a write that does not succeed is the end:
// what cannot be sent is held. Its size is bounded by that of one Write of
// Secure, which takes nothing while something is held.
func (s *Socket) Write(p []byte) (int, error) {
	if s.loop == nil {
		return s.Conn.Write(p)
	}
	n := 0
	if len(s.held) == 0 {
		var err error
		if n, err = s.loop.Write(p); err != nil && !errors.Is(err, ErrAgain) {
			return n, err
		}
	}
	// A peer that asks for new keys (RFC 8446, section 4.6.3) and does not read
	// the answers must not fill the memory.
	if s.reading {
		if s.owed += len(p) - n; s.owed > maxOwed {
			return n, errOwed
		}
	}
	s.held = append(s.held, p[n:]...)
	return len(p), nil
}

// maxOwed is how much may be held that comes of reading.
const maxOwed = 16 << 10

var errOwed = errors.New("peer does not read what it asks for")

// Close is for crypto/tls.
func (s *Socket) Close() error {
	if s.loop == nil {
		return s.Conn.Close()
	}
	return s.loop.Close()
}

// SetDeadline and its likes have no effect in a loop: tasks have deadlines.
func (s *Socket) SetDeadline(t time.Time) error {
	if s.loop == nil {
		return s.Conn.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is like SetDeadline.
func (s *Socket) SetReadDeadline(t time.Time) error {
	if s.loop == nil {
		return s.Conn.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is like SetDeadline.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	if s.loop == nil {
		return s.Conn.SetWriteDeadline(t)
	}
	return nil
}

// LocalAddr implements net.Conn.
func (s *Socket) LocalAddr() net.Addr {
	if s.loop == nil {
		return s.Conn.LocalAddr()
	}
	return s.local
}

// RemoteAddr implements net.Conn.
func (s *Socket) RemoteAddr() net.Addr {
	if s.loop == nil {
		return s.Conn.RemoteAddr()
	}
	return s.remote
}

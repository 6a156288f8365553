package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
)

// streamKind is the first byte of every connection to the cluster port. No
// value is printable and none is a TLS record type, so that a browser or a TLS
// client that comes to the wrong port is refused at its first byte.
type streamKind byte

const (
	streamRaft   streamKind = 1
	streamCall   streamKind = 2
	streamGossip streamKind = 3
)

const (
	// maxStreams bounds the connections of a node, in and out. Fifty nodes need
	// a few hundred.
	maxStreams = 2048
	// maxHandshakes bounds those that have not yet said what they are, so that
	// silent clients cannot take the places of real ones.
	maxHandshakes = 128
	// handshakeTimeout is how long a connection may take to say what it is.
	handshakeTimeout = 5 * time.Second
)

// hello reads what a kind of stream says after its first byte. An error
// refuses the connection.
type hello func(net.Conn) error

// mux owns the cluster port: it splits its connections by their first byte and
// keeps track of every one, so that closing it ends them all. Safe for
// concurrent use.
type mux struct {
	ln      net.Listener
	network Network
	log     *zap.Logger
	ctx     context.Context // ends when the mux closes
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	handshakes chan struct{}
	queues     map[streamKind]*streamQueue

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
}

func newMux(ln net.Listener, network Network, log *zap.Logger) *mux {
	m := &mux{ln: ln, network: network, log: log,
		handshakes: make(chan struct{}, maxHandshakes),
		queues:     map[streamKind]*streamQueue{},
		streams:    map[*stream]struct{}{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// queue makes the listener of one kind of stream. All are made before serve.
func (m *mux) queue(kind streamKind, h hello) *streamQueue {
	q := &streamQueue{addr: m.ln.Addr(), hello: h, conns: make(chan net.Conn), done: make(chan struct{})}
	m.queues[kind] = q
	return q
}

// serve starts to accept.
func (m *mux) serve() {
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		m.accept()
	}()
}

func (m *mux) accept() {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		conn, err := m.ln.Accept()
		if err != nil {
			if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: it passes.
			m.log.Warn("the cluster port cannot accept a connection", zap.Error(err))
			select {
			case <-time.After(pause):
			case <-m.ctx.Done():
				return
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = shortest
		m.admit(conn)
	}
}

// admit starts the handshake of a new connection if there is room for it.
func (m *mux) admit(conn net.Conn) {
	select {
	case m.handshakes <- struct{}{}:
	default:
		m.log.Warn("too many connections say nothing: one more refused", zap.Stringer("from", conn.RemoteAddr()))
		_ = conn.Close() // it was never used
		return
	}
	s, err := m.track(conn)
	if err != nil {
		<-m.handshakes
		return
	}
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		err := m.handshake(s)
		<-m.handshakes
		if err != nil {
			m.log.Debug("connection refused", zap.Stringer("from", s.RemoteAddr()), zap.Error(err))
			_ = s.Close() // it is refused anyway
		}
	}()
}

func (m *mux) handshake(s *stream) error {
	if err := s.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	var first [1]byte
	if _, err := io.ReadFull(s, first[:]); err != nil {
		return fmt.Errorf("read first byte: %w", err)
	}
	q := m.queues[streamKind(first[0])]
	if q == nil {
		return fmt.Errorf("first byte %#x is not of this protocol", first[0])
	}
	if q.hello != nil {
		if err := q.hello(s); err != nil {
			return err
		}
	}
	if err := s.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return q.deliver(m.ctx, s)
}

// dial opens a stream of a kind; greeting is what its hello reads.
func (m *mux) dial(ctx context.Context, address string, kind streamKind, greeting []byte) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(ErrClosed) })()
	conn, err := m.network.Dial(ctx, address)
	if err != nil {
		if m.ctx.Err() != nil {
			return nil, ErrClosed
		}
		return nil, err
	}
	s, err := m.track(conn)
	if err != nil {
		return nil, err
	}
	if err := s.greet(append([]byte{byte(kind)}, greeting...)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (m *mux) track(conn net.Conn) (*stream, error) {
	s := &stream{Conn: conn, mux: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errors.Join(ErrClosed, conn.Close())
	}
	if len(m.streams) >= maxStreams {
		m.log.Warn("too many connections: one more refused", zap.Stringer("with", conn.RemoteAddr()))
		return nil, errors.Join(fmt.Errorf("more than %d connections", maxStreams), conn.Close())
	}
	m.streams[s] = struct{}{}
	return s, nil
}

// close ends the port and every connection. It waits for handshakes.
func (m *mux) close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	open := make([]*stream, 0, len(m.streams))
	for s := range m.streams {
		open = append(open, s)
	}
	m.mu.Unlock()
	m.cancel()
	err := m.ln.Close()
	for _, s := range open {
		_ = s.Close() // the other side sees the end, whatever this says
	}
	m.wg.Wait()
	return err
}

// stream is a tracked connection.
type stream struct {
	net.Conn
	mux *mux
}

func (s *stream) greet(greeting []byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if _, err := s.Write(greeting); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	return s.SetWriteDeadline(time.Time{})
}

func (s *stream) Close() error {
	s.mux.mu.Lock()
	delete(s.mux.streams, s)
	s.mux.mu.Unlock()
	return s.Conn.Close()
}

// streamQueue is the listener of one kind of stream.
type streamQueue struct {
	addr  net.Addr
	hello hello
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// deliver hands a connection to who accepts.
func (q *streamQueue) deliver(ctx context.Context, conn net.Conn) error {
	timeout := time.NewTimer(handshakeTimeout)
	defer timeout.Stop()
	select {
	case q.conns <- conn:
		return nil
	case <-q.done:
	case <-ctx.Done():
	case <-timeout.C:
		return errors.New("nobody accepts the connection")
	}
	return net.ErrClosed
}

// Accept gives the next connection of the kind.
func (q *streamQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close ends this kind only; the port stays open for the others.
func (q *streamQueue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *streamQueue) Addr() net.Addr { return q.addr }

// Package memnet is a network in memory: hosts that listen and dial, with
// packets that get lost and partitions that nobody is told about. Everything in
// it is made of channels and timers, so that it works with testing/synctest.
package memnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// packetQueue is how many packets wait at a host; more are dropped.
const packetQueue = 1024

// ErrRefused is given for a dial to an address where nobody listens.
const ErrRefused = syscall.ECONNREFUSED

// Net connects hosts. Safe for concurrent use.
type Net struct {
	mu        sync.Mutex
	rng       *rand.Rand
	loss      float64
	cut       map[[2]netip.Addr]bool
	moved     chan struct{} // closed when cut changes
	listeners map[netip.AddrPort]*listener
	packets   map[netip.AddrPort]*packetConn
	ports     uint16 // the last one given to a listener
}

// New makes a network whose losses follow from the seed.
func New(seed uint64) *Net {
	return &Net{rng: rand.New(rand.NewPCG(seed, 0)), cut: map[[2]netip.Addr]bool{}, moved: make(chan struct{}),
		listeners: map[netip.AddrPort]*listener{}, packets: map[netip.AddrPort]*packetConn{}, ports: 40000}
}

// Lose drops that share of all packets, 0 to 1. Streams are not affected.
func (n *Net) Lose(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Partition cuts every path between hosts of different groups; hosts of no
// group keep theirs. Streams that cross stall: nobody is told.
func (n *Net) Partition(groups ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = map[[2]netip.Addr]bool{}
	for i, a := range groups {
		for j, b := range groups {
			if i == j {
				continue
			}
			for _, from := range a {
				for _, to := range b {
					n.cut[[2]netip.Addr{netip.MustParseAddr(from), netip.MustParseAddr(to)}] = true
				}
			}
		}
	}
	n.announce()
}

// Heal restores every path.
func (n *Net) Heal() { n.Partition() }

func (n *Net) announce() {
	close(n.moved)
	n.moved = make(chan struct{})
}

// path says whether a packet gets from one host to another, and gives what is
// closed when that may have changed.
func (n *Net) path(from, to netip.Addr) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[[2]netip.Addr{from, to}], n.moved
}

// Host gives the network as seen from a host with an address ("10.0.0.1").
func (n *Net) Host(address string) *Host {
	return &Host{net: n, addr: netip.MustParseAddr(address)}
}

// Host is one host.
type Host struct {
	net  *Net
	addr netip.Addr
}

// Listen opens a port for streams and packets; port 0 takes a free one.
func (h *Host) Listen(address string) (net.Listener, net.PacketConn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	at = netip.AddrPortFrom(h.addr, at.Port())
	if at.Port() == 0 {
		n.ports++ // never used twice
		at = netip.AddrPortFrom(h.addr, n.ports)
	}
	if n.listeners[at] != nil || n.packets[at] != nil {
		return nil, nil, fmt.Errorf("listen on %s: address already in use", at)
	}
	ln := &listener{net: n, at: at, conns: make(chan net.Conn), done: make(chan struct{})}
	pc := &packetConn{net: n, at: at, in: make(chan packet, packetQueue), done: make(chan struct{})}
	n.listeners[at], n.packets[at] = ln, pc
	return ln, pc, nil
}

// Dial opens a stream. Across a partition it waits for the context's end.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	for {
		open, moved := h.net.path(h.addr, to.Addr())
		back, _ := h.net.path(to.Addr(), h.addr)
		if open && back {
			break
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
	}
	h.net.mu.Lock()
	ln := h.net.listeners[to]
	h.net.mu.Unlock()
	from := netip.AddrPortFrom(h.addr, 1) // replies do not go by it
	if ln == nil {
		return nil, fmt.Errorf("dial %s: %w", to, ErrRefused)
	}
	near, far := pipe(h.net, from, to)
	select {
	case ln.conns <- far:
		return near, nil
	case <-ln.done:
		return nil, fmt.Errorf("dial %s: %w", to, ErrRefused)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
	}
}

type listener struct {
	net   *Net
	at    netip.AddrPort
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.at)
		l.net.mu.Unlock()
		close(l.done)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// conn is one end of a stream: a pipe whose writes wait while the path is cut.
type conn struct {
	net.Conn
	net      *Net
	from, to netip.AddrPort
	once     sync.Once
	done     chan struct{}

	mu       sync.Mutex
	deadline time.Time // of writes
}

func pipe(n *Net, from, to netip.AddrPort) (near, far *conn) {
	a, b := net.Pipe()
	return &conn{Conn: a, net: n, from: from, to: to, done: make(chan struct{})},
		&conn{Conn: b, net: n, from: to, to: from, done: make(chan struct{})}
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.from) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.to) }

func (c *conn) SetDeadline(t time.Time) error {
	c.setWriteDeadline(t)
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.setWriteDeadline(t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) setWriteDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
}

func (c *conn) Write(p []byte) (int, error) {
	for {
		open, moved := c.net.path(c.from.Addr(), c.to.Addr())
		if open {
			return c.Conn.Write(p)
		}
		if err := c.stall(moved); err != nil {
			return 0, err
		}
	}
}

// stall waits for the path, the write deadline, or the end of the stream.
func (c *conn) stall(moved <-chan struct{}) error {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-moved:
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	case <-c.done:
		return net.ErrClosed
	}
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}

type packet struct {
	data []byte
	from netip.AddrPort
}

type packetConn struct {
	net  *Net
	at   netip.AddrPort
	in   chan packet
	once sync.Once
	done chan struct{}
}

func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case pk := <-c.in:
		return copy(p, pk.data), net.UDPAddrFromAddrPort(pk.from), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a packet. One that is lost is sent all the same.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	at, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, err
	}
	n := c.net
	n.mu.Lock()
	target := n.packets[at]
	lost := n.cut[[2]netip.Addr{c.at.Addr(), at.Addr()}] || n.rng.Float64() < n.loss
	n.mu.Unlock()
	if target == nil || lost {
		return len(p), nil
	}
	select {
	case target.in <- packet{append([]byte(nil), p...), c.at}:
	default: // the queue is full, as a kernel's may be
	}
	return len(p), nil
}

func (c *packetConn) Close() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.packets, c.at)
		c.net.mu.Unlock()
		close(c.done)
	})
	return nil
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

// Packets have no deadlines: reads end when the connection is closed.

func (c *packetConn) SetDeadline(time.Time) error      { return nil }
func (c *packetConn) SetReadDeadline(time.Time) error  { return nil }
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

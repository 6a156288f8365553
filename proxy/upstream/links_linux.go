package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluicegate/sluice/internal/evloop"
)

// Links keeps the connections to services that live in event loops, for whoever
// speaks HTTP/1.1 on them himself. Safe for concurrent use.
type Links struct {
	group  *evloop.Group
	tls    func(Target) *tls.Config
	keep   Keepalive
	pools  sync.Map // of *LinkPool by Target
	closed atomic.Bool
}

// NewLinks makes an empty set for the loops of a group. Its owner closes it
// before the group.
func NewLinks(cfg Config, group *evloop.Group) *Links {
	return &Links{group: group, tls: (&client{cfg: cfg}).tlsConfig, keep: cfg.Keepalive.complete()}
}

// Pool gives the connections of a target.
func (s *Links) Pool(t Target) *LinkPool {
	if p, ok := s.pools.Load(t); ok {
		return p.(*LinkPool)
	}
	t.Host = strings.Clone(t.Host) // it may be a piece of a read buffer
	p, _ := s.pools.LoadOrStore(t, &LinkPool{links: s, target: t, loops: make([]linkList, len(s.group.Loops()))})
	return p.(*LinkPool)
}

// Keep forgets the pools of targets that are not wanted any more and closes
// their idle connections.
func (s *Links) Keep(wanted func(Target) bool) {
	s.pools.Range(func(t, p any) bool {
		if !wanted(t.(Target)) {
			s.pools.Delete(t)
			p.(*LinkPool).closeIdle()
		}
		return true
	})
}

// Close closes the idle connections; those in use are closed when they come
// back.
func (s *Links) Close() {
	s.closed.Store(true)
	s.pools.Range(func(_, p any) bool {
		p.(*LinkPool).closeIdle()
		return true
	})
}

// LinkPool holds the idle connections to one target, those of each loop apart.
type LinkPool struct {
	links  *Links
	target Target
	closed atomic.Bool
	loops  []linkList
}

// linkList is the idle connections of one loop, the last used one last, so that
// the others may grow old.
type linkList struct {
	mu   sync.Mutex
	idle []*Link
	_    [32]byte // of a cache line
}

// Link is a connection to a service. It belongs to the owner of the task that it
// was got for, until Put or Close.
type Link struct {
	evloop.Stream
	conn *evloop.Conn
	pool *LinkPool
	loop *evloop.Loop
	// Addr is the service's end of it.
	Addr netip.AddrPort
	// Kept says that it has carried a request before.
	Kept     bool
	requests int

	// task watches over the link while it is idle; idle is guarded by the
	// list's lock.
	task evloop.Task
	idle bool
}

// Get gives an idle connection and makes its events those of a task; nil if
// there is none. It is not one that the service has closed, or on which it has sent
// something, before the request came: that would pass for the answer.
func (p *LinkPool) Get(t *evloop.Task) *Link {
	list := &p.loops[t.Loop().Index()]
	for {
		l := list.pop()
		if l == nil {
			return nil
		}
		l.conn.Attach(t)
		if !l.conn.HungUp() && l.conn.Silent() {
			l.Kept = true
			return l
		}
		l.Close()
	}
}

func (s *linkList) pop() *Link {
	var l *Link
	s.mu.Lock()
	if last := len(s.idle) - 1; last >= 0 {
		l = s.idle[last]
		s.idle[last] = nil
		s.idle = s.idle[:last]
		l.idle = false
	}
	s.mu.Unlock()
	return l
}

// Put keeps the connection for another request, or closes it if it has carried
// enough or there are enough. Nothing of an answer may be unread.
func (l *Link) Put() {
	l.requests++
	l.conn.Attach(&l.task)
	list := &l.pool.loops[l.loop.Index()]
	list.mu.Lock()
	limits := &l.pool.links.keep
	keep := l.requests < limits.MaxRequests && len(list.idle) < limits.PoolSize && !l.conn.HungUp() && l.silent() &&
		!l.pool.closed.Load() && !l.pool.links.closed.Load()
	if keep {
		l.conn.KeepReceiving()
		l.idle = true
		list.idle = append(list.idle, l)
		l.task.SetDeadline(l.pool.links.group.Now().Add(limits.IdleTimeout))
	}
	list.mu.Unlock()
	if !keep {
		l.Close()
	}
}

// Run implements evloop.Handler for an idle link: whatever happens to it, it is
// of no use any more. A service says nothing unasked but goodbye.
func (l *Link) Run() {
	if l.leave() {
		l.Close()
	}
}

// silent says whether the service has sent nothing, as far as is known.
func (l *Link) silent() bool {
	if l.Stream == evloop.Stream(l.conn) && !l.conn.Readable() {
		return true
	}
	// TLS may hold more than it has given, though nothing is left in the socket;
	// and what is in the socket may be no data.
	var b [1]byte
	_, err := l.Read(b[:])
	return errors.Is(err, evloop.ErrAgain)
}

// leave takes the link out of the idle ones, if it has a reason to.
func (l *Link) leave() bool {
	list := &l.pool.loops[l.loop.Index()]
	list.mu.Lock()
	defer list.mu.Unlock()
	if !l.idle || l.silent() && !l.task.Expired() {
		return false
	}
	for i := range list.idle {
		if list.idle[i] == l {
			list.idle = append(list.idle[:i], list.idle[i+1:]...)
			break
		}
	}
	l.idle = false
	return true
}

// Close closes the connection. Errors in closing what is given up mean nothing.
func (l *Link) Close() {
	l.task.Retire()
	_ = l.conn.Close()
}

// Reset makes a Close that follows drop what the service has not taken yet,
// instead of leaving it to the kernel until the service reads on.
func (l *Link) Reset() { l.conn.Reset() }

// HungUp says whether the service has closed its direction.
func (l *Link) HungUp() bool { return l.conn.HungUp() }

// Readable says whether Read may give something other than evloop.ErrAgain.
func (l *Link) Readable() bool { return l.conn.Readable() }

func (p *LinkPool) closeIdle() {
	p.closed.Store(true)
	for i := range p.loops {
		p.loops[i].mu.Lock()
		for _, l := range p.loops[i].idle {
			l.conn.Cut()
		}
		p.loops[i].mu.Unlock()
	}
}

// Dial makes a connection within the request's connect timeout, TLS included,
// and makes its events those of a task. It waits: the caller's task has to be
// detached. Its errors are those of Client.Do.
func (p *LinkPool) Dial(ctx context.Context, req *Request, t *evloop.Task) (*Link, error) {
	if p.links.closed.Load() {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, req.Connect)
	defer cancel()
	tcp, err := dialTCP(ctx, req.Target)
	if err != nil {
		return nil, dialError(err, req)
	}
	l := &Link{pool: p, loop: t.Loop()}
	if addr, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		l.Addr = netip.AddrPortFrom(addr.AddrPort().Addr().Unmap(), addr.AddrPort().Port())
	}
	l.task.Init(t.Loop(), l)
	if req.TLS {
		err = l.bindTLS(ctx, tcp, t)
	} else {
		err = l.bindPlain(tcp, t)
	}
	if err != nil {
		return nil, errors.Join(dialError(err, req), ignoreClosed(tcp.Close()))
	}
	return l, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// bindPlain moves a connection into the loop.
func (l *Link) bindPlain(tcp net.Conn, t *evloop.Task) error {
	fd, err := evloop.Duplicate(tcp.(*net.TCPConn))
	if err != nil {
		return err
	}
	c := new(evloop.Conn)
	l.conn, l.Stream = c, c
	c.SendFirst()
	if err := c.Bind(fd, t); err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	if err := tcp.Close(); err != nil {
		return errors.Join(fmt.Errorf("close: %w", err), c.Close())
	}
	return nil
}

// bindTLS shakes hands first.
func (l *Link) bindTLS(ctx context.Context, tcp net.Conn, t *evloop.Task) error {
	socket := &evloop.Socket{Conn: tcp}
	secure := tls.Client(socket, l.pool.links.tls(l.pool.target))
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	s := evloop.NewSecure(secure, socket)
	l.conn, l.Stream = s.Socket(), s
	l.conn.SendFirst()
	return s.Move(t)
}

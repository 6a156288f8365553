package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// gossip finds the other nodes and tells who is alive. It changes the
// directory and nothing else: raft's members never follow from it.
type gossip struct {
	list *memberlist.Memberlist
	dir  *directory
	log  *zap.Logger
	// self gives this node's metadata, clusterID the cluster it belongs to.
	self      func() meta
	clusterID func() string
	id        string
}

func startGossip(g *gossip, t Timing, transport memberlist.Transport) error {
	conf := memberlist.DefaultLANConfig()
	conf.Name = g.id
	conf.Transport = transport
	conf.BindAddr, conf.AdvertiseAddr = "", ""
	conf.TCPTimeout = t.Dial
	conf.ProbeInterval, conf.ProbeTimeout = t.Probe, t.ProbeTimeout
	conf.GossipInterval, conf.PushPullInterval = t.Gossip, t.Sync
	conf.SuspicionMult = 4
	// A node that comes back elsewhere is taken there as soon as it is known
	// to be gone from the old place.
	conf.DeadNodeReclaimTime = time.Nanosecond
	conf.RequireNodeNames = false
	conf.Delegate, conf.Events = g, g
	conf.Merge, conf.Alive, conf.Conflict = g, g, g
	conf.Logger = log.New(&memberlistLog{log: g.log}, "", 0)
	list, err := memberlist.Create(conf)
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	g.list = list
	return nil
}

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(limit int) []byte {
	data := g.self().encode()
	if len(data) > limit {
		return nil
	}
	return data
}

// The rest of memberlist.Delegate: only metadata is gossiped.

func (g *gossip) NotifyMsg([]byte)                {}
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }
func (g *gossip) LocalState(bool) []byte          { return nil }
func (g *gossip) MergeRemoteState([]byte, bool)   {}
func (g *gossip) NotifyJoin(n *memberlist.Node)   { g.alive(n) }
func (g *gossip) NotifyUpdate(n *memberlist.Node) { g.alive(n) }
func (g *gossip) NotifyLeave(n *memberlist.Node)  { g.dir.gone(n.Name) }
func (g *gossip) NotifyConflict(a, b *memberlist.Node) {
	// Until the old place is known to be dead, a node that moved looks like
	// this too; two nodes with one data directory do for ever.
	g.log.Info("a node's id is claimed from two addresses", zap.String("node", a.Name),
		zap.String("known", a.Address()), zap.String("new", b.Address()))
}

func (g *gossip) alive(n *memberlist.Node) {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive has refused it with a reason
	}
	g.dir.seen(n.Name, m)
}

// NotifyAlive refuses nodes that are not of this protocol or of another
// cluster, however the news of them came.
func (g *gossip) NotifyAlive(n *memberlist.Node) error { return g.check(n) }

// NotifyMerge refuses an exchange with a node of another cluster.
func (g *gossip) NotifyMerge(peers []*memberlist.Node) error {
	for _, n := range peers {
		if n.State != memberlist.StateAlive {
			continue
		}
		if err := g.check(n); err != nil {
			return err
		}
	}
	return nil
}

func (g *gossip) check(n *memberlist.Node) error {
	if _, err := uuid.Parse(n.Name); err != nil {
		return fmt.Errorf("node name %q is not an id", n.Name)
	}
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	ours := g.clusterID()
	if ours != "" && m.Cluster != "" && m.Cluster != ours {
		return &ForeignClusterError{Ours: ours, Theirs: m.Cluster, Address: m.Address}
	}
	return nil
}

// join exchanges all state with the nodes at the addresses ("ip:port").
func (g *gossip) join(addresses []string) error {
	_, err := g.list.Join(addresses)
	return err
}

// update spreads this node's changed metadata. It waits at most the timeout for
// the first node to be told; gossip does the rest.
func (g *gossip) update(timeout time.Duration) {
	if err := g.list.UpdateNode(timeout); err != nil {
		g.log.Debug("gossip has not told anyone yet", zap.Error(err))
	}
}

// gossipTransport carries memberlist over the cluster port: packets over UDP,
// streams over the mux.
type gossipTransport struct {
	mux     *mux
	queue   *streamQueue
	packets net.PacketConn
	at      *advertised
	log     *zap.Logger

	in   chan *memberlist.Packet
	once sync.Once
	done chan struct{}
	wg   sync.WaitGroup
}

// maxPacket is UDP's own limit.
const maxPacket = 64 << 10

// newGossipTransport must be called before the mux serves.
func newGossipTransport(m *mux, packets net.PacketConn, at *advertised, log *zap.Logger) *gossipTransport {
	return &gossipTransport{mux: m, queue: m.queue(streamGossip, nil), packets: packets, at: at, log: log,
		in: make(chan *memberlist.Packet), done: make(chan struct{})}
}

func (t *gossipTransport) serve() {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		t.read()
	}()
}

func (t *gossipTransport) read() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.packets.ReadFrom(buf)
		select {
		case <-t.done:
			return
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n == 0 {
			continue // a packet that failed is a packet lost
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.in <- p:
		case <-t.done:
			return
		}
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *gossipTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.at.ip, t.at.port, nil
}

// WriteTo sends a packet.
func (t *gossipTransport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("gossip to %q: %w", address, err)
	}
	_, err = t.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// PacketCh gives the packets that arrive.
func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.in }

// DialTimeout opens a stream.
func (t *gossipTransport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return t.mux.dial(ctx, address, streamGossip, nil)
}

// StreamCh gives the streams that arrive.
func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.queue.conns }

// Shutdown ends both and waits for the reader.
func (t *gossipTransport) Shutdown() error {
	var err error
	t.once.Do(func() {
		close(t.done)
		err = errors.Join(t.queue.Close(), t.packets.Close())
		t.wg.Wait()
	})
	return err
}

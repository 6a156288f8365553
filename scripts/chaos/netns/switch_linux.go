package netns

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxPorts is how many spaces a switch may have: their addresses end in 1 to
	// this.
	maxPorts = 31
	// maxDelayed bounds the packets that are under way; more are lost, as in any
	// queue.
	maxDelayed = 1 << 14
)

// Link is what the switch does to packets from one space to another.
type Link struct {
	Cut bool
	// Loss and Double are the parts that are lost and sent twice.
	Loss, Double float64
	// Each packet is held for Delay and up to Jitter more: so they overtake each
	// other.
	Delay, Jitter time.Duration
}

// Switch carries packets between spaces. Safe for concurrent use.
type Switch struct {
	kick chan struct{}
	quit chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	random  *rand.Rand
	spaces  [maxPorts + 1]*Space
	links   [maxPorts + 1][maxPorts + 1]Link
	delayed packets
}

// NewSwitch makes a switch that draws its lots from a seed. It runs a goroutine,
// and one for each space, until Close.
func NewSwitch(seed uint64) *Switch {
	s := &Switch{
		kick: make(chan struct{}, 1), quit: make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, 2)),
	}
	s.done.Go(s.deliver)
	return s
}

// Connect plugs a space in. Its address's last byte is its port.
func (s *Switch) Connect(sp *Space) {
	port := portOf(sp)
	s.mu.Lock()
	s.spaces[port] = sp
	s.mu.Unlock()
	s.done.Go(func() { s.read(port, sp) })
}

func portOf(sp *Space) int { return int(sp.Addr.As4()[3]) }

// Set changes what happens from one space to another.
func (s *Switch) Set(from, to *Space, l Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[portOf(from)][portOf(to)] = l
}

// Close ends the switch. The spaces must be closed before: that ends who reads
// from them.
func (s *Switch) Close() {
	close(s.quit)
	s.done.Wait()
}

// read takes the packets that come from a space.
func (s *Switch) read(port int, sp *Space) {
	buf := make([]byte, mtu+64)
	for {
		n, err := sp.tun.Read(buf)
		if err != nil {
			return // closed
		}
		if n < 20 || buf[0]>>4 != 4 {
			continue // IPv6 looks for routers
		}
		s.forward(port, int(buf[19]), buf[:n])
	}
}

// forward decides about a packet.
func (s *Switch) forward(from, to int, packet []byte) {
	if to < 1 || to > maxPorts {
		return
	}
	s.mu.Lock()
	l, sp := s.links[from][to], s.spaces[to]
	copies := 1
	if l.Cut || sp == nil || l.Loss > 0 && s.random.Float64() < l.Loss || len(s.delayed) >= maxDelayed {
		copies = 0
	} else if l.Double > 0 && s.random.Float64() < l.Double {
		copies = 2
	}
	late := l.Delay > 0 || l.Jitter > 0
	if late && copies > 0 {
		now := time.Now()
		data := append([]byte(nil), packet...)
		for range copies {
			due := now.Add(l.Delay)
			if l.Jitter > 0 {
				due = due.Add(time.Duration(s.random.Int64N(int64(l.Jitter))))
			}
			heap.Push(&s.delayed, delayed{due, sp, data})
		}
	}
	s.mu.Unlock()
	switch {
	case copies == 0:
	case late:
		select {
		case s.kick <- struct{}{}:
		default:
		}
	default:
		for range copies {
			send(sp, packet)
		}
	}
}

// send writes a packet; one that cannot be written is lost, as packets may be.
func send(sp *Space, packet []byte) { _, _ = sp.tun.Write(packet) }

// deliver sends what was held back, when it is due.
func (s *Switch) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		for {
			p, next := s.due(time.Now())
			if p == nil {
				wait = next
				break
			}
			send(p.to, p.data)
		}
		timer.Reset(wait)
		select {
		case <-s.quit:
			return
		case <-s.kick:
		case <-timer.C:
		}
	}
}

// due takes the next packet, or says how long to wait for it.
func (s *Switch) due(now time.Time) (*delayed, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.delayed) == 0 {
		return nil, time.Hour
	}
	if wait := s.delayed[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	p := heap.Pop(&s.delayed).(delayed)
	return &p, 0
}

// delayed is a packet on its way.
type delayed struct {
	due  time.Time
	to   *Space
	data []byte
}

// packets is a heap.
type packets []delayed

func (h packets) Len() int           { return len(h) }
func (h packets) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h packets) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *packets) Push(x any)        { *h = append(*h, x.(delayed)) }
func (h *packets) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = delayed{}
	*h = (*h)[:len(*h)-1]
	return last
}

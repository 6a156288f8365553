package proxy

import (
	"sync/atomic"
	"time"
)

// Frame types of HTTP/2 (RFC 9113, section 6) that the guard tells apart.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameResetStream  = 0x3
	frameSettings     = 0x4
	frameContinuation = 0x9

	frameHeadSize = 9
	prefaceSize   = 24 // of the client's connection preface (RFC 9113, section 3.4)
	flagEndStream = 0x1
)

// Weights of the guard. Frames that make work and bring nothing cost credit;
// requests, bodies and what is sent to the client earn it, so that no client
// that fetches something runs out of it, whatever its library adds. gRPC's send
// a PING for nearly every answer, and some clients a WINDOW_UPDATE for every
// DATA frame.
const (
	// guardBurst is the most credit that a connection has, and what it begins
	// with; guardRate is what it gets a second for nothing.
	guardBurst = 4096
	guardRate  = 256

	// A request that is given up at once costs more than it earns: its service
	// may have begun to work.
	earnHeaders = 2
	costReset   = 3
	earnData    = 1
	// earnSent is how many bytes sent to the client earn one.
	earnSent = 64

	// costRefused is for a stream that the gateway resets, mostly because of
	// what the client has sent for it.
	costRefused      = 2
	costSettings     = 8 // each is applied and acknowledged
	costContinuation = 4 // of less than smallPiece
	costOther        = 1 // PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones

	smallPiece = 256
)

// frameScanner finds the heads of frames in bytes that come in any pieces.
type frameScanner struct {
	skip int // bytes before the next head
	head [frameHeadSize]byte
	have int // bytes of head
}

// scan calls frame with every head that is complete.
func (s *frameScanner) scan(p []byte, frame func(kind, flags byte, length int)) {
	for len(p) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(p))
			s.skip -= n
			p = p[n:]
			continue
		}
		n := copy(s.head[s.have:], p)
		s.have += n
		p = p[n:]
		if s.have == frameHeadSize {
			s.have = 0
			s.skip = int(s.head[0])<<16 | int(s.head[1])<<8 | int(s.head[2])
			frame(s.head[3], s.head[4], s.skip)
		}
	}
}

// frameGuard watches the frames of a connection. x/net's server bounds what a
// client can make it keep: 128 handlers and four times as many requests that
// wait for one, 10,000 control frames in the queue, one and a half header
// lists. It does not bound what a client that reads its answers makes it do.
// received and sent may be called at the same time.
type frameGuard struct {
	in     frameScanner
	credit int
	last   time.Time // of the last refill

	out frameScanner
	// earned and owed are what sent has found and received has not seen yet.
	earned, owed atomic.Int64
}

func newFrameGuard(now time.Time) *frameGuard {
	return &frameGuard{in: frameScanner{skip: prefaceSize}, credit: guardBurst, last: now}
}

// received looks at what has come from the client; false: the client has used
// up its credit.
func (g *frameGuard) received(p []byte, now func() time.Time) bool {
	g.in.scan(p, g.frame)
	g.credit -= int(g.owed.Swap(0))
	if g.credit < 0 {
		g.refill(now())
	}
	return g.credit >= 0
}

// sent looks at what goes to the client.
func (g *frameGuard) sent(p []byte) {
	g.earned.Add(int64(len(p)))
	g.out.scan(p, func(kind, _ byte, _ int) {
		if kind == frameResetStream {
			g.owed.Add(costRefused)
		}
	})
}

// frame accounts for a frame of the client's.
func (g *frameGuard) frame(kind, flags byte, length int) {
	switch {
	case kind == frameHeaders:
		g.credit += earnHeaders
	case kind == frameData && length >= smallPiece:
		g.credit += earnData
	case kind == frameData && (length > 0 || flags&flagEndStream != 0):
	case kind == frameContinuation && length >= smallPiece:
	case kind == frameContinuation:
		g.credit -= costContinuation
	case kind == frameSettings:
		g.credit -= costSettings
	case kind == frameResetStream:
		g.credit -= costReset
	default:
		g.credit -= costOther
	}
	g.credit = min(g.credit, guardBurst)
}

// refill adds what time and answers have earned since it was last called.
func (g *frameGuard) refill(now time.Time) {
	elapsed := now.Sub(g.last)
	g.last = now
	earned := int64(elapsed)*guardRate/int64(time.Second) + g.earned.Swap(0)/earnSent
	g.credit = int(min(int64(g.credit)+earned, guardBurst))
}

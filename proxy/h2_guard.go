package proxy

import "time"

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

	costSettings     = 8 // each is applied and acknowledged
	costContinuation = 4 // of less than smallPiece
	costOther        = 1 // PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones

	smallPiece = 256
)

// frameGuard watches the frames that a client sends, as bytes that come in any
// pieces. x/net's server bounds what a client can make it keep: 128 handlers
// and four times as many requests that wait for one, 10,000 control frames in
// the queue, one and a half header lists. It does not bound what a client that
// reads its answers makes it do.
type frameGuard struct {
	preface int // bytes of the preface seen
	head    [frameHeadSize]byte
	have    int // bytes of head
	skip    int // bytes of the payload still to come
	credit  int
	last    time.Time // of the last refill
}

// watch looks at further bytes; false: the client has used up its credit. sent
// gives how many bytes were sent to the client since it was last asked.
func (g *frameGuard) watch(p []byte, now func() time.Time, sent func() int64) bool {
	if g.last.IsZero() {
		g.last, g.credit = now(), guardBurst
	}
	if g.preface < prefaceSize {
		n := min(prefaceSize-g.preface, len(p))
		g.preface += n
		p = p[n:]
	}
	for len(p) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(p))
			g.skip -= n
			p = p[n:]
			continue
		}
		n := copy(g.head[g.have:], p)
		g.have += n
		p = p[n:]
		if g.have == frameHeadSize {
			g.have = 0
			g.frame()
		}
	}
	if g.credit < 0 {
		g.refill(now(), sent())
	}
	return g.credit >= 0
}

// frame accounts for the frame that begins with head.
func (g *frameGuard) frame() {
	length := int(g.head[0])<<16 | int(g.head[1])<<8 | int(g.head[2])
	g.skip = length
	switch kind := g.head[3]; {
	case kind == frameHeaders:
		g.credit += earnHeaders
	case kind == frameData && length >= smallPiece:
		g.credit += earnData
	case kind == frameData && (length > 0 || g.head[4]&flagEndStream != 0):
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
func (g *frameGuard) refill(now time.Time, sent int64) {
	elapsed := now.Sub(g.last)
	g.last = now
	earned := int64(elapsed)*guardRate/int64(time.Second) + sent/earnSent
	g.credit = int(min(int64(g.credit)+earned, guardBurst))
}

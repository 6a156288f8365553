package proxy

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"
	"unsafe"

	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// front is the connection side of one exchange: how a request came in and how
// its answer goes out. One implementation sits on net/http; everything else in
// this package knows only this interface and the exchange.
//
// An answer is any number of interim calls, then sendHead, then write and flush
// as needed, then sendTrailer; or upgrade instead of sendHead. All but stopBody
// are called by the exchange's goroutine.
type front interface {
	// interim sends a 1xx answer other than 100 and 101.
	interim(status int, h *http1.Fields)
	// sendHead sends the status and the fields of the answer, among which are
	// none that frame a body or are about the connection. A length of -1 is not
	// known: the front frames the body itself. What is sent may be held back
	// until write or flush.
	sendHead(status int, h *http1.Fields, length int64)
	write(p []byte) error
	flush() error
	sendTrailer(h *http1.Fields)
	// upgrade sends a 101 with these fields and gives the connection. A read
	// or write of it waits for no longer than idle; the error wraps
	// upstream.ErrTimeout then.
	upgrade(h *http1.Fields, idle time.Duration) (clientTunnel, error)
	// abort makes the client see that the answer is cut: the connection (HTTP/2:
	// the stream) is broken off when the exchange ends.
	abort()

	// heldBody gives the whole body, and counts it as read, if the front has it in
	// its buffer already; else nil.
	heldBody() []byte
	// streamBody says that the body will be read while the answer is written.
	streamBody()
	// stopBody makes reads of the request's body fail, the pending one too.
	// Safe for concurrent use.
	stopBody()
	// bodyRead is how many bytes of the body were read, bodyFailure why the
	// request has to be refused: errBodyTooLarge, errBodyTimeout or nil. Both
	// are valid when no one reads.
	bodyRead() int64
	bodyFailure() error
	// trailer gives the request's trailer once the body has ended.
	trailer() *http1.Fields

	// portText is the listener's port.
	portText() string
}

// clientTunnel is a client's connection after a switch of protocols.
type clientTunnel interface {
	io.ReadWriter
	// CloseWrite tells the client that nothing more follows; cut closes the
	// connection at once and is safe for concurrent use.
	CloseWrite() error
	cut()
}

// exchange is a plugin.Exchange with what the core keeps about it. It is reused
// for one request after the other.
type exchange struct {
	plugin.Exchange
	exchangeState

	proxy *Proxy
	// chosen holds the instances that were selected, in the order of the chain.
	chosen []*instance
	// received are the fields as the client sent them, requestFields and
	// responseFields what Request.Header and Response.Header edit.
	received, requestFields, responseFields http1.Fields
	answered                                http1.Fields // by the service, from net/http's form
	whole                                   []byte       // a request body that was read whole
	target                                  []byte       // path and query for the service, joined
	idText                                  [32]byte
}

// exchangeState is what is forgotten between two requests.
type exchangeState struct {
	front    front
	snapshot *snapshot
	route    *route // nil when nothing matched
	lookup   router.Request
	match    router.Match
	// trusted says that the peer is in trusted_ips.
	trusted bool
	// upgrade is the protocol that the client asks to switch to.
	upgrade string
	// expect says that the client waits for 100 before it sends the body.
	expect bool
	// filtersBody says that one of the chosen has a body filter.
	filtersBody bool
	outgoing    upstream.Request

	// streaming says that the answer comes from the service, headSent that the
	// client has been given a status.
	streaming, headSent bool
	bodySent            int64
	// proxied is the client that a PROXY header named, zero without one.
	proxied netip.AddrPort
	// peerText is Peer's address as text, made by the front once a connection.
	peerText string
	// requestSize is the size of the request's head.
	requestSize int64
}

func newExchange(p *Proxy) *exchange {
	// An exchange is reused by the same processor most of the time.
	return &exchange{proxy: p, Exchange: plugin.Exchange{Shard: p.shards.Add(1) % counterShards}}
}

// maxKeptWhole keeps a rare large body from staying in memory.
const maxKeptWhole = 16 << 10

// reset makes the exchange ready for another request.
func (x *exchange) reset() {
	x.Exchange.Reset()
	x.received.Reset()
	x.requestFields.Reset()
	x.responseFields.Reset()
	x.answered.Reset()
	clear(x.chosen)
	x.chosen = x.chosen[:0]
	x.exchangeState = exchangeState{}
	x.whole, x.target = emptied(x.whole), emptied(x.target)
}

// emptied gives a buffer for the next request.
func emptied(b []byte) []byte {
	if cap(b) > maxKeptWhole {
		return nil
	}
	return b[:0]
}

// newRequestID gives 32 hex digits of 128 random bits, so that ids of many
// nodes never meet. They lie in the exchange: like all strings of it they are
// valid until it ends.
func (x *exchange) newRequestID() string {
	high, low := rand.Uint64(), rand.Uint64()
	for i, half := range [...]uint32{uint32(high >> 32), uint32(high), uint32(low >> 32), uint32(low)} {
		binary.LittleEndian.PutUint64(x.idText[8*i:], hexDigits(half))
	}
	return unsafe.String(&x.idText[0], len(x.idText))
}

// hexDigits gives the eight digits of a number, the lowest in the lowest byte: all
// at once, one in each byte of a word.
func hexDigits(n uint32) uint64 {
	const each = 0x0101010101010101
	d := uint64(n)
	d = (d | d<<16) & 0x0000ffff0000ffff
	d = (d | d<<8) & 0x00ff00ff00ff00ff
	d = (d | d<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (d + 6*each) >> 4 & each // 1 where a digit is above 9
	return d + '0'*each + letters*('a'-'9'-1)
}

package ratelimit

import (
	"math"
	"net/netip"
	"strconv"
	"sync/atomic"

	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	smallNumbers = 4096 // covers the seconds of an hour
	addressSlots = 4096 // a power of two
)

// numbers are the decimal texts of small counts, made once. Immutable.
type numbers struct{ small [smallNumbers]string }

func newNumbers() *numbers {
	n := &numbers{}
	for i := range n.small {
		n.small[i] = strconv.Itoa(i)
	}
	return n
}

func (n *numbers) text(v int64) string {
	if 0 <= v && v < smallNumbers {
		return n.small[v]
	}
	return strconv.FormatInt(v, 10)
}

// Number is the decimal text of a count, which is there already if it is below
// 4096.
func (s *Shared) Number(v int64) string { return s.numbers.text(v) }

func roundUp(v float64) int64 { return int64(math.Ceil(v)) }

// addressKeys gives the keys under which clients are counted by address. It
// remembers the texts of recent ones in a table of fixed size, so that a busy
// client's key is not made anew for each request. Safe for concurrent use.
type addressKeys struct {
	slots [addressSlots]atomic.Pointer[addressKey]
}

type addressKey struct {
	addr netip.Addr
	text string
}

// key gives the address with its prefix.
func (k *addressKeys) key(addr netip.Addr) string {
	addr = addr.Unmap()
	slot := &k.slots[slotOf(addr)]
	if known := slot.Load(); known != nil && known.addr == addr {
		return known.text
	}
	fresh := &addressKey{addr: addr, text: plugin.AddressKey(addr)}
	slot.Store(fresh)
	return fresh.text
}

// slotOf spreads addresses over the table. Two that share a slot only push each
// other out, so that a client gains nothing by choosing its address.
func slotOf(addr netip.Addr) uint64 {
	var h uint64
	for _, b := range addr.As16() {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return (h ^ h>>32) % addressSlots
}

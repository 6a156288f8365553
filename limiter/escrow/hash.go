package escrow

import (
	"math/bits"

	"github.com/sluicegate/sluice/limiter/ledger"
)

// Secret keys the hash under which budgets are kept. It is the cluster's, equal
// on all nodes.
type Secret [2]uint64

// sum is SipHash-1-3 with 128 bits of output (Aumasson and Bernstein), of text
// under a key. Short texts, which keys of limits are, take some ten nanoseconds.
func sum(k0, k1 uint64, text string) ledger.Key {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d^0xee
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	n := len(text)
	for ; len(text) >= 8; text = text[8:] {
		m := load(text)
		v3 ^= m
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0 ^= m
	}
	last := uint64(n) << 56
	for i := range len(text) {
		last |= uint64(text[i]) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xee
	for range 3 {
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
	}
	lo := v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 3 {
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
	}
	return ledger.Key{Hi: v0 ^ v1 ^ v2 ^ v3, Lo: lo}
}

func load(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func round(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// NewSecret makes a secret of the cluster's id, or of whatever else its nodes
// have in common.
func NewSecret(text string) Secret {
	k := sum(0x0706050403020100, 0x0f0e0d0c0b0a0908, text)
	return Secret{k.Hi, k.Lo}
}

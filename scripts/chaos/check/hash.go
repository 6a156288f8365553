package check

import (
	"encoding/binary"
	"math/bits"
)

// key is the name under which a node records a budget's owner.
type key struct{ hi, lo uint64 }

// keyOf works out under which hash nodes count a key of a limit: SipHash-1-3 with
// 128 bits, of the key's text, under the cluster's secret and the limit's hash,
// but for the upper 32 bits, which all keys of a limit have in common.
// It is written after the paper (Aumasson, Bernstein, 2012) and not after the
// limiter: if nodes mixed budgets up, their records would have unknown keys.
func keyOf(cluster, limit, text string) key {
	secret := sipHash(0x0706050403020100, 0x0f0e0d0c0b0a0908, cluster)
	of := sipHash(0, 0, limit)
	k := sipHash(secret.hi^of.hi, secret.lo^of.lo, text)
	tag := (of.hi ^ sipHash(secret.hi, secret.lo, "tags").hi) * goldenRatio
	k.hi = tag>>32<<32 | k.hi&(1<<32-1)
	return k
}

const goldenRatio = 0x9e3779b97f4a7c15 // of 2^64

type sipState [4]uint64

func (v *sipState) round() {
	v[0] += v[1]
	v[2] += v[3]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[1]
	v[0] += v[3]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] = bits.RotateLeft64(v[2], 32)
}

func (v *sipState) absorb(m uint64) {
	v[3] ^= m
	v.round()
	v[0] ^= m
}

func (v *sipState) squeeze() uint64 {
	v.round()
	v.round()
	v.round()
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func sipHash(k0, k1 uint64, text string) key {
	v := sipState{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	v[1] ^= 0xee
	// The last block is what is left, zeros, and the length.
	data := append([]byte(text), make([]byte, 8-len(text)%8)...)
	data[len(data)-1] = byte(len(text))
	for ; len(data) > 0; data = data[8:] {
		v.absorb(binary.LittleEndian.Uint64(data))
	}
	v[2] ^= 0xee
	lo := v.squeeze()
	v[1] ^= 0xdd
	return key{hi: v.squeeze(), lo: lo}
}

// Package audit keeps a record of every admission in files that outlive a
// killed process, so that somebody else can count them. It knows neither the
// limiter nor its windows: who appends says what is to be in a record. See
// DESIGN.md for why the files are mapped.
//
// # Files
//
// A directory holds the files of one node. Each process makes new ones, named by
// the time and a number, and never touches an earlier process's. A file is a
// header of 512 bytes and records of 96 bytes. Integers are little-endian, times
// microseconds.
//
//	header  0 "sluice-audit-2\n\0"   16 u32 its size   20 u32 a record's size
//	       24 u64 admissions that could not be recorded after this file was full
//	       32 i64 unix time and 40 i64 monotonic time of the file's beginning
//	       48 u64 the process, a random number   56 u32 the file's number in it
//	       64 node's id and 128 node's name, each 64 bytes at most, then zeros
//	record  0 u32 CRC-32C of bytes 8 to 96, 4 u32 always 1: written last
//	        8 u64, 16 u64 the key's hash
//	       24 i64 start of the window   32 u8 unit   33 u8 1: counted on this
//	       node by itself   36 u32 length in seconds
//	       40 i64, 48 i64 the cluster's time: not before, not after
//	       56 i64 monotonic time of this machine when it was recorded
//	       64 u64 incarnation   72 u64 the limit's version   80 i64 the limit
//	       88 i32 tokens   92 u32 burst
//
// A file may end in records that are all zeros: room that was not used. Zeros
// between records are of a request that was under way when the process was
// killed, and has not been answered.
package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	headerSize = 512
	recordSize = 96
	nameSize   = 64

	lostAt = 24
	magic  = "sluice-audit-2\n\x00"

	// written is the upper half of a record's first word.
	written = 1
)

// Extension is the end of the names of audit files.
const Extension = ".audit"

// ErrFormat is wrapped by errors about a file that is none of this package's.
var ErrFormat = errors.New("audit: not an audit file of this version")

// Unit says what a window is.
type Unit uint8

// The units. The first six are windows of the calendar in UTC. Fixed windows
// begin at multiples of their length. Of a sliding window, which is every span of
// its length, the start is that of the slice in which was admitted.
const (
	Second Unit = iota + 1
	Minute
	Hour
	Day
	Month
	Year
	Fixed
	Sliding
	// InFlight is one window without an end, from whose tokens a request has one
	// until it is answered. A second record tells of that, with -1 tokens.
	InFlight
	// Bucket is one window without an end, whose tokens come back one after the
	// other.
	Bucket
)

// Record is one admission, or rather what it took of one window. A request that
// is limited by two periods makes two records. Of requests in flight, there is
// another one for the end of each.
type Record struct {
	KeyHi, KeyLo uint64
	// Start is the first moment of the window, unix microseconds of the cluster's
	// time. Length is in seconds: of fixed and sliding windows, and of a bucket the
	// time in which Max tokens come back.
	Start  int64
	Unit   Unit
	Length uint32
	// Local says that the node counts by itself.
	Local bool
	// Lo and Hi bound the cluster's time at the admission.
	Lo, Hi int64
	// Mono is set by Append: microseconds of the machine's monotonic clock.
	Mono int64
	// Incarnation is the process's name in the cluster's rosters.
	Incarnation uint64
	// Version and Max are the limit that was decided by; Burst is what a bucket has
	// when it is full.
	Version uint64
	Max     int64
	Burst   uint32
	// Tokens were spent, or if they are negative put back.
	Tokens int32
}

// Header is what a file says of itself.
type Header struct {
	Node, Name string
	// Process is a random number that all files of a process have.
	Process uint64
	Number  uint32
	// Begun is when the file was made: unix time, and the machine's monotonic
	// clock.
	Begun, BegunMono int64
	// Lost is how many admissions could not be recorded.
	Lost uint64
}

// encode writes all of a record but its first word, which it returns.
func (r *Record) encode(b []byte, table *crc32.Table) uint64 {
	_ = b[recordSize-1]
	le := binary.LittleEndian
	le.PutUint64(b[8:], r.KeyHi)
	le.PutUint64(b[16:], r.KeyLo)
	le.PutUint64(b[24:], uint64(r.Start))
	le.PutUint32(b[32:], uint32(r.Unit))
	if r.Local {
		b[33] = 1
	}
	le.PutUint32(b[36:], r.Length)
	le.PutUint64(b[40:], uint64(r.Lo))
	le.PutUint64(b[48:], uint64(r.Hi))
	le.PutUint64(b[56:], uint64(r.Mono))
	le.PutUint64(b[64:], r.Incarnation)
	le.PutUint64(b[72:], r.Version)
	le.PutUint64(b[80:], uint64(r.Max))
	le.PutUint32(b[88:], uint32(r.Tokens))
	le.PutUint32(b[92:], r.Burst)
	return uint64(written)<<32 | uint64(crc32.Checksum(b[8:recordSize], table))
}

// AppendBinary appends a record as it is in a file.
func (r *Record) AppendBinary(b []byte) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, recordSize)...)
	word := r.encode(b[at:], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint64(b[at:], word)
	return b, nil
}

// decode reads a record. It says whether there is one, and whether it is whole.
func (r *Record) decode(b []byte, table *crc32.Table) (there, whole bool) {
	le := binary.LittleEndian
	word := le.Uint64(b)
	if word == 0 {
		return false, false
	}
	if word != uint64(written)<<32|uint64(crc32.Checksum(b[8:recordSize], table)) {
		return true, false
	}
	*r = Record{
		KeyHi: le.Uint64(b[8:]), KeyLo: le.Uint64(b[16:]),
		Start: int64(le.Uint64(b[24:])), Unit: Unit(b[32]), Local: b[33] == 1, Length: le.Uint32(b[36:]),
		Lo: int64(le.Uint64(b[40:])), Hi: int64(le.Uint64(b[48:])), Mono: int64(le.Uint64(b[56:])),
		Incarnation: le.Uint64(b[64:]), Version: le.Uint64(b[72:]), Max: int64(le.Uint64(b[80:])),
		Tokens: int32(le.Uint32(b[88:])), Burst: le.Uint32(b[92:]),
	}
	return true, true
}

// AppendBinary appends a header as it is in a file.
func (h *Header) AppendBinary(b []byte) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, headerSize)...)
	p, le := b[at:], binary.LittleEndian
	copy(p, magic)
	le.PutUint32(p[16:], headerSize)
	le.PutUint32(p[20:], recordSize)
	le.PutUint64(p[lostAt:], h.Lost)
	le.PutUint64(p[32:], uint64(h.Begun))
	le.PutUint64(p[40:], uint64(h.BegunMono))
	le.PutUint64(p[48:], h.Process)
	le.PutUint32(p[56:], h.Number)
	copy(p[64:64+nameSize], h.Node)
	copy(p[128:128+nameSize], h.Name)
	return b, nil
}

// UnmarshalBinary reads a header. The error wraps ErrFormat.
func (h *Header) UnmarshalBinary(p []byte) error {
	le := binary.LittleEndian
	if len(p) < headerSize || string(p[:len(magic)]) != magic {
		return ErrFormat
	}
	if le.Uint32(p[16:]) != headerSize || le.Uint32(p[20:]) != recordSize {
		return fmt.Errorf("%w: records of %d bytes after %d", ErrFormat, le.Uint32(p[20:]), le.Uint32(p[16:]))
	}
	text := func(p []byte) string { s, _, _ := bytes.Cut(p, []byte{0}); return string(s) }
	*h = Header{
		Node: text(p[64 : 64+nameSize]), Name: text(p[128 : 128+nameSize]),
		Process: le.Uint64(p[48:]), Number: le.Uint32(p[56:]),
		Begun: int64(le.Uint64(p[32:])), BegunMono: int64(le.Uint64(p[40:])), Lost: le.Uint64(p[lostAt:]),
	}
	return nil
}

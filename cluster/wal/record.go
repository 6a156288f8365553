package wal

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
)

// A record is an entry in a file. Numbers are little-endian:
//
//	 0  crc32c of all that follows, without the filling
//	 4  recordMagic, 3 bytes
//	 7  raft's type of the entry
//	 8  length of the data
//	12  length of the extensions
//	16  index
//	24  term
//	32  batch: the number of the StoreLogs that wrote it
//	40  when the leader appended it, in nanoseconds since 1970; 0 is not known
//	48  data, extensions, filling to a multiple of 8
const recordHead = 48

// recordMagic is what a record is looked for by, where one before it is damaged.
const recordMagic = 0x57_4c_53 // "SLW"

const align = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func aligned(n int) int { return (n + align - 1) &^ (align - 1) }

// recordSize is how much room an entry needs.
func recordSize(e *raft.Log) int { return aligned(recordHead + len(e.Data) + len(e.Extensions)) }

// appendRecord appends an entry's record to b.
func appendRecord(b []byte, e *raft.Log, batch uint64) []byte {
	begin := len(b)
	var at int64
	if !e.AppendedAt.IsZero() {
		at = e.AppendedAt.UnixNano()
	}
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, recordMagic|uint32(e.Type)<<24)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Extensions)))
	b = binary.LittleEndian.AppendUint64(b, e.Index)
	b = binary.LittleEndian.AppendUint64(b, e.Term)
	b = binary.LittleEndian.AppendUint64(b, batch)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = append(append(b, e.Data...), e.Extensions...)
	binary.LittleEndian.PutUint32(b[begin:], crc32.Checksum(b[begin+4:], castagnoli))
	return append(b, make([]byte, begin+recordSize(e)-len(b))...)
}

// parseRecord reads the record at the beginning of b. The entry shares b's memory.
func parseRecord(b []byte) (e raft.Log, batch uint64, size int, ok bool) {
	if len(b) < recordHead {
		return e, 0, 0, false
	}
	kind := binary.LittleEndian.Uint32(b[4:])
	data, extensions := uint64(binary.LittleEndian.Uint32(b[8:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	end := recordHead + data + extensions
	if kind&0xffffff != recordMagic || end > uint64(len(b)) || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:end], castagnoli) {
		return e, 0, 0, false
	}
	e = raft.Log{Index: binary.LittleEndian.Uint64(b[16:]), Term: binary.LittleEndian.Uint64(b[24:]), Type: raft.LogType(kind >> 24)}
	if at := int64(binary.LittleEndian.Uint64(b[40:])); at != 0 {
		e.AppendedAt = time.Unix(0, at)
	}
	if data > 0 {
		e.Data = b[recordHead : recordHead+data : recordHead+data]
	}
	if extensions > 0 {
		e.Extensions = b[recordHead+data : end : end]
	}
	return e, binary.LittleEndian.Uint64(b[32:]), aligned(int(end)), true
}

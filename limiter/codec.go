package limiter

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Encodings begin with a version byte, so that a later release can tell them
// apart. Numbers are varints, strings are preceded by their length.
const (
	entryVersion  = 1
	batchVersion  = 1
	resultVersion = 1
)

// MarshalBinary encodes the entry for the log.
func (e Entry) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, 256)
	b = append(b, entryVersion)
	b = binary.AppendVarint(b, e.Stamp)
	b = binary.AppendUvarint(b, uint64(len(e.Batches)))
	for i := range e.Batches {
		b = e.Batches[i].append(b)
	}
	return b, nil
}

// UnmarshalBinary decodes an entry. On an error (ErrCorrupt) e is unchanged.
func (e *Entry) UnmarshalBinary(data []byte) error {
	d := decoder{data: data}
	d.version(entryVersion)
	var n Entry
	n.Stamp = d.int()
	for range d.count(maxEntryBatches) {
		n.Batches = append(n.Batches, d.batch())
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	*e = n
	return nil
}

// MarshalBinary encodes the batch, for its way to the leader.
func (b Batch) MarshalBinary() ([]byte, error) {
	return b.append([]byte{batchVersion}), nil
}

// UnmarshalBinary decodes a batch. On an error (ErrCorrupt) b is unchanged.
func (b *Batch) UnmarshalBinary(data []byte) error {
	d := decoder{data: data}
	d.version(batchVersion)
	n := d.batch()
	if err := d.end(); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	*b = n
	return nil
}

// MarshalBinary encodes the result, for its way back from the leader.
func (r BatchResult) MarshalBinary() ([]byte, error) {
	return r.append([]byte{resultVersion}), nil
}

// UnmarshalBinary decodes a result. On an error (ErrCorrupt) r is unchanged.
func (r *BatchResult) UnmarshalBinary(data []byte) error {
	d := decoder{data: data}
	d.version(resultVersion)
	n := d.batchResult()
	if err := d.end(); err != nil {
		return fmt.Errorf("batch result: %w", err)
	}
	*r = n
	return nil
}

func (b *Batch) append(out []byte) []byte {
	out = appendString(out, b.Node)
	out = appendString(out, b.Incarnation)
	out = binary.AppendUvarint(out, b.Seq)
	out = binary.AppendUvarint(out, uint64(len(b.Items)))
	for i := range b.Items {
		it := &b.Items[i]
		out = appendString(out, it.Limit)
		out = binary.AppendUvarint(out, it.Version)
		out = binary.AppendVarint(out, it.Max)
		out = appendString(out, it.Key)
		out = append(out, byte(it.Period))
		out = binary.AppendVarint(out, it.Start)
		out = binary.AppendVarint(out, it.Want)
		out = binary.AppendVarint(out, it.Waiting)
		out = binary.BigEndian.AppendUint64(out, math.Float64bits(it.Rate))
		out = binary.AppendVarint(out, it.Spent)
		out = binary.AppendVarint(out, it.Return)
	}
	return out
}

func (d *decoder) batch() Batch {
	b := Batch{Node: d.string(), Incarnation: d.string(), Seq: d.uint()}
	for range d.count(maxBatchItems) {
		b.Items = append(b.Items, Item{
			Limit: d.string(), Version: d.uint(), Max: d.int(), Key: d.string(),
			Period: Period(d.byte()), Start: d.int(), Want: d.int(), Waiting: d.int(),
			Rate: d.float(), Spent: d.int(), Return: d.int(),
		})
	}
	return b
}

func (r *BatchResult) append(out []byte) []byte {
	out = appendString(out, r.Node)
	out = appendString(out, r.Incarnation)
	out = binary.AppendUvarint(out, r.Seq)
	out = binary.AppendVarint(out, r.Stamp)
	out = appendBool(out, r.Stale)
	out = binary.AppendUvarint(out, uint64(len(r.Results)))
	for i := range r.Results {
		x := &r.Results[i]
		out = binary.AppendVarint(out, x.Granted)
		out = binary.AppendVarint(out, x.Pool)
		out = binary.AppendVarint(out, x.Spent)
		out = binary.AppendVarint(out, x.Outstanding)
		out = appendBool(out, x.Closed)
		out = appendString(out, x.Refused)
	}
	return out
}

func (d *decoder) batchResult() BatchResult {
	r := BatchResult{
		Node: d.string(), Incarnation: d.string(), Seq: d.uint(), Stamp: d.int(), Stale: d.bool(),
	}
	for range d.count(maxBatchItems) {
		r.Results = append(r.Results, Result{
			Granted: d.int(), Pool: d.int(), Spent: d.int(), Outstanding: d.int(),
			Closed: d.bool(), Refused: d.string(),
		})
	}
	return r
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder reads one encoding from front to back. After its first error it
// returns zero values; end tells the error.
type decoder struct {
	data []byte
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	d.data = nil
}

// end returns the first error, or one if anything is left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.data) > 0 {
		d.fail("bytes left over")
	}
	return d.err
}

func (d *decoder) version(want byte) {
	if v := d.byte(); d.err == nil && v != want {
		d.fail(fmt.Sprintf("version %d", v))
	}
}

func (d *decoder) byte() byte {
	if len(d.data) == 0 {
		d.fail("cut short")
		return 0
	}
	v := d.data[0]
	d.data = d.data[1:]
	return v
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail("not a boolean")
	}
	return v == 1
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) float() float64 {
	if len(d.data) < 8 {
		d.fail("cut short")
		return 0
	}
	v := math.Float64frombits(binary.BigEndian.Uint64(d.data))
	d.data = d.data[8:]
	return v
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.data)) {
		d.fail("cut short")
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

// count reads how many records follow. No record is shorter than a byte, so a
// count cannot make the reader allocate more than the input warrants.
func (d *decoder) count(most int) int {
	n := d.uint()
	if n > uint64(most) || n > uint64(len(d.data)) {
		d.fail("bad count")
		return 0
	}
	return int(n)
}

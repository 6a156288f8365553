// Package wire has what the limiter's binary encodings are made of. Numbers are
// varints in their shortest form, random ones eight bytes, strings are preceded
// by their length: so a value has one encoding.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCorrupt is wrapped by every decoding error.
var ErrCorrupt = errors.New("limiter: corrupt encoding")

// AppendString appends a string.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendBool appends a boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendFixed appends a number of eight bytes.
func AppendFixed(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// Decoder reads one encoding from front to back. After its first error it
// returns zero values; End tells the error.
type Decoder struct {
	data []byte
	err  error
}

// NewDecoder reads data, which it keeps no part of.
func NewDecoder(data []byte) *Decoder { return &Decoder{data: data} }

// Fail ends the decoding for a reason of the caller's.
func (d *Decoder) Fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	d.data = nil
}

// End returns the first error, or one if anything is left over.
func (d *Decoder) End() error {
	if d.err == nil && len(d.data) > 0 {
		d.Fail("bytes left over")
	}
	return d.err
}

// Sound says that there has been no error so far.
func (d *Decoder) Sound() bool { return d.err == nil }

// Version reads a byte that must be as wanted.
func (d *Decoder) Version(want byte) {
	if v := d.Byte(); d.err == nil && v != want {
		d.Fail(fmt.Sprintf("version %d", v))
	}
}

// Byte reads a byte.
func (d *Decoder) Byte() byte {
	if len(d.data) == 0 {
		d.Fail("cut short")
		return 0
	}
	v := d.data[0]
	d.data = d.data[1:]
	return v
}

// Bool reads a boolean.
func (d *Decoder) Bool() bool {
	v := d.Byte()
	if v > 1 {
		d.Fail("not a boolean")
	}
	return v == 1
}

// Fixed reads a number of eight bytes.
func (d *Decoder) Fixed() uint64 {
	if len(d.data) < 8 {
		d.Fail("cut short")
		return 0
	}
	v := binary.BigEndian.Uint64(d.data)
	d.data = d.data[8:]
	return v
}

// Uint reads what binary.AppendUvarint has written.
func (d *Decoder) Uint() uint64 {
	if len(d.data) > 0 && d.data[0] < 0x80 { // most are small
		v := d.data[0]
		d.data = d.data[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.data)
	if n <= 0 || n > 1 && d.data[n-1] == 0 { // the second is a longer form than needed
		d.Fail("bad number")
		return 0
	}
	d.data = d.data[n:]
	return v
}

// Int reads what binary.AppendVarint has written.
func (d *Decoder) Int() int64 {
	v := d.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// String reads a string of at most so many bytes.
func (d *Decoder) String(most uint64) string {
	n := d.Uint()
	if n > most || n > uint64(len(d.data)) {
		d.Fail("bad length")
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

// Count reads how many records of at least size bytes follow.
func (d *Decoder) Count(most, size int) int {
	n := d.Uint()
	if n > uint64(most) || n > uint64(len(d.data)/size) {
		d.Fail("bad count")
		return 0
	}
	return int(n)
}

// List reads a count and makes room for so many records of at least size bytes;
// nil for none.
func List[T any](d *Decoder, most, size int) []T {
	if n := d.Count(most, size); n > 0 {
		return make([]T, n)
	}
	return nil
}

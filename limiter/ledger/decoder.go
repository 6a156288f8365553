package ledger

import (
	"fmt"

	"github.com/sluicegate/sluice/limiter/window"
	"github.com/sluicegate/sluice/limiter/wire"
)

// decoder reads what the package's encodings have in common.
type decoder struct{ *wire.Decoder }

func newDecoder(data []byte) decoder { return decoder{wire.NewDecoder(data)} }

// either reads a version byte, and says whether it is the newer one.
func (d *decoder) either(older, newer byte) bool {
	v := d.Byte()
	if d.Sound() && v != older && v != newer {
		d.Fail(fmt.Sprintf("version %d", v))
	}
	return v == newer
}

// within reads a number that has bounds.
func (d *decoder) within(least, most int64) int64 {
	v := d.Int()
	if v < least || v > most {
		d.Fail("number out of bounds")
		return 0
	}
	return v
}

func (d *decoder) period() window.Period {
	p := d.Uint()
	if p>>window.Bits != 0 || !window.Period(p).Valid() {
		d.Fail("bad period")
		return 0
	}
	return window.Period(p)
}

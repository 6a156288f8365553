package limiter

import (
	"bytes"
	"encoding/binary"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/escrow"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/wire"
)

// heritage is what a process leaves to the next one of the same boot besides its
// cells: whose they are, and what it knew of the time and of the log. With it a
// restart goes on at once.
type heritage struct {
	escrow.Heritage
	clock escrow.Reading
}

const (
	// heritageVersion also stands for how keys are hashed: cells under other
	// hashes are of no use.
	heritageVersion = 2
	maxIncarnations = 16
)

// encode is for the header of the cells' file.
func (h *heritage) encode() ([]byte, error) {
	b := wire.AppendFixed([]byte{heritageVersion}, h.Incarnation)
	b = binary.AppendUvarint(b, uint64(len(h.Earlier)))
	for _, in := range h.Earlier {
		b = wire.AppendFixed(b, in)
	}
	for _, v := range []int64{h.clock.Mono, h.clock.Lo, h.clock.Hi, h.Stamp} {
		b = binary.AppendVarint(b, v)
	}
	rosters, err := h.Rosters.AppendBinary(nil)
	return wire.AppendString(b, string(rosters)), err
}

// decodeHeritage reads a header. The error wraps wire.ErrCorrupt.
func decodeHeritage(b []byte) (heritage, error) {
	d := wire.NewDecoder(b)
	d.Version(heritageVersion)
	var h heritage
	h.Incarnation = d.Fixed()
	h.Earlier = wire.List[uint64](d, maxIncarnations, 8)
	for i := range h.Earlier {
		h.Earlier[i] = d.Fixed()
	}
	h.clock = escrow.Reading{Mono: d.Int(), Lo: d.Int(), Hi: d.Int()}
	h.Stamp = d.Int()
	rosters := d.String(uint64(len(b)))
	err := d.End()
	if err == nil {
		h.Rosters, err = ledger.DecodeRosters(h.Stamp, []byte(rosters))
	}
	return h, err
}

// bequeath writes the heritage into the cells' file, if there is anything new to
// say. A process that dies before has left what was true a moment ago: the cells
// are the same, and the next process learns the rest from the log.
func (l *Limiter) bequeath(core *escrow.Core) {
	h := heritage{Heritage: core.Heritage()}
	h.clock, _ = core.Clock.Reading()
	b, err := h.encode()
	if len(b) > cells.MaxHeader { // of hundreds of nodes that come and go
		h.Stamp, h.Rosters = 0, &ledger.Rosters{}
		b, err = h.encode()
	}
	if err == nil && !bytes.Equal(b, l.left) {
		if err = l.table.SetHeader(b); err == nil {
			l.left = b
		}
	}
	if err != nil && !l.warned {
		l.warned = true
		l.cfg.Warn("the file of tokens cannot be written: a restart of this process will lose what it holds", err)
	}
}

package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/sluicegate/sluice/limiter/ledger"
)

// ErrCorruptSnapshot is given for a snapshot stream that is not whole: a wrong
// magic, a wrong checksum, a missing end, a record that does not decode.
var ErrCorruptSnapshot = errors.New("corrupt snapshot")

// ErrNewerSnapshot is given for a snapshot that a newer build wrote in a format
// this one does not know.
var ErrNewerSnapshot = errors.New("snapshot of a newer version")

const (
	snapshotMagic  = "SLUICESNAP"
	snapshotFormat = 2
	// maxRecord bounds a record's length, so that a torn length field cannot
	// ask for all memory. The ledger at its cap is the largest record.
	maxRecord = 1 << 30
)

// Record types of the stream. A stream is the magic, then records of type (1
// byte), length (uvarint) and payload, the last of them the trailer.
const (
	recordHeader  byte = 1
	recordEntity  byte = 2
	recordRequest byte = 3
	recordLeases  byte = 4 // the ledger before shares: skipped
	recordLedger  byte = 5
	recordBase    byte = 6 // where the history begins
	recordChange  byte = 7
	recordStaged  byte = 8
	recordTrailer byte = 255
)

type snapshotHeader struct {
	Format      int    `json:"format"`
	ClusterID   string `json:"cluster_id"`
	Index       uint64 `json:"index"`
	ConfigIndex uint64 `json:"config_index"`
}

// Snapshot gives the state as a stream, to be written later by any goroutine
// while commands go on. Taking it costs a copy of the ledger and no more.
func (m *Machine) Snapshot() io.WriterTo {
	limits, err := m.Limits().MarshalBinary()
	return &snapshot{view: m.View(), defs: m.defs, requests: m.requests.all(), ledger: limits, err: err}
}

type snapshot struct {
	view     *View
	defs     []*Definition
	requests []*request
	ledger   []byte
	err      error
}

// WriteTo writes the stream.
func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	if s.err != nil {
		return 0, fmt.Errorf("snapshot: %w", s.err)
	}
	out := &recordWriter{w: bufio.NewWriterSize(w, 64<<10), crc: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	out.bytes([]byte(snapshotMagic))
	out.json(recordHeader, snapshotHeader{snapshotFormat, s.view.clusterID, s.view.index, s.view.configIndex})
	for _, def := range s.defs {
		for e := range s.view.All(def.Kind) {
			out.entity(e)
		}
	}
	for _, r := range s.requests {
		out.json(recordRequest, r)
	}
	out.history(&s.view.history)
	for _, st := range s.view.staged.all {
		out.json(recordStaged, st)
	}
	out.record(recordLedger, s.ledger)
	out.trailer()
	if out.err != nil {
		return out.n, fmt.Errorf("snapshot: %w", out.err)
	}
	return out.n, nil
}

// recordWriter writes records until the first error.
type recordWriter struct {
	w     *bufio.Writer
	crc   hash.Hash32
	n     int64
	count uint64
	err   error
	buf   []byte // of the last record, for the next
	head  []byte // of the last record too
}

func (w *recordWriter) bytes(p []byte) {
	if w.err != nil {
		return
	}
	w.crc.Write(p)
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.err = err
}

func (w *recordWriter) record(kind byte, payload []byte) {
	w.begin(kind, len(payload))
	w.bytes(payload)
}

// begin begins a record of so many bytes.
func (w *recordWriter) begin(kind byte, length int) {
	w.head = binary.AppendUvarint(append(w.head[:0], kind), uint64(length))
	w.bytes(w.head)
	w.count++
}

// Write writes a part of a record.
func (w *recordWriter) Write(p []byte) (int, error) {
	w.bytes(p)
	return len(p), w.err
}

func (w *recordWriter) entity(e *Entity) {
	payload, err := e.appendJSON(w.buf[:0])
	if err != nil && w.err == nil {
		w.err = err
	}
	w.record(recordEntity, payload)
	w.buf = payload
}

func (w *recordWriter) json(kind byte, v any) {
	payload, err := encode(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.record(kind, payload)
}

func (w *recordWriter) history(h *history) {
	w.json(recordBase, baseJSON{h.since, h.base})
	for _, c := range h.changes { // one may be as large as the whole state
		w.begin(recordChange, len(c.Hash)+c.encoded)
		w.bytes(c.Hash[:])
		begun := w.n
		if err := c.encode(w); err != nil && w.err == nil {
			w.err = err
		}
		if w.err == nil && w.n-begun != int64(c.encoded) {
			w.err = fmt.Errorf("change %d is %d bytes and was %d", c.Index, w.n-begun, c.encoded)
		}
	}
}

// trailer ends the stream: the number of records before it and the CRC32C of
// all bytes before it.
func (w *recordWriter) trailer() {
	payload := binary.BigEndian.AppendUint64(nil, w.count)
	payload = binary.BigEndian.AppendUint32(payload, w.crc.Sum32())
	w.record(recordTrailer, payload)
	if w.err == nil {
		w.err = w.w.Flush()
	}
}

// Restore replaces all state by that of a snapshot stream, or changes nothing
// and gives an error.
func (m *Machine) Restore(r io.Reader) error {
	next, err := readSnapshot(r, m.defs, m.byKind)
	if err != nil {
		return err
	}
	m.limitsMu.Lock()
	m.requests, m.ledger = next.requests, next.ledger
	m.limitsMu.Unlock()
	if m.onLimits != nil {
		// Whoever follows the entries has missed some, and with them who has
		// shares of which windows.
		m.onLimits(next.ledger.State())
	}
	for _, def := range m.defs {
		m.touch(next.view.tables[def.number])
	}
	if m.Index() == 0 {
		m.restored.Store(next.view)
	}
	m.publish(next.view, true)
	return nil
}

// restored collects what a stream holds.
type restored struct {
	view     *View
	requests *requests
	ledger   *ledger.Ledger
	header   bool
}

func readSnapshot(r io.Reader, defs []*Definition, byKind map[string]*Definition) (*restored, error) {
	in := &recordReader{r: bufio.NewReaderSize(r, 64<<10), crc: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	magic := make([]byte, len(snapshotMagic))
	if err := in.bytes(magic); err != nil || string(magic) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrCorruptSnapshot)
	}
	out := &restored{view: &View{tables: newTables(defs), defs: byKind}, requests: newRequests(), ledger: ledger.New()}
	t := newTxn(out.view.tables)
	for count := uint64(0); ; count++ {
		sum := in.crc.Sum32()
		kind, payload, err := in.record()
		if err != nil {
			return nil, err
		}
		if kind == recordTrailer {
			if err := checkTrailer(payload, count, sum); err != nil {
				return nil, err
			}
			break
		}
		e, err := out.add(kind, payload)
		if err != nil {
			return nil, err
		}
		if e != nil {
			t.put(byKind[e.Kind], e)
		}
	}
	if !out.header {
		return nil, fmt.Errorf("%w: no header", ErrCorruptSnapshot)
	}
	out.view.tables = t.result()
	out.view.shareEntities()
	return out, nil
}

func checkTrailer(payload []byte, count uint64, sum uint32) error {
	if len(payload) != 12 || binary.BigEndian.Uint64(payload) != count {
		return fmt.Errorf("%w: records are missing", ErrCorruptSnapshot)
	}
	if binary.BigEndian.Uint32(payload[8:]) != sum {
		return fmt.Errorf("%w: wrong checksum", ErrCorruptSnapshot)
	}
	return nil
}

// add takes one record; for an entity it gives the entity.
func (s *restored) add(kind byte, payload []byte) (*Entity, error) {
	if !s.header && kind != recordHeader {
		return nil, fmt.Errorf("%w: no header", ErrCorruptSnapshot)
	}
	var err error
	switch kind {
	case recordHeader:
		err = s.addHeader(payload)
	case recordEntity:
		return s.entity(payload)
	case recordRequest:
		done := new(request)
		if err = json.Unmarshal(payload, done); err == nil {
			s.requests.remember(done)
		}
	case recordBase:
		err = s.addBase(payload)
	case recordChange:
		err = s.addChange(payload)
	case recordStaged:
		st := new(staged)
		if err = json.Unmarshal(payload, st); err == nil {
			s.view.staged.all = append(s.view.staged.all, st)
		}
	case recordLeases:
	case recordLedger:
		err = s.ledger.UnmarshalBinary(payload)
	default:
		err = fmt.Errorf("record type %d", kind)
	}
	if errors.Is(err, ErrNewerSnapshot) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	return nil, nil
}

func (s *restored) addHeader(payload []byte) error {
	var h snapshotHeader
	if err := json.Unmarshal(payload, &h); err != nil {
		return err
	}
	if h.Format > snapshotFormat {
		return fmt.Errorf("%w: format %d, known is %d", ErrNewerSnapshot, h.Format, snapshotFormat)
	}
	s.header = true
	s.view.clusterID, s.view.index, s.view.configIndex = h.ClusterID, h.Index, h.ConfigIndex
	return nil
}

// baseJSON is where the history of a snapshot begins.
type baseJSON struct {
	Since uint64 `json:"since"`
	Hash  Hash   `json:"hash"`
}

func (s *restored) addBase(payload []byte) error {
	var b baseJSON
	if err := json.Unmarshal(payload, &b); err != nil {
		return err
	}
	s.view.history.since, s.view.history.base = b.Since, b.Hash
	return nil
}

// addChange takes a change of the history, and checks that it follows the one
// before.
func (s *restored) addChange(payload []byte) error {
	if len(payload) < len(Hash{}) {
		return errors.New("a change without its hash")
	}
	c, err := decodeChange(payload[len(Hash{}):], s.entity)
	if err != nil {
		return err
	}
	c.Hash = Hash(payload)
	hash, encoded, err := c.link(s.view.history.last())
	switch {
	case err != nil:
		return err
	case c.Hash != hash:
		return fmt.Errorf("%w: change %d", ErrHistoryBroken, c.Index)
	}
	c.encoded = encoded
	h := &s.view.history
	h.changes, h.bytes = append(h.changes, c), h.bytes+c.size()
	return nil
}

func (s *restored) entity(payload []byte) (*Entity, error) {
	e := new(Entity)
	if err := json.Unmarshal(payload, e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	def := s.view.defs[e.Kind]
	if def == nil {
		return nil, fmt.Errorf("%w: entities of kind %q", ErrNewerSnapshot, e.Kind)
	}
	if err := e.derive(def); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	return e, nil
}

// recordReader reads records and sums what it reads.
type recordReader struct {
	r   *bufio.Reader
	crc hash.Hash32
}

func (r *recordReader) bytes(p []byte) error {
	if _, err := io.ReadFull(r.r, p); err != nil {
		return err
	}
	r.crc.Write(p)
	return nil
}

// ReadByte makes it an io.ByteReader for the length.
func (r *recordReader) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.crc.Write([]byte{b})
	}
	return b, err
}

func (r *recordReader) record() (kind byte, payload []byte, err error) {
	kind, err = r.ReadByte()
	if err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early", ErrCorruptSnapshot)
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n > maxRecord {
		return 0, nil, fmt.Errorf("%w: a record's length is wrong", ErrCorruptSnapshot)
	}
	// The buffer grows with what is there, not with what the length claims.
	var buf bytes.Buffer
	if _, err := io.CopyN(&buf, r.r, int64(n)); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early", ErrCorruptSnapshot)
	}
	r.crc.Write(buf.Bytes())
	return kind, buf.Bytes(), nil
}

package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sort"
)

// ErrHistoryGone is given for a state of so long ago that the changes since are
// not all remembered, or that has not been yet.
var ErrHistoryGone = errors.New("no such state in the history")

// ErrHistoryBroken is given by Verify for a history that is not what was written.
var ErrHistoryBroken = errors.New("the history was altered")

// Origin says where a write came from. It decides nothing.
type Origin struct {
	Who    string `json:"who,omitempty"`    // the name of who was let in, "" for anybody
	Addr   string `json:"addr,omitempty"`   // of the client
	Node   string `json:"node,omitempty"`   // id of the node that was asked
	Action string `json:"action,omitempty"` // such as "PATCH /services/demo"
}

// Keep says how much of the history is kept: so many changes and bytes of
// entities, whichever is less, and always the newest change. Zero is the default.
type Keep struct {
	Changes int   `json:"changes,omitempty"`
	Bytes   int64 `json:"bytes,omitempty"`
}

// What is kept if a write does not say it.
const (
	defaultChanges = 1000
	defaultBytes   = 16 << 20
	// changeBytes is what a changed entity costs besides its JSON.
	changeBytes = 512
)

// Hash is a link of the chain of changes.
type Hash [sha256.Size]byte

// Change is one write of the history and what it did. Immutable.
type Change struct {
	Index uint64 // of the log entry
	Time  int64  // the writer's, unix seconds
	Origin
	Entities []ChangedEntity
	// Hash is of the change and of the hash of the one before: whoever knows it
	// knows that nothing of the history up to here was altered.
	Hash Hash
	// encoded is how many bytes encode gives.
	encoded int
}

// ChangedEntity is an entity before and after a change, nil where it was not
// there.
type ChangedEntity struct{ Before, After *Entity }

// Entity is the newer of both, which tells the kind and the id.
func (c *ChangedEntity) Entity() *Entity {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// history is the newest changes, the oldest first. A view has its own, which
// never changes; they share what is below.
type history struct {
	base    Hash   // of the change before the first
	since   uint64 // its index; 0: nothing was forgotten
	changes []*Change
	bytes   int64
}

// with returns the history with one more change, and less of the oldest ones if
// they are more than is kept.
func (h history) with(c *Change, keep Keep) history {
	if keep.Changes <= 0 {
		keep.Changes = defaultChanges
	}
	if keep.Bytes <= 0 {
		keep.Bytes = defaultBytes
	}
	h.changes = append(h.changes, c) // views share the array: each knows how much of it is its own
	h.bytes += c.size()
	first := 0
	for first < len(h.changes)-1 && (len(h.changes)-first > keep.Changes || h.bytes > keep.Bytes) {
		h.base, h.since = h.changes[first].Hash, h.changes[first].Index
		h.bytes -= h.changes[first].size()
		first++
	}
	if h.changes = h.changes[first:]; first > 0 && 2*len(h.changes) < cap(h.changes) {
		h.changes = slices.Clone(h.changes) // what is forgotten is let go
	}
	return h
}

// last is the hash of the newest change.
func (h *history) last() Hash {
	if n := len(h.changes); n > 0 {
		return h.changes[n-1].Hash
	}
	return h.base
}

func (c *Change) size() (n int64) {
	for _, e := range c.Entities {
		n += changeBytes
		for _, is := range []*Entity{e.Before, e.After} {
			if is != nil {
				n += int64(len(is.Raw))
			}
		}
	}
	return n
}

// changeHead is what a change's encoding begins with.
type changeHead struct {
	Index uint64 `json:"index"`
	Time  int64  `json:"time"`
	Origin
	Count int `json:"count"` // of entities
}

// encode writes the change as snapshots have it, and as it is hashed: the head, then
// each entity before and after, all of them with their length, 0 for none.
func (c *Change) encode(to io.Writer) error {
	one, err := encode(changeHead{c.Index, c.Time, c.Origin, len(c.Entities)})
	var length []byte
	write := func() {
		if err == nil {
			length = binary.AppendUvarint(length[:0], uint64(len(one)))
			_, err = to.Write(length)
		}
		if err == nil {
			_, err = to.Write(one)
		}
	}
	write()
	for i := range c.Entities {
		for _, is := range []*Entity{c.Entities[i].Before, c.Entities[i].After} {
			if one = one[:0]; is != nil && err == nil {
				one, err = is.appendJSON(one)
			}
			write()
		}
	}
	if err != nil {
		return fmt.Errorf("encode change %d: %w", c.Index, err)
	}
	return nil
}

// decodeChange reads what encode gave; entity reads an entity.
func decodeChange(b []byte, entity func([]byte) (*Entity, error)) (*Change, error) {
	next := func() ([]byte, error) {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, errors.New("a change ends early")
		}
		one := b[size : size+int(n)]
		b = b[size+int(n):]
		return one, nil
	}
	text, err := next()
	if err != nil {
		return nil, err
	}
	var head changeHead
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	c := &Change{Index: head.Index, Time: head.Time, Origin: head.Origin}
	for range head.Count {
		var e ChangedEntity
		for _, to := range []**Entity{&e.Before, &e.After} {
			text, err := next()
			if err != nil {
				return nil, err
			}
			if len(text) == 0 {
				continue
			}
			if *to, err = entity(text); err != nil {
				return nil, err
			}
		}
		if e.Entity() == nil {
			return nil, errors.New("a change of nothing")
		}
		c.Entities = append(c.Entities, e)
	}
	return c, nil
}

// link is the hash of a change that follows one of a hash, and how many bytes the
// change is encoded in.
func (c *Change) link(before Hash) (h Hash, encoded int, err error) {
	sum := &counted{Hash: sha256.New()}
	sum.Hash.Write(before[:])
	if err := c.encode(sum); err != nil {
		return Hash{}, 0, err
	}
	return Hash(sum.Sum(nil)), sum.n, nil
}

// counted counts what is hashed.
type counted struct {
	hash.Hash
	n int
}

func (c *counted) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.Hash.Write(b)
}

// changeOf makes a change of what a transaction has done.
func changeOf(index uint64, w *Write, all []done) *Change {
	c := &Change{Index: index, Time: w.Now, Origin: w.Origin, Entities: make([]ChangedEntity, 0, len(all))}
	for _, d := range all {
		c.Entities = append(c.Entities, ChangedEntity{d.before, d.after})
	}
	return c
}

// record adds a write to the history, if it changed anything.
func (v *View) record(index uint64, w *Write, all []done) error {
	c := changeOf(index, w, all)
	if len(c.Entities) == 0 {
		return nil
	}
	var err error
	if c.Hash, c.encoded, err = c.link(v.history.last()); err != nil {
		return err
	}
	v.history = v.history.with(c, w.Keep)
	return nil
}

// History gives the changes that are remembered, the oldest first. The slice must
// not be changed.
func (v *View) History() []*Change { return v.history.changes }

// HistoryBase is the index and the hash of the change before the first of History,
// 0 if that is the first of all.
func (v *View) HistoryBase() (uint64, Hash) { return v.history.since, v.history.base }

// VerifyHistory computes every link of the chain anew, and gives the number of
// changes and the hash of the newest. The error wraps ErrHistoryBroken.
func (v *View) VerifyHistory() (int, Hash, error) {
	at := v.history.base
	for i, c := range v.history.changes {
		next, _, err := c.link(at)
		if err != nil {
			return i, at, err
		}
		if next != c.Hash {
			return i, at, fmt.Errorf("%w: change %d", ErrHistoryBroken, c.Index)
		}
		at = next
	}
	return len(v.history.changes), at, nil
}

// AsOf gives the configuration as it was after the log entry of an index. The error
// wraps ErrHistoryGone.
func (v *View) AsOf(index uint64) (*View, error) {
	all := v.history.changes
	if index > v.index {
		return nil, fmt.Errorf("%w: index %d; the newest is %d", ErrHistoryGone, index, v.index)
	}
	first := sort.Search(len(all), func(i int) bool { return all[i].Index > index })
	if index < v.history.since {
		return nil, fmt.Errorf("%w: index %d; the history begins after index %d", ErrHistoryGone, index, v.history.since)
	}
	if first == len(all) {
		return v, nil
	}
	t := newTxn(v.tables)
	for _, c := range slices.Backward(all[first:]) {
		if err := c.undo(t, v.defs); err != nil {
			return nil, err
		}
	}
	then := &View{tables: t.result(), index: index, configIndex: v.history.before(first), clusterID: v.clusterID, defs: v.defs}
	for i, table := range then.tables {
		if table != v.tables[i] {
			table.version = 0 // it is not what the machine had under this one
		}
	}
	then.history = v.history
	then.history.changes = all[:first:first]
	return then, nil
}

// AsOfTime gives the configuration as it was at a time, in unix seconds. The error
// wraps ErrHistoryGone.
func (v *View) AsOfTime(unix int64) (*View, error) {
	all := v.history.changes
	// Writers' clocks differ: the last change that says it was made by then counts.
	last := len(all) - 1
	for last >= 0 && all[last].Time > unix {
		last--
	}
	if last >= 0 {
		return v.AsOf(all[last].Index)
	}
	if v.history.since > 0 {
		return nil, fmt.Errorf("%w: the history begins after index %d", ErrHistoryGone, v.history.since)
	}
	return v.AsOf(0)
}

// shareEntities makes the history of a view that nobody has seen yet hold the entities of
// the view, and of its own other changes, instead of others that are equal: so what it
// costs is what is gone, where it was made and where it is restored.
func (v *View) shareEntities() {
	type which struct{ kind, id string }
	after := map[which]*Entity{} // of the change that is looked at
	for _, c := range slices.Backward(v.history.changes) {
		for i := range c.Entities {
			e := &c.Entities[i]
			w := which{e.Entity().Kind, e.Entity().ID}
			is, changed := after[w]
			if !changed {
				is = v.Get(w.kind, w.id)
			}
			if is != nil && e.After != nil && is.equal(e.After) {
				e.After = is
			}
			after[w] = e.Before
		}
	}
}

// equal says whether two entities of one kind and id are the same in all they say.
func (e *Entity) equal(o *Entity) bool {
	return e.same(o) && e.CreateIndex == o.CreateIndex && e.ModifyIndex == o.ModifyIndex && e.CreateStamp == o.CreateStamp
}

// before is the index of the change before the nth.
func (h *history) before(n int) uint64 {
	if n == 0 {
		return h.since
	}
	return h.changes[n-1].Index
}

// undo takes a change back. All that is there now goes first: a name may have been
// given to another.
func (c *Change) undo(t *txn, defs map[string]*Definition) error {
	for _, e := range c.Entities {
		if e.After != nil && !t.delete(defs[e.After.Kind], e.After.ID) {
			return fmt.Errorf("%w: undo change %d: %s %s is not there", ErrHistoryBroken, c.Index, e.After.Kind, e.After.ID)
		}
	}
	for _, e := range c.Entities {
		if e.Before != nil {
			t.put(defs[e.Before.Kind], e.Before)
		}
	}
	return nil
}

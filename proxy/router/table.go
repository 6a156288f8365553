package router

import (
	"hash/maphash"
	"slices"
	"strings"
)

// table finds nodes by the text they begin with. What it was before a change is
// shared with those who hold a copy of it: a change copies one segment and the
// list of segments, both short. Go's maps would have to be copied whole.
type table struct {
	width    int        // how many bytes of a node's text are its key; 0: all
	segments []*segment // a power of two of them
	count    int
	owner    generation // may change the list of segments in place
}

// segment is a hash table with linear probing.
type segment struct {
	slots []edge // a power of two of them, a quarter free at least
	count int
	owner generation // may change the segment in place
}

// edge leaves the key to the node, which has to be looked at anyway.
type edge struct {
	hash uint64
	node *node // nil in a free slot
}

func (t *table) key(n *node) string {
	if t.width == 0 {
		return n.text
	}
	return n.text[:t.width]
}

// generation numbers what a Builder made since its last Build. Only what is of
// the current one may be changed in place: no Router has it yet.
type generation uint64

// A table is kept between these numbers of edges a segment, on average.
const (
	minPerSegment = 16
	maxPerSegment = 64
)

var hashSeed = maphash.MakeSeed()

// get gives the node of a key, or nil.
func (t *table) get(key string) *node {
	if t.count == 0 {
		return nil
	}
	hash := maphash.String(hashSeed, key)
	for e := range t.segment(hash).probe(hash) {
		if t.key(e.node) == key {
			return e.node
		}
	}
	return nil
}

// getBytes is get for a key that is not worth a string.
func (t *table) getBytes(key []byte) *node {
	if t.count == 0 {
		return nil
	}
	hash := maphash.Bytes(hashSeed, key)
	for e := range t.segment(hash).probe(hash) {
		if t.key(e.node) == string(key) {
			return e.node
		}
	}
	return nil
}

// next gives the node whose whole text path begins with, or nil.
func (t *table) next(path string) *node {
	if len(path) < t.width || t.count == 0 {
		return nil
	}
	hash := maphash.String(hashSeed, path[:t.width])
	for e := range t.segment(hash).probe(hash) {
		if strings.HasPrefix(path, e.node.text) {
			return e.node
		}
	}
	return nil
}

func (t *table) segment(hash uint64) *segment { return t.segments[hash&uint64(len(t.segments)-1)] }

// probe walks the edges with a hash, of which there is hardly ever more than
// one.
func (s *segment) probe(hash uint64) func(func(*edge) bool) {
	return func(yield func(*edge) bool) {
		mask := uint64(len(s.slots) - 1)
		for i := hash >> 32 & mask; s.slots[i].node != nil; i = (i + 1) & mask {
			if e := &s.slots[i]; e.hash == hash && !yield(e) {
				return
			}
		}
	}
}

// all walks the nodes in no particular order.
func (t *table) all(yield func(*node) bool) {
	for _, s := range t.segments {
		for _, e := range s.slots {
			if e.node != nil && !yield(e.node) {
				return
			}
		}
	}
}

// set files a node under its key, in the place of one that is there.
func (t *table) set(now generation, n *node) {
	key := t.key(n)
	hash := maphash.String(hashSeed, key)
	if len(t.segments) == 0 {
		t.segments, t.owner = []*segment{newSegment(now, 1)}, now
	}
	for e := range t.segment(hash).probe(hash) {
		if t.key(e.node) != key {
			continue
		}
		if e.node != n {
			t.change(now, hash, e.node, n)
		}
		return
	}
	t.own(now, hash).add(edge{hash, n})
	t.count++
	if t.count > maxPerSegment*len(t.segments) {
		t.resize(now, 2*len(t.segments))
	}
}

// change puts another node into the place of one.
func (t *table) change(now generation, hash uint64, from, to *node) {
	for e := range t.own(now, hash).probe(hash) {
		if e.node == from {
			e.node = to
			return
		}
	}
}

// delete forgets a node, if it is there.
func (t *table) delete(now generation, n *node) {
	old := *t.own(now, maphash.String(hashSeed, t.key(n)))
	s := newSegment(now, old.count)
	for _, e := range old.slots {
		if e.node != nil && e.node != n {
			s.add(e)
		}
	}
	*t.own(now, maphash.String(hashSeed, t.key(n))) = *s
	t.count -= old.count - s.count
	if len(t.segments) > 1 && t.count < minPerSegment*len(t.segments) {
		t.resize(now, len(t.segments)/2)
	}
}

// own gives the segment of a hash, to be changed.
func (t *table) own(now generation, hash uint64) *segment {
	if t.owner != now {
		t.segments, t.owner = slices.Clone(t.segments), now
	}
	at := &t.segments[hash&uint64(len(t.segments)-1)]
	if (*at).owner != now {
		*at = &segment{slots: slices.Clone((*at).slots), count: (*at).count, owner: now}
	}
	return *at
}

func (t *table) resize(now generation, size int) {
	old := t.segments
	t.segments = make([]*segment, size)
	for i := range t.segments {
		t.segments[i] = newSegment(now, t.count/size)
	}
	for _, s := range old {
		for _, e := range s.slots {
			if e.node != nil {
				t.segment(e.hash).add(e)
			}
		}
	}
}

// newSegment makes a segment with room for some edges.
func newSegment(now generation, room int) *segment {
	slots := 2
	for slots*3/4 < room {
		slots *= 2
	}
	return &segment{slots: make([]edge, slots), owner: now}
}

// add files an edge whose key is not there.
func (s *segment) add(e edge) {
	if s.count+1 > len(s.slots)*3/4 {
		larger := newSegment(s.owner, 2*s.count)
		for _, old := range s.slots {
			if old.node != nil {
				larger.add(old)
			}
		}
		*s = *larger
	}
	mask := uint64(len(s.slots) - 1)
	i := e.hash >> 32 & mask
	for s.slots[i].node != nil {
		i = (i + 1) & mask
	}
	s.slots[i] = e
	s.count++
}

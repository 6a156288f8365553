package router

import (
	"hash/maphash"
	"slices"
	"strings"
)

// table finds nodes by the text they begin with. What it was before a change is
// shared with those who hold a copy of it: a change copies the list of buckets,
// which is short, and one bucket. Go's maps would have to be copied whole.
type table struct {
	width   int      // how many bytes of a node's text are its key; 0: all
	buckets [][]edge // a power of two of them; a bucket never changes
	count   int
	owner   generation // may change buckets in place
}

// edge leaves the key to the node, which has to be looked at anyway.
type edge struct {
	hash uint64
	node *node
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

// A table is kept between these numbers of edges a bucket, on average.
const (
	minPerBucket = 1
	maxPerBucket = 4
)

var hashSeed = maphash.MakeSeed()

// get gives the node of a key, or nil.
func (t *table) get(key string) *node {
	if t.count == 0 {
		return nil
	}
	hash := maphash.String(hashSeed, key)
	bucket := *t.bucket(hash)
	for i := range bucket {
		if e := &bucket[i]; e.hash == hash && t.key(e.node) == key {
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
	bucket := *t.bucket(hash)
	for i := range bucket {
		if e := &bucket[i]; e.hash == hash && t.key(e.node) == string(key) {
			return e.node
		}
	}
	return nil
}

// next gives the node whose whole text path begins with, or nil.
func (t *table) next(path string) *node {
	if len(path) < t.width {
		return nil
	}
	if len(t.buckets) == 1 { // a few comparisons cost less than a hash
		for i := range t.buckets[0] {
			if n := t.buckets[0][i].node; strings.HasPrefix(path, n.text) {
				return n
			}
		}
		return nil
	}
	hash := maphash.String(hashSeed, path[:t.width])
	bucket := *t.bucket(hash)
	for i := range bucket {
		if e := &bucket[i]; e.hash == hash && strings.HasPrefix(path, e.node.text) {
			return e.node
		}
	}
	return nil
}

// all walks the nodes in no particular order.
func (t *table) all(yield func(*node) bool) {
	for _, bucket := range t.buckets {
		for _, e := range bucket {
			if !yield(e.node) {
				return
			}
		}
	}
}

// set files a node under its key, in the place of one that is there.
func (t *table) set(now generation, n *node) {
	t.own(now)
	key := t.key(n)
	added := edge{maphash.String(hashSeed, key), n}
	bucket := t.bucket(added.hash)
	if i := t.find(*bucket, key); i >= 0 {
		if (*bucket)[i].node != n {
			*bucket = slices.Clone(*bucket)
			(*bucket)[i] = added
		}
		return
	}
	*bucket = append(slices.Clip(*bucket), added)
	t.count++
	if t.count > maxPerBucket*len(t.buckets) {
		t.resize(2 * len(t.buckets))
	}
}

// delete forgets a key, if it is there.
func (t *table) delete(now generation, key string) {
	if t.count == 0 {
		return
	}
	t.own(now)
	bucket := t.bucket(maphash.String(hashSeed, key))
	i := t.find(*bucket, key)
	if i < 0 {
		return
	}
	*bucket = slices.Delete(slices.Clone(*bucket), i, i+1)
	t.count--
	if len(t.buckets) > 1 && t.count < minPerBucket*len(t.buckets) {
		t.resize(len(t.buckets) / 2)
	}
}

func (t *table) own(now generation) {
	if len(t.buckets) == 0 {
		t.buckets = make([][]edge, 1)
	} else if t.owner != now {
		t.buckets = slices.Clone(t.buckets)
	}
	t.owner = now
}

func (t *table) bucket(hash uint64) *[]edge { return &t.buckets[hash&uint64(len(t.buckets)-1)] }

func (t *table) resize(size int) {
	old := t.buckets
	t.buckets = make([][]edge, size)
	for _, bucket := range old {
		for _, e := range bucket {
			b := t.bucket(e.hash)
			*b = append(*b, e)
		}
	}
}

func (t *table) find(bucket []edge, key string) int {
	return slices.IndexFunc(bucket, func(e edge) bool { return t.key(e.node) == key })
}

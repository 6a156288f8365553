// Package ordered is sets in order, of which every state is kept for nothing: a Set
// never changes, and an Edit makes the next one of it by copying only what differs.
//
// It is a B-tree whose items are all in its leaves. Inner nodes hold the first item of
// each child, always exactly that one, so that a set holds on to nothing that is not
// in it.
package ordered

import "iter"

// maxItems is how many items a node has at most, minItems how few it has after a
// Delete unless there is no other to join it with. A write copies one node for each
// level; larger nodes make fewer levels and larger copies.
const (
	maxItems = 32
	minItems = maxItems / 4
)

// Item is what a Set holds, at most one of those that are equal by Compare: negative if
// the item comes before the other one, 0 if they are equal, positive if it comes after.
type Item[T any] interface{ Compare(other T) int }

// Set is items in their order. The zero Set is empty. A Set never changes; safe for
// concurrent use.
type Set[T Item[T]] struct {
	root *node[T] // nil if there is nothing
	size int
}

// node is a leaf, or has children. It is never without items, but for a moment within
// Delete.
type node[T Item[T]] struct {
	owner    *owner
	items    []T        // of an inner node: the first item of each child
	children []*node[T] // nil of a leaf
}

// owner is one run of an Edit between two sets: what it has made no set has yet, and it
// may change that in place. It has a size so that no two are at the same address.
type owner struct{ _ byte }

// Len is how many items there are.
func (s Set[T]) Len() int { return s.size }

// Seek gives the first item that does not come before another one, which need not be
// in the set; false if there is none.
func (s Set[T]) Seek(from T) (T, bool) {
	var next *node[T] // the subtree after the path, if the leaf has nothing
	n := s.root
	for n != nil && n.children != nil {
		i := n.child(from)
		if i+1 < len(n.children) {
			next = n.children[i+1]
		}
		n = n.children[i]
	}
	if n != nil {
		if i, _ := n.find(from); i < len(n.items) {
			return n.items[i], true
		}
	}
	if next != nil {
		return next.items[0], true
	}
	var none T
	return none, false
}

// All walks all items.
func (s Set[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		if s.root != nil {
			s.root.walk(yield)
		}
	}
}

// From walks the items that do not come before another one, which need not be in the
// set.
func (s Set[T]) From(from T) iter.Seq[T] {
	return func(yield func(T) bool) {
		if s.root != nil {
			s.root.walkFrom(from, yield)
		}
	}
}

func (n *node[T]) walk(yield func(T) bool) bool {
	if n.children == nil {
		for i := range n.items {
			if !yield(n.items[i]) {
				return false
			}
		}
		return true
	}
	for _, child := range n.children {
		if !child.walk(yield) {
			return false
		}
	}
	return true
}

func (n *node[T]) walkFrom(from T, yield func(T) bool) bool {
	if n.children == nil {
		first, _ := n.find(from)
		for i := first; i < len(n.items); i++ {
			if !yield(n.items[i]) {
				return false
			}
		}
		return true
	}
	first := n.child(from)
	if !n.children[first].walkFrom(from, yield) {
		return false
	}
	for _, child := range n.children[first+1:] {
		if !child.walk(yield) {
			return false
		}
	}
	return true
}

// find gives the place of the first item that does not come before one, and whether
// they are equal.
func (n *node[T]) find(item T) (int, bool) {
	low, high := 0, len(n.items)
	for low < high {
		middle := int(uint(low+high) / 2)
		switch c := n.items[middle].Compare(item); {
		case c < 0:
			low = middle + 1
		case c > 0:
			high = middle
		default:
			return middle, true
		}
	}
	return low, false
}

// child gives the place of the child in which an item is, if it is anywhere.
func (n *node[T]) child(item T) int {
	i, equal := n.find(item)
	if !equal && i > 0 {
		i--
	}
	return i
}

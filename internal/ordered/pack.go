package ordered

import "slices"

// packedItems is how many items a packed node has: some room, or the next Put would
// split it.
const packedItems = maxItems * 7 / 8

// Packed gives the same items in as few nodes as is sensible, all of them new: where
// many items were put one by one, nodes are half empty, and lie in memory between the
// copies that were made of them meanwhile. It costs a copy of every item.
func (s Set[T]) Packed() Set[T] {
	if s.root == nil {
		return s
	}
	level := packed(slices.AppendSeq(make([]T, 0, s.size), s.All()), nil)
	for len(level) > 1 {
		firsts := make([]T, len(level))
		for i, n := range level {
			firsts[i] = n.items[0]
		}
		level = packed(firsts, level)
	}
	return Set[T]{root: level[0], size: s.size}
}

// packed makes nodes of items, all about as large as each other: leaves, or of what
// items are the first of.
func packed[T Item[T]](items []T, children []*node[T]) []*node[T] {
	nodes := make([]*node[T], (len(items)+packedItems-1)/packedItems)
	for i := range nodes {
		from, to := i*len(items)/len(nodes), (i+1)*len(items)/len(nodes)
		nodes[i] = &node[T]{items: slices.Clone(items[from:to])}
		if children != nil {
			nodes[i].children = slices.Clone(children[from:to])
		}
	}
	return nodes
}

package ordered

import "slices"

// Edit makes a Set of another one. Not safe for concurrent use.
type Edit[T Item[T]] struct {
	set   Set[T]
	owner *owner
}

// Edit begins with what the set is.
func (s Set[T]) Edit() *Edit[T] { return &Edit[T]{set: s} }

// Set gives what the edit has made. It never changes, whatever the edit does next.
func (e *Edit[T]) Set() Set[T] {
	e.owner = nil
	return e.set
}

// Peek is Set for the moment: after the next Put or Delete it is of no use. It costs
// the edit nothing, where Set makes it copy again what it has copied already.
func (e *Edit[T]) Peek() Set[T] { return e.set }

// Put adds an item in the place of the equal one, which it gives if there is one.
func (e *Edit[T]) Put(item T) (old T, replaced bool) {
	e.begin()
	root := e.set.root
	if root == nil {
		e.set = Set[T]{root: &node[T]{owner: e.owner, items: []T{item}}, size: 1}
		return old, false
	}
	root = e.own(root, 1)
	right, old, replaced := e.put(root, item, true)
	if right != nil {
		root = &node[T]{owner: e.owner, items: []T{root.items[0], right.items[0]}, children: []*node[T]{root, right}}
	}
	e.set.root = root
	if !replaced {
		e.set.size++
	}
	return old, replaced
}

// Delete takes out the item that is equal to one, and gives it if there is one.
func (e *Edit[T]) Delete(item T) (old T, deleted bool) {
	if found, ok := e.set.Seek(item); !ok || found.Compare(item) != 0 {
		return old, false // nothing is copied for it
	}
	e.begin()
	root := e.own(e.set.root, 0)
	old = e.remove(root, item)
	e.set.size--
	for len(root.children) == 1 {
		root = root.children[0]
	}
	if len(root.items) == 0 {
		root = nil
	}
	e.set.root = root
	return old, true
}

func (e *Edit[T]) begin() {
	if e.owner == nil {
		e.owner = new(owner)
	}
}

// own gives the node itself if it may be changed, or a copy that has room for so many
// more items.
func (e *Edit[T]) own(n *node[T], room int) *node[T] {
	if n.owner == e.owner {
		return n
	}
	c := &node[T]{owner: e.owner, items: append(slices.Grow([]T(nil), len(n.items)+room), n.items...)}
	if n.children != nil {
		c.children = append(slices.Grow([]*node[T](nil), len(n.children)+room), n.children...)
	}
	return c
}

// put adds an item below a node that is owned. It gives what the node had to be split
// off, or nil. last says that nothing of the set comes after the node.
func (e *Edit[T]) put(n *node[T], item T, last bool) (right *node[T], old T, replaced bool) {
	if n.children == nil {
		i, equal := n.find(item)
		if equal {
			old, n.items[i] = n.items[i], item
			return nil, old, true
		}
		n.items = insert(n.items, i, item)
		return e.split(n, last && i == len(n.items)-1), old, false
	}
	i := n.child(item)
	child := e.own(n.children[i], 1)
	split, old, replaced := e.put(child, item, last && i == len(n.children)-1)
	n.children[i], n.items[i] = child, child.items[0]
	if split == nil {
		return nil, old, replaced
	}
	n.children = insert(n.children, i+1, split)
	n.items = insert(n.items, i+1, split.items[0])
	return e.split(n, last && i == len(n.items)-2), old, replaced
}

// insert is slices.Insert without its room for as much again: most nodes will not be
// added to before the set is kept.
func insert[E any](list []E, i int, item E) []E {
	if n := len(list); n == cap(list) {
		list = append(slices.Grow([]E(nil), n+n/8+1), list...)
	}
	return slices.Insert(list, i, item)
}

// split takes the upper half off a node that has become too large. Whoever appends to
// the set goes on appending, so a node is left full then.
func (e *Edit[T]) split(n *node[T], appended bool) *node[T] {
	switch {
	case len(n.items) <= maxItems:
		return nil
	case appended:
		return e.cut(n, maxItems)
	}
	return e.cut(n, len(n.items)/2)
}

// cut takes what comes after so many items off a node. Neither half keeps the room of
// the whole.
func (e *Edit[T]) cut(n *node[T], at int) *node[T] {
	right := &node[T]{owner: e.owner, items: slices.Clone(n.items[at:])}
	n.items = slices.Clone(n.items[:at])
	if n.children != nil {
		right.children = slices.Clone(n.children[at:])
		n.children = slices.Clone(n.children[:at])
	}
	return right
}

// remove takes an item, which is there, out of what is below a node that is owned.
func (e *Edit[T]) remove(n *node[T], item T) T {
	if n.children == nil {
		i, _ := n.find(item)
		old := n.items[i]
		n.items = slices.Delete(n.items, i, i+1)
		return old
	}
	i := n.child(item)
	child := e.own(n.children[i], 0)
	n.children[i] = child
	old := e.remove(child, item)
	if len(child.items) < minItems {
		e.join(n, i)
	} else {
		n.items[i] = child.items[0]
	}
	return old
}

// join makes of a child that has become small and the one beside it one, or two that are
// as large as each other. The parent and the child are owned.
func (e *Edit[T]) join(n *node[T], i int) {
	switch {
	case len(n.children) > 1:
		i = min(i, len(n.children)-2)
	case len(n.children[i].items) > 0: // the parent is small itself, and joined in its turn
		n.items[i] = n.children[i].items[0]
		return
	default:
		n.items, n.children = n.items[:0], n.children[:0] // and thrown away
		return
	}
	a, b := n.children[i], n.children[i+1]
	size := len(a.items) + len(b.items)
	all := &node[T]{owner: e.owner, items: append(append(slices.Grow([]T(nil), size), a.items...), b.items...)}
	if a.children != nil {
		all.children = append(append(slices.Grow([]*node[T](nil), size), a.children...), b.children...)
	}
	n.children[i], n.items[i] = all, all.items[0]
	if size <= maxItems*3/4 { // with room, or the next Put would split it
		n.children = slices.Delete(n.children, i+1, i+2)
		n.items = slices.Delete(n.items, i+1, i+2)
		return
	}
	right := e.cut(all, size/2)
	n.children[i+1], n.items[i+1] = right, right.items[0]
}

package ordered

import "iter"

// Since walks, in order, the items in which the set is not as an older one was: what
// was there and what is there now, each nil if there is nothing. Equal items differ
// unless they are the same by same. Nodes that both sets have are passed over, so that
// it takes time for what was edited between, and not for what both have.
func (s Set[T]) Since(old Set[T], same func(was, is T) bool) iter.Seq2[*T, *T] {
	return func(yield func(was, is *T) bool) {
		a, b := cursorOf(old.root), cursorOf(s.root)
		for {
			was, is := a.head(), b.head()
			if was == nil && is == nil {
				return
			}
			c := compareHeads(was, is)
			// What begins first is opened, and of what begins with the same item the higher.
			openA := c <= 0 && was.node != nil && (c < 0 || was.height >= is.height)
			openB := c >= 0 && is.node != nil && (c > 0 || is.height >= was.height)
			shared := openA && openB && was.node == is.node
			switch {
			case openA && !shared || openB && !shared:
				if openA {
					a.open()
				}
				if openB {
					b.open()
				}
				continue
			case shared || c == 0 && same(*was.item, *is.item):
			case c < 0 && !yield(was.item, nil), c > 0 && !yield(nil, is.item), c == 0 && !yield(was.item, is.item):
				return
			}
			if c <= 0 {
				a.pass()
			}
			if c >= 0 {
				b.pass()
			}
		}
	}
}

// cursor is what is left of a set: subtrees and items, the next one last.
type cursor[T Item[T]] struct{ left []part[T] }

// part is a subtree, or one item.
type part[T Item[T]] struct {
	item   *T // of a subtree the first one
	node   *node[T]
	height int // 0 of an item
}

func cursorOf[T Item[T]](root *node[T]) *cursor[T] {
	c := &cursor[T]{}
	if root == nil {
		return c
	}
	height := 1
	for n := root; n.children != nil; n = n.children[0] {
		height++
	}
	c.left = append(c.left, part[T]{&root.items[0], root, height})
	return c
}

// head is the next part, nil at the end. It is of use until the cursor moves.
func (c *cursor[T]) head() *part[T] {
	if len(c.left) == 0 {
		return nil
	}
	return &c.left[len(c.left)-1]
}

func (c *cursor[T]) pass() { c.left = c.left[:len(c.left)-1] }

// open puts what is in the next part, which is a subtree, in its place.
func (c *cursor[T]) open() {
	p := *c.head()
	c.pass()
	for i := len(p.node.items) - 1; i >= 0; i-- {
		next := part[T]{item: &p.node.items[i]}
		if p.node.children != nil {
			next.node, next.height = p.node.children[i], p.height-1
		}
		c.left = append(c.left, next)
	}
}

// compareHeads says which part begins first; the end comes last.
func compareHeads[T Item[T]](a, b *part[T]) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return (*a.item).Compare(*b.item)
}

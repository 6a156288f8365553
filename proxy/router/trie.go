package router

import "slices"

// candidate is an entry filed under one of its hosts and one of its paths. What
// is left to check is the port, methods, snis, headers and the regular
// expression.
type candidate struct {
	weight weight // of entry, so that most comparisons need no look at it
	port   int    // 0 for any
	plain  bool   // entry and path need no look: nothing is left but the port
	entry  *entry
	path   *pathPattern // nil if the entry has no paths
}

// before says whether c goes before d.
func (c *candidate) before(d *candidate) bool {
	if c.weight != d.weight {
		return c.weight > d.weight
	}
	return c.entry.compare(d.entry) < 0
}

// node is a node of a compressed trie over path prefixes. Its text is what a
// path goes on with after its parent's; a root has a host there, or nothing. The
// first bytes of it, as many as the width of the parent's table, are its key.
// That width is at most the distance to the nearest prefix further down, and
// just that where prefixes have only been added; so a level is one look-up
// however many routes there are: "/service-0001" to "/service-5000" are one
// level.
//
// A node without candidates has two children at least, unless it is a root.
// All that a match needs of a node is in one cache line.
type node struct {
	text       string
	children   *table      // nil without
	candidates []candidate // in order of priority
	owner      generation  // may change the node in place
}

// editor changes tries. What is of an earlier generation is copied first, so
// that whoever holds a root never sees a change.
type editor struct {
	now      generation
	unsorted map[*node]bool // nodes of this generation whose candidates need sorting
}

func (ed *editor) own(n *node) *node {
	if n.owner == ed.now {
		return n
	}
	own := *n
	own.owner = ed.now
	own.candidates = slices.Clip(n.candidates) // so that an append copies them
	return &own
}

// renamed gives a copy of n, which is not used any more, with another text. A text
// never changes in place, since tables look for their nodes by it.
func (ed *editor) renamed(n *node, text string) *node {
	next := *n
	next.text, next.owner = text, ed.now
	next.candidates = slices.Clip(n.candidates)
	if ed.unsorted[n] {
		delete(ed.unsorted, n)
		ed.unsorted[&next] = true
	}
	return &next
}

// ownChildren gives the children of a node of this generation, to be changed.
func (ed *editor) ownChildren(n *node) *table {
	if n.children.owner != ed.now {
		children := *n.children
		n.children = &children // copies its segments before the first change
	}
	return n.children
}

// insert gives the trie n with a candidate under a prefix.
func (ed *editor) insert(n *node, prefix string, c candidate) *node {
	n = ed.own(n)
	if prefix == "" {
		n.candidates = append(n.candidates, c) // sorted later: many may come for one node
		if len(n.candidates) > 1 {
			ed.unsorted[n] = true
		}
		return n
	}
	if n.children == nil {
		n.children = &table{width: len(prefix)}
	}
	if len(prefix) < n.children.width {
		ed.narrow(n, len(prefix))
	}
	children := ed.ownChildren(n)
	child := children.get(prefix[:children.width])
	if child == nil {
		child = &node{text: prefix, owner: ed.now}
	}
	same := commonLength(child.text, prefix)
	if same < len(child.text) {
		child = ed.split(child, same, len(prefix)-same)
	}
	child = ed.insert(child, prefix[same:], c)
	if len(child.candidates) == 0 && child.children.count == 1 { // narrow has put all under one
		child = ed.join(child)
	}
	children.set(ed.now, child)
	return n
}

// split puts a node between child and its parent, after the first bytes of
// child's text, for a sibling that goes on with that many other bytes, or none.
func (ed *editor) split(child *node, at, other int) *node {
	width := len(child.text) - at
	if other > 0 {
		width = min(width, other)
	}
	mid := &node{text: child.text[:at], children: &table{width: width}, owner: ed.now}
	mid.children.set(ed.now, ed.renamed(child, child.text[at:]))
	return mid
}

// narrow makes room for a prefix that is shorter than the width of n's
// children: those that have the first bytes of their keys in common move to a
// node of their own.
func (ed *editor) narrow(n *node, width int) {
	groups := make(map[string][]*node)
	for child := range n.children.all {
		key := child.text[:width]
		groups[key] = append(groups[key], child)
	}
	old := n.children.width
	n.children = &table{width: width}
	for _, group := range groups {
		first := group[0]
		if len(group) == 1 {
			n.children.set(ed.now, first)
			continue
		}
		at := old // their keys differ, so it ends up below
		for _, child := range group[1:] {
			at = min(at, commonLength(first.text, child.text))
		}
		mid := &node{text: first.text[:at], children: &table{width: old - at}, owner: ed.now}
		for _, child := range group {
			mid.children.set(ed.now, ed.renamed(child, child.text[at:]))
		}
		n.children.set(ed.now, mid)
	}
}

// remove gives the trie n without an entry's candidates under a prefix, or nil
// if nothing is left.
func (ed *editor) remove(n *node, prefix string, e *entry) *node {
	n = ed.removeBelow(n, prefix, e)
	if n.children == nil && len(n.candidates) == 0 {
		return nil
	}
	return n
}

func (ed *editor) removeBelow(n *node, prefix string, e *entry) *node {
	n = ed.own(n)
	if prefix == "" {
		n.candidates = slices.DeleteFunc(slices.Clone(n.candidates), func(c candidate) bool { return c.entry == e })
		return n
	}
	child := n.next(prefix)
	if child == nil {
		return n
	}
	children := ed.ownChildren(n)
	before := child
	child = ed.removeBelow(child, prefix[len(child.text):], e)
	switch {
	case len(child.candidates) > 0 || child.children != nil && child.children.count > 1:
		children.set(ed.now, child)
	case child.children != nil:
		children.set(ed.now, ed.join(child))
	default:
		children.delete(ed.now, before)
	}
	if children.count == 0 {
		n.children = nil
	}
	return n
}

// join makes one node of n, which has nothing of its own, and its only child.
func (ed *editor) join(n *node) *node {
	for child := range n.children.all {
		return ed.renamed(child, n.text+child.text)
	}
	return n
}

// finish ends a generation: its nodes change no more.
func (ed *editor) finish() {
	for n := range ed.unsorted {
		slices.SortStableFunc(n.candidates, func(a, b candidate) int { return a.entry.compare(b.entry) })
	}
	clear(ed.unsorted)
	ed.now++
}

// next gives the child on the way of path, or nil.
func (n *node) next(path string) *node {
	if n.children == nil {
		return nil
	}
	return n.children.next(path)
}

// all walks every candidate in no particular order.
func (n *node) all(yield func(*candidate) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.candidates {
		if !yield(&n.candidates[i]) {
			return false
		}
	}
	if n.children == nil {
		return true
	}
	for child := range n.children.all {
		if !child.all(yield) {
			return false
		}
	}
	return true
}

func commonLength(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

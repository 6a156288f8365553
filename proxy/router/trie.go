package router

import (
	"slices"
	"strings"
)

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

// node is a node of a compressed trie over path prefixes. An edge is a key of
// width bytes and then the child's label. The width is at most the distance to
// the nearest prefix further down, and just that where prefixes have only been
// added; so a level is one look-up however many routes there are:
// "/service-0001" to "/service-5000" are one level.
//
// A node without candidates has two children at least, unless it is the root,
// which has no label.
type node struct {
	label      string
	width      int // meaningless without children
	children   table
	candidates []candidate // in order of priority
	owner      generation  // may change the node in place
	listOwner  generation  // may change candidates in place
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
	return &own
}

// insert gives the trie n with a candidate under a prefix; n may be nil.
func (ed *editor) insert(n *node, prefix string, c candidate) *node {
	if n == nil {
		n = &node{owner: ed.now}
	}
	n = ed.own(n)
	if prefix == "" {
		ed.addCandidate(n, c)
		return n
	}
	if n.children.count == 0 {
		n.width = len(prefix)
	}
	if len(prefix) < n.width {
		ed.narrow(n, len(prefix))
	}
	key, rest := prefix[:n.width], prefix[n.width:]
	child := n.children.get(key)
	if child == nil {
		child = ed.insert(&node{label: rest, owner: ed.now}, "", c)
	} else {
		same := commonLength(child.label, rest)
		if same < len(child.label) {
			child = ed.split(child, same, len(rest)-same)
		}
		child = ed.insert(child, rest[same:], c)
	}
	n.children.set(ed.now, key, child)
	return n
}

// split puts a node between child and its parent where its label has size bytes
// left over, for a sibling that has other bytes there, or none.
func (ed *editor) split(child *node, at, other int) *node {
	width := len(child.label) - at
	if other > 0 {
		width = min(width, other)
	}
	mid := &node{label: child.label[:at], width: width, owner: ed.now}
	key := child.label[at : at+width]
	child = ed.own(child)
	child.label = child.label[at+width:]
	mid.children.set(ed.now, key, child)
	return mid
}

// narrow makes room for a prefix that is shorter than n's width: children that
// have the first bytes of their keys in common move to a node of their own.
func (ed *editor) narrow(n *node, width int) {
	groups := make(map[string][]edge)
	for e := range n.children.all {
		groups[e.key[:width]] = append(groups[e.key[:width]], e)
	}
	old := n.width
	n.width, n.children = width, table{}
	for key, edges := range groups {
		first := edges[0]
		if len(edges) == 1 {
			only := ed.own(first.node)
			only.label = first.key[width:] + only.label
			n.children.set(ed.now, key, only)
			continue
		}
		end := old
		for _, e := range edges[1:] {
			end = min(end, width+commonLength(first.key[width:], e.key[width:]))
		}
		mid := &node{label: first.key[width:end], width: old - end, owner: ed.now}
		for _, e := range edges {
			mid.children.set(ed.now, e.key[end:], e.node)
		}
		n.children.set(ed.now, key, mid)
	}
}

// remove gives the trie n without an entry's candidates under a prefix, or nil
// if nothing is left.
func (ed *editor) remove(n *node, prefix string, e *entry) *node {
	n = ed.removeBelow(n, prefix, e)
	if n.children.count == 0 && len(n.candidates) == 0 {
		return nil
	}
	return n
}

func (ed *editor) removeBelow(n *node, prefix string, e *entry) *node {
	n = ed.own(n)
	if prefix == "" {
		ed.removeCandidates(n, e)
		return n
	}
	child, rest := n.next(prefix)
	if child == nil {
		return n
	}
	key := prefix[:n.width]
	child = ed.removeBelow(child, rest, e)
	switch {
	case len(child.candidates) > 0 || child.children.count > 1:
		n.children.set(ed.now, key, child)
	case child.children.count == 1:
		n.children.set(ed.now, key, ed.join(child))
	default:
		n.children.delete(ed.now, key)
	}
	return n
}

// join makes one node of n, which has nothing of its own, and its only child.
func (ed *editor) join(n *node) *node {
	for e := range n.children.all {
		only := ed.own(e.node)
		only.label = n.label + e.key + only.label
		return only
	}
	return n
}

// addCandidate leaves the sorting to sort: many may come for one node.
func (ed *editor) addCandidate(n *node, c candidate) {
	if n.listOwner != ed.now {
		n.candidates = slices.Clip(n.candidates) // so that append copies
		n.listOwner = ed.now
	}
	n.candidates = append(n.candidates, c)
	if len(n.candidates) > 1 {
		ed.unsorted[n] = true
	}
}

func (ed *editor) removeCandidates(n *node, e *entry) {
	if n.listOwner != ed.now {
		n.candidates = slices.Clone(n.candidates)
		n.listOwner = ed.now
	}
	n.candidates = slices.DeleteFunc(n.candidates, func(c candidate) bool { return c.entry == e })
}

// finish ends a generation: its nodes change no more.
func (ed *editor) finish() {
	for n := range ed.unsorted {
		slices.SortStableFunc(n.candidates, func(a, b candidate) int { return a.entry.compare(b.entry) })
	}
	clear(ed.unsorted)
	ed.now++
}

// next gives the child on the way of path and what of path is left then, or
// nil.
func (n *node) next(path string) (child *node, rest string) {
	if n.children.count == 0 || n.width > len(path) {
		return nil, ""
	}
	child = n.children.get(path[:n.width])
	if child == nil || !strings.HasPrefix(path[n.width:], child.label) {
		return nil, ""
	}
	return child, path[n.width+len(child.label):]
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
	for e := range n.children.all {
		if !e.node.all(yield) {
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

package router

import (
	"cmp"
	"slices"
	"strings"
)

// candidate is an entry filed under one of its hosts and one of its paths. What
// is left to check is the port, methods, snis, headers and the regular
// expression.
type candidate struct {
	rank  int  // position in Router.entries
	port  int  // 0 for any
	plain bool // entry and path need no look: nothing is left but the port
	entry *entry
	path  *pathPattern // nil if the entry has no paths
}

// node is a node of a compressed trie over path prefixes. An edge is a key of
// width bytes and then the child's label. The width is the distance to the
// nearest prefix further down, so that a level is one hash look-up however many
// routes there are: "/service-0001" to "/service-5000" are one level.
type node struct {
	label      string
	width      int // 0 without children
	children   map[string]*node
	candidates []candidate // in order of priority
	up         *node       // nearest node towards the root that has candidates
}

// collector gathers candidates by prefix until the tree can be built.
type collector map[string][]candidate

func (c collector) add(prefix string, cand candidate) {
	c[prefix] = append(c[prefix], cand)
}

// buildIndex files r.entries, which have to be sorted already, so that every
// list of candidates comes out sorted too.
func (r *Router) buildIndex() {
	anyHost := make(collector)
	named := map[wildcard]map[string]collector{wildcardNone: {}, wildcardLeft: {}, wildcardRight: {}}
	for rank := range r.entries {
		e := &r.entries[rank]
		if len(e.hosts) == 0 {
			e.file(anyHost, candidate{rank: rank, entry: e})
		}
		for _, host := range e.hosts {
			byHost := named[host.wildcard]
			if byHost[host.text] == nil {
				byHost[host.text] = make(collector)
			}
			e.file(byHost[host.text], candidate{rank: rank, port: host.port, entry: e})
		}
	}
	r.anyHost = newTrie(anyHost)
	r.exact = newTries(named[wildcardNone])
	r.suffix = newTries(named[wildcardLeft])
	r.prefix = newTries(named[wildcardRight])
}

// file adds cand under every path of e. An entry without paths matches all of
// them, which is the empty prefix.
func (e *entry) file(c collector, cand candidate) {
	cand.plain = len(e.methods)+len(e.snis)+len(e.headers) == 0 && !e.priority.regex
	if len(e.paths) == 0 {
		c.add("", cand)
	}
	for i := range e.paths {
		cand.path = &e.paths[i]
		c.add(cand.path.literal, cand)
	}
}

func newTries(byHost map[string]collector) map[string]*node {
	tries := make(map[string]*node, len(byHost))
	for host, c := range byHost {
		tries[host] = newTrie(c)
	}
	return tries
}

func newTrie(c collector) *node {
	prefixes := make([]string, 0, len(c))
	for prefix := range c {
		prefixes = append(prefixes, prefix)
	}
	slices.Sort(prefixes)
	return newNode(c, prefixes, 0, "", nil)
}

// newNode builds the node for the given sorted prefixes, of which the first at
// bytes, ending in label, are the same.
func newNode(c collector, prefixes []string, at int, label string, up *node) *node {
	n := &node{label: label, up: up}
	if len(prefixes) > 0 && len(prefixes[0]) == at {
		n.candidates = slices.Clip(c[prefixes[0]])
		prefixes = prefixes[1:]
		up = n
	}
	if len(prefixes) == 0 {
		return n
	}
	n.width = len(slices.MinFunc(prefixes, compareLength)) - at
	n.children = make(map[string]*node)
	for len(prefixes) > 0 {
		first, end := prefixes[0], at+n.width
		size := 1
		for size < len(prefixes) && prefixes[size][at:end] == first[at:end] {
			size++
		}
		labelEnd := end + commonLength(first[end:], prefixes[size-1][end:])
		n.children[first[at:end]] = newNode(c, prefixes[:size], labelEnd, first[end:labelEnd], up)
		prefixes = prefixes[size:]
	}
	return n
}

func compareLength(a, b string) int { return cmp.Compare(len(a), len(b)) }

func commonLength(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// find starts at the root and returns the node with candidates that is farthest
// down on the way of path, or nil. The others on the way follow by node.up.
func (n *node) find(path string) *node {
	for n.width > 0 && n.width <= len(path) {
		child := n.children[path[:n.width]]
		if child == nil || !strings.HasPrefix(path[n.width:], child.label) {
			break
		}
		path = path[n.width+len(child.label):]
		n = child
	}
	if len(n.candidates) == 0 {
		return n.up
	}
	return n
}

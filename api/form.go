package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxKeyDepth bounds the parts of an argument's name.
const maxKeyDepth = 32

// step is one part of an argument's name.
type step struct {
	kind  stepKind
	name  string // of stepName
	index int    // of stepIndex
}

type stepKind uint8

const (
	stepName   stepKind = iota // .name, or [name]: an entry of an object
	stepIndex                  // [2]: a place in a list, counted from 1
	stepAppend                 // []: the next place in a list
)

// splitKey splits an argument's name: a.b, a[], a[2], a[key], and any mix of them. What is not of that
// form is one name as it stands; no field is called so, and the schema says it. A name that is too deep is
// split one step beyond the bound and no further.
func splitKey(key string) []step {
	whole := []step{{name: key}}
	name, rest := cutName(key)
	if name == "" {
		return whole
	}
	steps := []step{{name: name}}
	for rest != "" && len(steps) <= maxKeyDepth {
		var next step
		switch rest[0] {
		case '.':
			next.name, rest = cutName(rest[1:])
			if next.name == "" {
				return whole
			}
		case '[':
			inner, after, closed := strings.Cut(rest[1:], "]")
			if !closed {
				return whole
			}
			next, rest = bracket(inner), after
		default:
			return whole
		}
		steps = append(steps, next)
	}
	return steps
}

// cutName cuts a name off at the next separator.
func cutName(s string) (name, rest string) {
	if i := strings.IndexAny(s, ".["); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func bracket(inner string) step {
	if inner == "" {
		return step{kind: stepAppend}
	}
	digits := strings.Trim(inner, "0123456789") == ""
	if n, err := strconv.Atoi(inner); digits && err == nil {
		return step{kind: stepIndex, index: n}
	}
	return step{name: inner}
}

// formNode collects what the arguments say about one place of the tree.
type formNode struct {
	leaf  bool
	value any // of a leaf

	named   map[string]*formNode
	indexed map[int]*formNode
	items   []*formNode // repeats of the same name, and []
	list    bool        // one item may be a list, too
}

// formTree builds the tree that form arguments stand for, out of strings, true, []any and map[string]any.
func formTree(args []argument) (map[string]any, error) {
	root := &formNode{named: make(map[string]*formNode)}
	for _, arg := range args {
		steps := splitKey(arg.name)
		if len(steps) > maxKeyDepth {
			return nil, errDeepArgument
		}
		root.put(steps, arg.value)
	}
	tree := make(map[string]any, len(root.named))
	for name, child := range root.named {
		value, ok := child.tree()
		if !ok {
			return nil, badRequest("argument '%s' is both a value and an object", name)
		}
		tree[name] = value
	}
	return tree, nil
}

// put adds a value below a node.
func (n *formNode) put(steps []step, value any) {
	if len(steps) == 0 {
		n.items = append(n.items, &formNode{leaf: true, value: value})
		return
	}
	switch next := steps[0]; next.kind {
	case stepAppend:
		n.list = true
		child := new(formNode)
		child.put(steps[1:], value)
		n.items = append(n.items, child)
	case stepIndex:
		if n.indexed == nil {
			n.indexed = make(map[int]*formNode)
		}
		if n.indexed[next.index] == nil {
			n.indexed[next.index] = new(formNode)
		}
		n.indexed[next.index].put(steps[1:], value)
	default:
		if n.named == nil {
			n.named = make(map[string]*formNode)
		}
		if n.named[next.name] == nil {
			n.named[next.name] = new(formNode)
		}
		n.named[next.name].put(steps[1:], value)
	}
}

// tree gives the value of a node, or false if the arguments contradict each other.
func (n *formNode) tree() (any, bool) {
	switch {
	case n.leaf:
		return n.value, true
	case n.named == nil && n.indexed == nil && !n.list && len(n.items) == 1:
		return n.items[0].tree()
	case n.named == nil:
		return n.elements()
	case n.indexed != nil || n.items != nil:
		return nil, false
	}
	fields := make(map[string]any, len(n.named))
	for name, child := range n.named {
		value, ok := child.tree()
		if !ok {
			return nil, false
		}
		fields[name] = value
	}
	return fields, true
}

// elements gives a list: numbered elements in their order, then the others. Missing numbers leave no hole.
func (n *formNode) elements() (any, bool) {
	nodes := make([]*formNode, 0, len(n.indexed)+len(n.items))
	for _, index := range slices.Sorted(maps.Keys(n.indexed)) {
		nodes = append(nodes, n.indexed[index])
	}
	nodes = append(nodes, n.items...)
	list := make([]any, len(nodes))
	for i, node := range nodes {
		value, ok := node.tree()
		if !ok {
			return nil, false
		}
		list[i] = value
	}
	return list, true
}

package router

import (
	"maps"
	"slices"
)

// Builder keeps compiled routes and makes a Router of them whenever it is
// asked to. A Router shares with earlier ones what did not change between, so
// that a change of one route costs little however many there are. One goroutine
// at a time may use a Builder; its Routers are safe for concurrent use.
type Builder struct {
	editor      editor
	index       Router // of all that was set; nobody else has seen this generation
	routes      map[string][]*entry
	problems    map[string]error
	withHeaders int // how many entries match on headers
}

// NewBuilder makes a Builder without routes.
func NewBuilder() *Builder {
	return &Builder{editor: editor{now: 1, unsorted: map[*node]bool{}},
		routes: map[string][]*entry{}, problems: map[string]error{}}
}

// Set adds a route, or replaces the one with its ID. A route that cannot be
// compiled is left out, so that there is none with this ID then, and the error,
// which wraps one of this package's, is kept for Problems. The Builder shares
// what the route refers to, which must not be changed afterwards.
func (b *Builder) Set(route Route) error {
	b.Remove(route.ID)
	entries, err := b.add(&route)
	if err != nil {
		b.problems[route.ID] = err
		return err
	}
	b.routes[route.ID] = entries
	return nil
}

// Remove forgets a route, and a Problem with it. An unknown id changes nothing.
func (b *Builder) Remove(id string) {
	delete(b.problems, id)
	for _, e := range b.routes[id] {
		b.unfile(e)
	}
	delete(b.routes, id)
}

// Problems lists the routes that were left out, in order of their IDs.
func (b *Builder) Problems() []Problem {
	problems := make([]Problem, 0, len(b.problems))
	for _, id := range slices.Sorted(maps.Keys(b.problems)) {
		problems = append(problems, Problem{RouteID: id, Err: b.problems[id]})
	}
	return problems
}

// Build gives the Router of all routes that are set.
func (b *Builder) Build() *Router {
	b.editor.finish()
	r := b.index
	r.needsHeader = b.withHeaders > 0
	return &r
}

// add compiles a route and files it, whatever else has its ID.
func (b *Builder) add(route *Route) ([]*entry, error) {
	entries, err := compileRoute(route)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b.file(e)
	}
	return entries, nil
}

func (b *Builder) file(e *entry) {
	if len(e.headers) > 0 {
		b.withHeaders++
	}
	c := candidate{
		weight: e.priority.weight(), entry: e,
		plain: len(e.methods)+len(e.snis)+len(e.headers) == 0 && !e.priority.regex,
	}
	if len(e.hosts) == 0 {
		b.index.anyHost = b.fileUnder(b.index.anyHost, "", c)
	}
	for i := range e.hosts {
		host := &e.hosts[i]
		c.port = host.port
		hosts := b.hosts(host.wildcard)
		hosts.set(b.editor.now, b.fileUnder(hosts.get(host.text), host.text, c))
	}
}

// fileUnder files c under every path of its entry. An entry without paths
// matches all of them, which is the empty prefix. root may be nil.
func (b *Builder) fileUnder(root *node, host string, c candidate) *node {
	if root == nil {
		root = &node{text: host, owner: b.editor.now}
	}
	if len(c.entry.paths) == 0 {
		return b.editor.insert(root, "", c)
	}
	for i := range c.entry.paths {
		c.path = &c.entry.paths[i]
		root = b.editor.insert(root, c.path.literal, c)
	}
	return root
}

// unfile takes back what file did.
func (b *Builder) unfile(e *entry) {
	if len(e.headers) > 0 {
		b.withHeaders--
	}
	if len(e.hosts) == 0 {
		b.index.anyHost = b.unfileUnder(b.index.anyHost, e)
	}
	for i := range e.hosts {
		host := &e.hosts[i]
		hosts := b.hosts(host.wildcard)
		before := hosts.get(host.text)
		if root := b.unfileUnder(before, e); root != nil {
			hosts.set(b.editor.now, root)
		} else if before != nil {
			hosts.delete(b.editor.now, before)
		}
	}
}

// unfileUnder gives nil if nothing is left. Hosts and prefixes that occur twice
// find the second time that there is nothing to do.
func (b *Builder) unfileUnder(root *node, e *entry) *node {
	if len(e.paths) == 0 && root != nil {
		return b.editor.remove(root, "", e)
	}
	for i := range e.paths {
		if root == nil {
			return nil
		}
		root = b.editor.remove(root, e.paths[i].literal, e)
	}
	return root
}

func (b *Builder) hosts(w wildcard) *table {
	switch w {
	case wildcardLeft:
		return &b.index.suffix
	case wildcardRight:
		return &b.index.prefix
	default:
		return &b.index.exact
	}
}

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// handler answers a request whose path and method are known.
type handler func(q *request) (*reply, error)

// change says what a request writes, and what status it is answered with: a part of a transaction does the
// same as a request of its own.
type change func(q *request) (status int, p planner)

// endpoint is a path and what its methods do.
type endpoint struct {
	pattern string // as GET /endpoints shows it: /services/{services}/routes
	methods map[string]handler
	changes map[string]change // of those methods that may be part of a transaction
	read    bodyReader        // nil: the one of all others
	// coll is what kind of entity the endpoint is about, through the one that its path leads through; nil for none.
	coll, through *collection
}

// bodyReader reads and decodes the body of a request.
type bodyReader func(w http.ResponseWriter, r *http.Request) (requestBody, error)

// router finds endpoints by path. Filled once, then only read; safe for concurrent use.
type router struct {
	root      branch
	endpoints []*endpoint
}

// branch is a node of the tree of path segments.
type branch struct {
	fixed map[string]*branch
	param *branch // takes any segment
	end   *endpoint
}

func newRouter() *router { return &router{} }

// handle adds a method to a path; segments in braces take any value. HEAD comes with GET.
func (rt *router) handle(method, pattern string, h handler) {
	e := rt.at(pattern)
	e.methods[method] = h
	if method == http.MethodGet {
		e.methods[http.MethodHead] = h
	}
}

// about says of which kind of entity a path is, and which kind it leads through.
func (rt *router) about(pattern string, coll, through *collection) {
	e := rt.at(pattern)
	e.coll, e.through = coll, through
}

// at gives the endpoint of a pattern, a new one if there is none.
func (rt *router) at(pattern string) *endpoint {
	b := &rt.root
	if pattern != "/" {
		for segment := range strings.SplitSeq(pattern[1:], "/") {
			b = b.next(segment)
		}
	}
	if b.end == nil {
		b.end = &endpoint{pattern: pattern, methods: make(map[string]handler)}
		rt.endpoints = append(rt.endpoints, b.end)
	}
	return b.end
}

// write adds a method that changes entities.
func (rt *router) write(method, pattern string, c change) {
	rt.handle(method, pattern, func(q *request) (*reply, error) {
		status, p := c(q)
		return q.a.commit(q, status, p)
	})
	e, _ := rt.find(pattern)
	if e.changes == nil {
		e.changes = make(map[string]change)
	}
	e.changes[method] = c
}

func (b *branch) next(segment string) *branch {
	if strings.HasPrefix(segment, "{") {
		if b.param == nil {
			b.param = new(branch)
		}
		return b.param
	}
	if b.fixed == nil {
		b.fixed = make(map[string]*branch)
	}
	if b.fixed[segment] == nil {
		b.fixed[segment] = new(branch)
	}
	return b.fixed[segment]
}

// find gives the endpoint of an escaped path and the values of its parameters, or nil. A trailing slash is
// no difference. A segment is unescaped on its own, so an escaped slash stays part of a name.
func (rt *router) find(escaped string) (*endpoint, []string) {
	path, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return nil, nil
	}
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return rt.root.end, nil
	}
	segments := strings.Split(path, "/")
	if len(segments) > maxSegments {
		return nil, nil
	}
	for i, segment := range segments {
		value, err := url.PathUnescape(segment)
		if err != nil || value == "" {
			return nil, nil
		}
		segments[i] = value
	}
	return rt.root.find(segments, nil)
}

// maxSegments is more than any endpoint has; longer paths are not split further.
const maxSegments = 8

// find prefers a fixed segment and falls back to a parameter, so that a plugin may be called "enabled".
func (b *branch) find(segments, params []string) (*endpoint, []string) {
	if len(segments) == 0 {
		return b.end, params
	}
	if next := b.fixed[segments[0]]; next != nil {
		if end, found := next.find(segments[1:], params); end != nil {
			return end, found
		}
	}
	if b.param == nil {
		return nil, nil
	}
	return b.param.find(segments[1:], append(params, segments[0]))
}

// allow lists the endpoint's methods for the Allow header.
func (e *endpoint) allow() string {
	methods := []string{http.MethodOptions}
	for method := range e.methods {
		methods = append(methods, method)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// patterns lists every path, sorted segment by segment.
func (rt *router) patterns() []string {
	list := make([]string, len(rt.endpoints))
	for i, e := range rt.endpoints {
		list[i] = e.pattern
	}
	slices.SortFunc(list, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	return list
}

package router

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// builtWorld is a Builder under test, what it ought to hold, and what it gave.
type builtWorld struct {
	builder *Builder
	want    map[string]Route
	broken  map[string]bool
	built   []built
}

// built is a Router and what it answered when it was new.
type built struct {
	router   *Router
	requests []*Request
	answers  []string
}

func newBuiltWorld() *builtWorld {
	return &builtWorld{builder: NewBuilder(), want: map[string]Route{}, broken: map[string]bool{}}
}

func (w *builtWorld) set(t rapid.TB, route Route) {
	delete(w.want, route.ID)
	delete(w.broken, route.ID)
	if err := w.builder.Set(route); err == nil {
		w.want[route.ID] = route
	} else if _, problems := New([]Route{route}); len(problems) != 1 || problems[0].Err.Error() != err.Error() {
		t.Fatalf("Set(%+v) says %v, New says %v", route, err, problems)
	} else {
		w.broken[route.ID] = true
	}
}

func (w *builtWorld) remove(id string) {
	delete(w.want, id)
	delete(w.broken, id)
	w.builder.Remove(id)
}

func (w *builtWorld) routes() []Route {
	var routes []Route
	for _, id := range slices.Sorted(maps.Keys(w.want)) {
		routes = append(routes, w.want[id])
	}
	return routes
}

// build compares the new Router with one of New, and remembers it.
func (w *builtWorld) build(t rapid.TB, requests []*Request) *Router {
	r := w.builder.Build()
	fresh, problems := New(w.routes())
	if len(problems) > 0 || r.NeedsHeader() != fresh.NeedsHeader() {
		t.Fatalf("problems %v; NeedsHeader gives %v", problems, r.NeedsHeader())
	}
	b := built{router: r, requests: requests}
	for _, req := range requests {
		got, want := answer(r, req), answer(fresh, req)
		if got != want {
			t.Fatalf("%+v: got %s, from New %s", req, got, want)
		}
		b.answers = append(b.answers, got)
	}
	for _, root := range r.roots() {
		checkTrie(t, root, true)
	}
	w.built = append(w.built, b)
	var ids []string
	for _, p := range w.builder.Problems() {
		ids = append(ids, p.RouteID)
	}
	if want := slices.Sorted(maps.Keys(w.broken)); !slices.Equal(ids, want) {
		t.Fatalf("problems of %q, want %q", ids, want)
	}
	return r
}

// checkOld asks the Routers of earlier builds again.
func (w *builtWorld) checkOld(t rapid.TB) {
	for i, b := range w.built {
		for j, req := range b.requests {
			if got := answer(b.router, req); got != b.answers[j] {
				t.Fatalf("build %d, %+v: got %s, at first %s", i, req, got, b.answers[j])
			}
		}
	}
}

// answer is all that a Router says about a request.
func answer(r *Router, req *Request) string {
	m, ok := r.Match(req)
	var b strings.Builder
	if ok {
		fmt.Fprintf(&b, "%s by %q, prefix %q, %v;", m.Route.ID, m.Path, m.Prefix, m.Captures())
	}
	for _, reason := range r.Explain(req) {
		fmt.Fprintf(&b, " %s %q %s %s;", reason.Route.ID, reason.Paths, reason.Outcome, reason.Field)
	}
	return b.String()
}

func (r *Router) roots() []*node {
	var roots []*node
	if r.anyHost != nil {
		roots = append(roots, r.anyHost)
	}
	for _, hosts := range []*table{&r.exact, &r.suffix, &r.prefix} {
		n := 0
		for root := range hosts.all {
			roots = append(roots, root)
			n++
		}
		if n != hosts.count {
			panic("a table does not know how many it holds")
		}
	}
	return roots
}

// checkTrie: a trie that has lost much is as small as one that never had it.
func checkTrie(t rapid.TB, n *node, root bool) {
	if len(n.candidates) == 0 && (n.children == nil || n.children.count < 2 && !root) {
		t.Fatalf("node %q has nothing of its own", n.text)
	}
	if n.children == nil {
		return
	}
	for child := range n.children.all {
		if n.children.width == 0 || n.children.get(n.children.key(child)) != child {
			t.Fatalf("node %q is not found with width %d", child.text, n.children.width)
		}
		checkTrie(t, child, false)
	}
}

// drawPath draws from few letters, so that paths are prefixes of each other.
var drawPath = rapid.OneOf(rapid.SampledFrom(somePaths), rapid.StringMatching(`/[ab]{0,6}`), rapid.StringMatching(`/(aa|b/){0,5}[ab]?`))

func drawDeepRoute(t *rapid.T, id string) Route {
	route := drawRoute(t, id)
	if rapid.Bool().Draw(t, "deep") {
		route.Paths = rapid.SliceOfNDistinct(drawPath, 1, 4, rapid.ID).Draw(t, "deep paths")
	}
	switch rapid.IntRange(0, 9).Draw(t, "fault") {
	case 0:
		route.Paths = []string{"/fine", "no slash"}
	case 1:
		route = Route{ID: id}
	}
	return route
}

// TestBuilderAgreesWithNew: after any changes a Builder's Router answers like
// one that was made at once, and like the model, and no earlier one notices.
func TestBuilderAgreesWithNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newBuiltWorld()
		for range rapid.IntRange(1, 8).Draw(t, "builds") {
			for range rapid.IntRange(0, 12).Draw(t, "changes") {
				id := fmt.Sprintf("%02d", rapid.IntRange(0, 15).Draw(t, "id"))
				if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
					w.remove(id)
				} else {
					w.set(t, drawDeepRoute(t, id))
				}
			}
			requests := make([]*Request, 5)
			for i := range requests {
				requests[i] = drawRequest(t)
				requests[i].Path = rapid.OneOf(rapid.Just(requests[i].Path), rapid.StringMatching(`/[ab]{0,7}`),
					rapid.StringMatching(`/(aa|b/){0,6}`)).Draw(t, "path")
			}
			r := w.build(t, requests)
			model := newModel(w.routes())
			for _, req := range requests {
				checkAgainstModel(t, r, model, req)
			}
		}
		w.checkOld(t)
	})
}

// TestBuilderNarrows: a prefix that all children of a node without routes of its own
// have in common makes one node of both.
func TestBuilderNarrows(t *testing.T) {
	w := newBuiltWorld()
	w.set(t, Route{ID: "root", Paths: []string{"/"}})
	w.set(t, Route{ID: "b", Paths: []string{"/a/b"}})
	w.set(t, Route{ID: "c", Paths: []string{"/a-c"}})
	w.remove("root")
	w.set(t, Route{ID: "a", Paths: []string{"/a"}})
	w.build(t, []*Request{{Path: "/"}, {Path: "/a"}, {Path: "/a/bc"}, {Path: "/a-c"}, {Path: "/ab"}})
}

// TestBuilderWithManyRoutes: tables grow and shrink, and the Routers of every
// size stay what they were.
func TestBuilderWithManyRoutes(t *testing.T) {
	w := newBuiltWorld()
	const n = 300
	path := func(i int) string { return fmt.Sprintf("/service-%04d", i) }
	host := func(i int) string { return fmt.Sprintf("h%d.example.com", i) }
	requests := []*Request{{Path: "/none"}, {Path: "/root", Host: "nobody"}}
	for i := range n {
		requests = append(requests, &Request{Path: path(i) + "/x", Host: host(i / 2)})
	}
	w.set(t, Route{ID: "root", Paths: []string{"/root"}})
	for i := range n {
		w.set(t, Route{ID: "p" + path(i), Paths: []string{path(i)}})
		w.set(t, Route{ID: "h" + path(i), Paths: []string{path(i)}, Hosts: []string{host(i / 4)}, Methods: []string{"GET"}})
		if i%50 == 0 {
			w.builder.Build()
		}
	}
	w.build(t, requests)
	for i := range n {
		w.remove("p" + path(i*7%n))
		w.remove("h" + path(i*11%n))
		if i%100 == 99 {
			w.build(t, requests)
		}
	}
	w.checkOld(t)
	last := w.built[len(w.built)-1].router
	if size := len(last.exact.segments) + len(last.anyHost.children.segments); size > 2 {
		t.Errorf("%d segments for a single route", size)
	}
}

func TestBuilderKeepsProblems(t *testing.T) {
	b := NewBuilder()
	if err := b.Set(Route{ID: "a", Paths: []string{"/a"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(Route{ID: "a", Paths: []string{"~("}}); !errors.Is(err, ErrRegex) {
		t.Fatalf("got %v", err)
	}
	if got := matchID(b.Build(), &Request{Path: "/a"}); got != "" {
		t.Errorf("the broken route's earlier self wins: %q", got)
	}
	if err := b.Set(Route{ID: "b"}); !errors.Is(err, ErrNoField) {
		t.Fatalf("got %v", err)
	}
	if p := b.Problems(); len(p) != 2 || p[0].RouteID != "a" || !errors.Is(p[1].Err, ErrNoField) {
		t.Errorf("problems %v", p)
	}
	b.Remove("b")
	b.Remove("unknown")
	if err := b.Set(Route{ID: "a", Paths: []string{"/b"}}); err != nil {
		t.Fatal(err)
	}
	if p := b.Problems(); len(p) != 0 {
		t.Errorf("problems %v", p)
	}
	if got := matchID(b.Build(), &Request{Path: "/b"}); got != "a" {
		t.Errorf("got %q", got)
	}
}

// TestBuilderBesideTraffic changes routes while requests are matched.
func TestBuilderBesideTraffic(t *testing.T) {
	b := NewBuilder()
	set := func(id string, route Route) {
		route.ID = id
		if err := b.Set(route); err != nil {
			t.Error(err)
		}
	}
	for i := range 50 {
		set(fmt.Sprint(i), Route{Hosts: []string{"*.org"}, Paths: []string{fmt.Sprintf("/always/%d", i)}})
	}
	routers := make(chan *Router, 1)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for r := range routers {
				for i := range 50 {
					if got := matchID(r, &Request{Host: "a.org", Path: fmt.Sprintf("/always/%d", i)}); got != fmt.Sprint(i) {
						t.Errorf("/always/%d goes to %q", i, got)
					}
				}
			}
		})
	}
	for i := range 300 {
		routers <- b.Build()
		set("changing", Route{Hosts: []string{"*.org"}, Paths: []string{fmt.Sprintf("/always/%d", i%50)}, CreatedAt: 1})
		set("shorter", Route{Hosts: []string{"*.org"}, Paths: []string{"/always/"[:1+i%8]}})
		if i%3 == 0 {
			b.Remove("shorter")
		}
	}
	close(routers)
	readers.Wait()
}

// FuzzBuilder reads changes from bytes: an id, a path of few letters or none,
// and whether to build.
func FuzzBuilder(f *testing.F) {
	f.Add([]byte("\x00/ab\x01/a\x02/abc\x03/\xff\x00\x01/b\xff"))
	f.Add([]byte("\x00/aaaa\x01/aabb\x02/aab\xff\x02\xff\x00\x01"))
	f.Add([]byte("\x10~/a(b)\x11/a\x12~\xff\x10"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 512 {
			return // longer ones find nothing new, slowly
		}
		w := newBuiltWorld()
		requests := []*Request{{Host: "a.org"}, {Path: "/", Host: "b.org"}}
		build := func() {
			if len(w.built) < 8 { // or a long script takes too long
				w.build(t, slices.Clone(requests))
			}
		}
		for len(script) > 0 {
			first := script[0]
			end := 1
			for end < len(script) && script[end] >= ' ' && script[end] < 0x7f {
				end++
			}
			path := string(script[1:end])
			script = script[end:]
			id := fmt.Sprint(first % 32)
			switch {
			case first == 0xff:
				build()
			case path == "":
				w.remove(id)
			default:
				route := Route{ID: id, Paths: strings.Fields(path)}
				if first&0x20 != 0 {
					route.Hosts = []string{"a.org", "*.org"}
				}
				w.set(t, route)
				requests = append(requests[max(0, len(requests)-20):], &Request{Path: Normalize("/" + strings.TrimLeft(path, "~/")), Host: "a.org"})
			}
		}
		build()
		w.checkOld(t)
	})
}

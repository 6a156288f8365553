package router

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// header is a HeaderSource over lines, as a request's header is read.
type header []struct{ name, value string }

func (h header) Next(name string, from int) (string, int, bool) {
	for i := from; i < len(h); i++ {
		if strings.EqualFold(h[i].name, name) {
			return h[i].value, i + 1, true
		}
	}
	return "", len(h), false
}

func mustNew(t testing.TB, routes ...Route) *Router {
	t.Helper()
	r, problems := New(routes)
	if len(problems) > 0 {
		t.Fatalf("New reports %v", problems)
	}
	return r
}

// matchID returns the id of the route that wins, or "".
func matchID(r *Router, req *Request) string {
	if m, ok := r.Match(req); ok {
		return m.Route.ID
	}
	return ""
}

type want struct {
	req Request
	id  string
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name   string
		routes []Route
		wants  []want
	}{{
		name: "a path is a prefix of bytes, not of segments",
		routes: []Route{
			{ID: "foo", Paths: []string{"/foo"}},
			{ID: "foo/", Paths: []string{"/foo/"}},
		},
		wants: []want{
			{Request{Path: "/foo"}, "foo"},
			{Request{Path: "/foobar"}, "foo"},
			{Request{Path: "/foo/bar"}, "foo/"},
			{Request{Path: "/fo"}, ""},
			{Request{Path: "/Foo"}, ""},
			{Request{Path: "/x/foo"}, ""},
		},
	}, {
		name: "the longest prefix wins",
		routes: []Route{
			{ID: "root", Paths: []string{"/"}},
			{ID: "a", Paths: []string{"/a"}},
			{ID: "abc", Paths: []string{"/a/b/c"}},
		},
		wants: []want{
			{Request{Path: "/"}, "root"},
			{Request{Path: "/b"}, "root"},
			{Request{Path: "/a/b"}, "a"},
			{Request{Path: "/a/b/c/d"}, "abc"},
		},
	}, {
		name: "paths of one route rank on their own",
		routes: []Route{
			{ID: "both", CreatedAt: 1, Paths: []string{"/", "/long/path"}},
			{ID: "middle", CreatedAt: 2, Paths: []string{"/long"}},
		},
		wants: []want{
			{Request{Path: "/x"}, "both"},
			{Request{Path: "/long/x"}, "middle"},
			{Request{Path: "/long/path/x"}, "both"},
		},
	}, {
		name: "a regular expression goes before any prefix and ranks by regex_priority",
		routes: []Route{
			{ID: "prefix", Paths: []string{"/users/1/profile"}, RegexPriority: 9},
			{ID: "low", Paths: []string{`~/users/\d+`}, RegexPriority: -1},
			{ID: "none", Paths: []string{`~/users/\d+/p`}},
			{ID: "high", Paths: []string{`~/users/\d+/profile$`}, RegexPriority: 1},
		},
		wants: []want{
			{Request{Path: "/users/1/profile"}, "high"},
			{Request{Path: "/users/1/profile/x"}, "none"},
			{Request{Path: "/users/1/x"}, "low"},
			{Request{Path: "/users/x"}, ""},
		},
	}, {
		name: "a regular expression is anchored at the start as a whole",
		routes: []Route{
			{ID: "or", Paths: []string{"~/a|/b"}},
		},
		wants: []want{
			{Request{Path: "/a/x"}, "or"},
			{Request{Path: "/b"}, "or"},
			{Request{Path: "/x/a"}, ""},
			{Request{Path: "/x/b"}, ""},
		},
	}, {
		name: "fields are added up, values are alternatives",
		routes: []Route{
			{ID: "path", Paths: []string{"/a", "/b"}},
			{ID: "method", Methods: []string{"GET", "PURGE"}, Paths: []string{"/a"}},
			{ID: "host", Hosts: []string{"x.org", "y.org"}, Methods: []string{"GET"}, Paths: []string{"/a"}},
		},
		wants: []want{
			{Request{Method: "GET", Host: "y.org", Path: "/a"}, "host"},
			{Request{Method: "PURGE", Host: "y.org", Path: "/a"}, "method"},
			{Request{Method: "get", Host: "y.org", Path: "/a"}, "path"},
			{Request{Method: "GET", Host: "z.org", Path: "/b"}, "path"},
			{Request{Method: "GET", Host: "x.org", Path: "/c"}, ""},
		},
	}, {
		name: "hosts ignore case and may have a wildcard at one end",
		routes: []Route{
			{ID: "plain", Hosts: []string{"Api.Example.com"}},
			{ID: "left", Hosts: []string{"*.example.com"}},
			{ID: "right", Hosts: []string{"example.*"}},
		},
		wants: []want{
			{Request{Host: "api.example.COM", Path: "/"}, "plain"},
			{Request{Host: "API.example.com:8000", Path: "/"}, "plain"},
			{Request{Host: "a.b.Example.com", Path: "/"}, "left"},
			{Request{Host: "example.org", Path: "/"}, "right"},
			{Request{Host: "example.co.uk:80", Path: "/"}, "right"},
			{Request{Host: "badexample.com", Path: "/"}, ""},
			{Request{Host: "example", Path: "/"}, ""},
			{Request{Host: "", Path: "/"}, ""},
		},
	}, {
		name: "one wildcard among the hosts costs the preference for plain hosts",
		routes: []Route{
			{ID: "mixed", CreatedAt: 1, Hosts: []string{"a.org", "*.b.org"}},
			{ID: "plain", CreatedAt: 2, Hosts: []string{"a.org"}},
		},
		wants: []want{{Request{Host: "a.org", Path: "/"}, "plain"}},
	}, {
		name: "a host with a port",
		routes: []Route{
			{ID: "any", CreatedAt: 1, Hosts: []string{"a.org"}},
			{ID: "port", CreatedAt: 2, Hosts: []string{"a.org:8443"}},
			{ID: "default", Hosts: []string{"b.org:80"}},
			{ID: "wild", Hosts: []string{"*.c.org:81"}},
		},
		wants: []want{
			{Request{Host: "a.org", Path: "/"}, "any"},
			{Request{Host: "a.org:8444", Path: "/"}, "any"},
			{Request{Host: "a.org:8443", Path: "/"}, "port"},
			{Request{Host: "a.org", Port: 8443, Path: "/"}, "port"},
			{Request{Host: "b.org", Path: "/"}, "default"},
			{Request{Host: "b.org:", Path: "/"}, "default"},
			{Request{Host: "b.org", TLS: true, Path: "/"}, ""},
			{Request{Host: "b.org", Port: 8000, Path: "/"}, ""},
			{Request{Host: "x.c.org:81", Path: "/"}, "wild"},
			{Request{Host: "x.c.org:82", Path: "/"}, ""},
		},
	}, {
		name: "IPv6 addresses with and without brackets",
		routes: []Route{
			{ID: "any", Hosts: []string{"::11", "[::12]"}},
			{ID: "port", Hosts: []string{"[::11]:321"}},
		},
		wants: []want{
			{Request{Host: "[::11]", Path: "/"}, "any"},
			{Request{Host: "::12", Path: "/"}, "any"},
			{Request{Host: "[::12]:654", Path: "/"}, "any"},
			{Request{Host: "[::11]:321", Path: "/"}, "port"},
		},
	}, {
		name: "headers",
		routes: []Route{
			{ID: "one", Headers: map[string][]string{"X-Version": {"v1", "V2"}}},
			{ID: "two", Headers: map[string][]string{"x-version": {"v1"}, "x-beta": {"yes"}}},
			{ID: "regex", Headers: map[string][]string{"X-Agent": {"~*go/[0-9]", "curl"}}},
		},
		wants: []want{
			{Request{Path: "/", Header: header{{"x-version", "v2"}}}, "one"},
			{Request{Path: "/", Header: header{{"x-version", "v0"}, {"X-VERSION", "V1"}}}, "one"},
			{Request{Path: "/", Header: header{{"x-version", "v1"}, {"x-beta", "YES"}}}, "two"},
			{Request{Path: "/", Header: header{{"x-version", "v2"}, {"x-beta", "yes"}}}, "one"},
			{Request{Path: "/", Header: header{{"x-agent", "my Go/1"}}}, "regex"},
			{Request{Path: "/", Header: header{{"x-agent", "cURL"}}}, "regex"},
			{Request{Path: "/", Header: header{{"x-agent", "curl/8"}}}, ""},
			{Request{Path: "/", Header: header{{"x-version", "v11"}}}, ""},
			{Request{Path: "/"}, ""},
		},
	}, {
		name: "more headers outweigh a longer path",
		routes: []Route{
			{ID: "path", Paths: []string{"/longer"}, Headers: map[string][]string{"a": {"1"}}},
			{ID: "headers", Paths: []string{"/"}, Headers: map[string][]string{"a": {"1"}, "b": {"2"}}},
		},
		wants: []want{
			{Request{Path: "/longer", Header: header{{"a", "1"}, {"b", "2"}}}, "headers"},
			{Request{Path: "/longer", Header: header{{"a", "1"}}}, "path"},
		},
	}, {
		name: "snis are asked of TLS requests only",
		routes: []Route{
			{ID: "plain", SNIs: []string{"A.org."}},
			{ID: "left", SNIs: []string{"*.b.org"}},
			{ID: "right", SNIs: []string{"c.*"}, Paths: []string{"/c"}},
		},
		wants: []want{
			{Request{TLS: true, SNI: "a.ORG", Path: "/"}, "plain"},
			{Request{TLS: true, SNI: "x.b.org", Path: "/"}, "left"},
			{Request{TLS: true, SNI: "c.net", Path: "/c"}, "right"},
			{Request{TLS: true, SNI: "c.net", Path: "/"}, ""},
			{Request{TLS: true, Path: "/c"}, ""},
			{Request{Path: "/c"}, "right"},
			{Request{Path: "/"}, "left"},
		},
	}, {
		name: "ties go to the older route, then to the smaller id",
		routes: []Route{
			{ID: "c", CreatedAt: 2, Paths: []string{"/x"}},
			{ID: "b", CreatedAt: 1, Paths: []string{"/x"}},
			{ID: "a", CreatedAt: 1, Paths: []string{"/x"}, Methods: nil},
		},
		wants: []want{{Request{Path: "/x"}, "a"}},
	}, {
		name: "routes may be configured with or without percent-escapes",
		routes: []Route{
			{ID: "decoded", Paths: []string{"/endeløst"}},
			{ID: "escaped", Paths: []string{"/a%20b"}},
			{ID: "regex", Paths: []string{`~/r/[a-z ]+/é$`}},
		},
		wants: []want{
			{Request{Path: Normalize("/endel%c3%b8st")}, "decoded"},
			{Request{Path: Normalize("/endeløst")}, "decoded"},
			{Request{Path: Normalize("/a b")}, "escaped"},
			{Request{Path: Normalize("/r/x%20y/%C3%A9")}, "regex"},
		},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustNew(t, tt.routes...)
			for _, w := range tt.wants {
				if got := matchID(r, &w.req); got != w.id {
					t.Errorf("%+v: got route %q, want %q", w.req, got, w.id)
				}
			}
		})
	}
}

func TestMatchPrefixAndCaptures(t *testing.T) {
	r := mustNew(t,
		Route{ID: "literal", Paths: []string{"/café", "/plain"}},
		Route{ID: "regex", Paths: []string{
			`~/users/(?<name>[a-z ]+)(/(?P<rest>\d+))?`,
			`~/users/(\d+)`,
			`~/nogroup/x+`,
			`~/(users|teams)/`,
		}},
		Route{ID: "host", Hosts: []string{"a.org"}},
	)
	tests := []struct {
		host, path string
		want       Match
		captures   map[string]string
	}{
		{path: "/plain/x", want: Match{Prefix: "/plain", Path: "/plain"}},
		{path: "/caf%C3%A9/x", want: Match{Prefix: "/caf%C3%A9", Path: "/café"}},
		{
			path:     "/users/ann%20lee/profile",
			want:     Match{Prefix: "/users/ann%20lee", Path: `~/users/(?<name>[a-z ]+)(/(?P<rest>\d+))?`},
			captures: map[string]string{"0": "/users/ann lee", "1": "ann lee", "name": "ann lee"},
		},
		{
			path: "/users/ann/7/x",
			want: Match{Prefix: "/users/ann/7", Path: `~/users/(?<name>[a-z ]+)(/(?P<rest>\d+))?`},
			captures: map[string]string{
				"0": "/users/ann/7", "1": "ann", "name": "ann", "2": "/7", "3": "7", "rest": "7",
			},
		},
		{
			path:     "/users/7",
			want:     Match{Prefix: "/users/7", Path: `~/users/(\d+)`},
			captures: map[string]string{"0": "/users/7", "1": "7"},
		},
		{
			path:     "/teams/7",
			want:     Match{Prefix: "/teams/", Path: `~/(users|teams)/`},
			captures: map[string]string{"0": "/teams/", "1": "teams"},
		},
		{path: "/nogroup/xxxy", want: Match{Prefix: "/nogroup/xxx", Path: `~/nogroup/x+`}},
		{host: "a.org", path: "/other", want: Match{}},
	}
	for _, tt := range tests {
		got, ok := r.Match(&Request{Host: tt.host, Path: tt.path})
		if !ok {
			t.Errorf("%s: no match", tt.path)
			continue
		}
		if got.Prefix != tt.want.Prefix || got.Path != tt.want.Path {
			t.Errorf("%s: got prefix %q of path %q, want %q of %q",
				tt.path, got.Prefix, got.Path, tt.want.Prefix, tt.want.Path)
		}
		if diff := cmp.Diff(tt.captures, got.Captures()); diff != "" {
			t.Errorf("%s: captures (-want +got):\n%s", tt.path, diff)
		}
	}
}

func TestNewLeavesOutBrokenRoutes(t *testing.T) {
	tests := []struct {
		route Route
		err   error
	}{
		{Route{}, ErrNoField},
		{Route{Hosts: []string{"ok.org", "a.*.org"}}, ErrHost},
		{Route{Hosts: []string{"*"}}, ErrHost},
		{Route{Hosts: []string{"*a.org"}}, ErrHost},
		{Route{Hosts: []string{"*.a.*"}}, ErrHost},
		{Route{Hosts: []string{"*."}}, ErrHost},
		{Route{Hosts: []string{""}}, ErrHost},
		{Route{SNIs: []string{"a.*.org"}}, ErrSNI},
		{Route{Paths: []string{"relative"}}, ErrPath},
		{Route{Paths: []string{"/ok", "/a%2"}}, ErrPath},
		{Route{Paths: []string{"/ok", "~/(unclosed"}}, ErrRegex},
		{Route{Paths: []string{"~a)|(b"}}, ErrRegex},
		{Route{Paths: []string{"~/(?=lookahead)"}}, ErrRegex},
		{Route{Headers: map[string][]string{"a": nil}}, ErrHeader},
		{Route{Headers: map[string][]string{"a": {"~*("}}}, ErrRegex},
	}
	for _, tt := range tests {
		tt.route.ID = "broken"
		r, problems := New([]Route{tt.route, {ID: "good", Paths: []string{"/"}}})
		if len(problems) != 1 || problems[0].RouteID != "broken" || !errors.Is(problems[0].Err, tt.err) {
			t.Errorf("%+v: got problems %v, want %v", tt.route, problems, tt.err)
		}
		if got := matchID(r, &Request{Host: "ok.org", Path: "/ok"}); got != "good" {
			t.Errorf("%+v: the other route does not work, got %q", tt.route, got)
		}
	}
}

func TestEmptyRouterMatchesNothing(t *testing.T) {
	r, problems := New(nil)
	if len(problems) > 0 || r.NeedsHeader() {
		t.Errorf("problems %v, needs header %v", problems, r.NeedsHeader())
	}
	for _, path := range []string{"", "/", "*"} {
		if m, ok := r.Match(&Request{Host: "a.org", Path: path}); ok {
			t.Errorf("%q: got %+v", path, m)
		}
	}
}

func TestNewKeepsItsOwnCopy(t *testing.T) {
	routes := []Route{{ID: "a", Paths: []string{"/a"}, Value: 1}}
	r, _ := New(routes)
	routes[0] = Route{}
	m, ok := r.Match(&Request{Path: "/a"})
	if !ok || m.Route.ID != "a" || m.Route.Value != 1 {
		t.Errorf("got %+v, %v", m, ok)
	}
}

func TestNeedsHeader(t *testing.T) {
	if !mustNew(t, Route{Headers: map[string][]string{"a": {"b"}}}).NeedsHeader() {
		t.Error("a route with headers needs them")
	}
	if mustNew(t, Route{Paths: []string{"/"}}).NeedsHeader() {
		t.Error("a route without headers needs none")
	}
}

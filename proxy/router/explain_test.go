package router

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	r := mustNew(t,
		Route{ID: "win", Paths: []string{"/a", "/zz"}, Methods: []string{"GET"}, CreatedAt: 1},
		Route{ID: "younger", Paths: []string{"/a"}, Methods: []string{"GET"}, CreatedAt: 2},
		Route{ID: "root", Paths: []string{"/"}},
		Route{ID: "regex", Paths: []string{"~/b+"}},
		Route{ID: "method", Methods: []string{"POST"}},
		Route{ID: "host", Hosts: []string{"a.org:81"}},
		Route{ID: "sni", SNIs: []string{"b.org"}},
		Route{ID: "header", Headers: map[string][]string{"x-a": {"1"}}},
	)
	req := &Request{
		Method: "GET", Host: "a.org", Path: "/a/b", TLS: true, SNI: "c.org",
		Header: header{{"x-a", "secret"}},
	}
	type key struct{ id, path string }
	want := map[key]struct {
		outcome       Outcome
		field, detail string
	}{
		{"win", "/a"}:     {Won, "", "first in order of priority that matches"},
		{"win", "/zz"}:    {NoMatch, "paths", `path "/a/b" begins with none of ["/zz"]`},
		{"younger", "/a"}: {Outranked, "", "route win goes first: it is older"},
		{"root", "/"}:     {Outranked, "", "route win goes first: it uses more match fields"},
		{"regex", "~/b+"}: {NoMatch, "paths", `path "/a/b" begins with none of ["~/b+"]`},
		{"method", ""}:    {NoMatch, "methods", `method "GET" is not among ["POST"]`},
		{"host", ""}:      {NoMatch, "hosts", `host "a.org" with port 443 is not among ["a.org:81"]`},
		{"sni", ""}:       {NoMatch, "snis", `server name "c.org" is not among ["b.org"]`},
		{"header", ""}:    {NoMatch, "headers", `header "x-a" is missing or has none of the values ["1"]`},
	}
	reasons := r.Explain(req)
	if len(reasons) != len(want) {
		t.Errorf("got %d reasons, want %d", len(reasons), len(want))
	}
	for _, reason := range reasons {
		w, ok := want[key{reason.Route.ID, strings.Join(reason.Paths, " ")}]
		if !ok || reason.Outcome != w.outcome || reason.Field != w.field || reason.Detail != w.detail {
			t.Errorf("got %s %+v, want %+v", reason.Route.ID, reason, w)
		}
	}
	if got := matchID(r, req); got != "win" {
		t.Errorf("Match returns %q", got)
	}
}

func TestAdvantageNamesTheFirstDifference(t *testing.T) {
	base := Route{ID: "b", CreatedAt: 5, Hosts: []string{"*.a.org"}, Paths: []string{"/a"}, Headers: map[string][]string{"h": {"1"}}}
	change := func(f func(*Route)) Route {
		route := base
		f(&route)
		return route
	}
	tests := []struct {
		better Route
		want   string
	}{
		{change(func(r *Route) { r.Methods = []string{"GET"} }), "uses more match fields"},
		{change(func(r *Route) { r.Hosts = []string{"x.a.org"} }), "has no wildcard host"},
		{change(func(r *Route) { r.Headers = map[string][]string{"h": {"1"}, "i": {"1"}} }), "names more headers"},
		{change(func(r *Route) { r.Paths = []string{"~/a"} }), "has a regular expression as path"},
		{change(func(r *Route) { r.Paths = []string{"/ab"} }), "has a longer path"},
		{change(func(r *Route) { r.Hosts = []string{"*.a.org:80"} }), "names a port with its hosts"},
		{change(func(r *Route) { r.CreatedAt = 4 }), "is older"},
		{change(func(r *Route) { r.ID = "a" }), "has a smaller id"},
	}
	req := &Request{Method: "GET", Host: "x.a.org", Path: "/ab", Header: header{{"h", "1"}, {"i", "1"}}}
	for _, tt := range tests {
		r := mustNew(t, base, tt.better)
		reasons := r.Explain(req)
		if reasons[0].Outcome != Won || reasons[1].Outcome != Outranked ||
			!strings.HasSuffix(reasons[1].Detail, ": it "+tt.want) {
			t.Errorf("%q: got %+v", tt.want, reasons)
		}
	}
	high := change(func(r *Route) { r.ID, r.Paths, r.RegexPriority = "high", []string{"~/a"}, 1 })
	low := change(func(r *Route) { r.Paths = []string{"~/a"} })
	if got := mustNew(t, low, high).Explain(req)[1].Detail; got != "route high goes first: it has a higher regex_priority" {
		t.Errorf("got %q", got)
	}
}

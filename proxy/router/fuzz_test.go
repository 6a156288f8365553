package router

import (
	"strings"
	"sync"
	"testing"
)

// FuzzRouter compiles a route from anything and sends it anything. Match and
// Explain find the route in different ways and have to agree.
func FuzzRouter(f *testing.F) {
	f.Add("a.org", "/a", "v1", "A.org:80", "/a/b", "V1")
	f.Add("*.a.org:80", "~/(?<id>[^/]+)/é", "~*^v[0-9]", "x.a.org", "/a%20b/%C3%A9", "v2")
	f.Add("a.*", "~a)|(b", "~*(", ".a.", "/%2e/%", "")
	f.Add("[::1]:80", "/%c3%a9", "", "[::1]", "/é", "\xff")
	f.Add("É.org", "~(?i)/\\x{e9}", "é", "é.org", "/É", "É")
	f.Fuzz(func(t *testing.T, host, path, value, requestHost, requestPath, requestValue string) {
		r, problems := New([]Route{
			{ID: "host", Hosts: []string{host}},
			{ID: "path", Paths: []string{path, "/b"}},
			{ID: "header", Headers: map[string][]string{"x-a": {value}}},
			{ID: "sni", SNIs: []string{host}, Methods: []string{"GET"}},
		})
		for _, p := range problems {
			if p.RouteID == "" || p.Err == nil {
				t.Errorf("problem %+v says nothing", p)
			}
		}
		req := &Request{
			Method: "GET", Host: requestHost, Path: Normalize("/" + requestPath), TLS: true, SNI: requestHost,
			Header: header{{"X-A", requestValue}},
		}
		m, ok := r.Match(req)
		if !strings.HasPrefix(req.Path, m.Prefix) {
			t.Errorf("prefix %q is none of %q", m.Prefix, req.Path)
		}
		m.Captures()
		for _, reason := range r.Explain(req) {
			if reason.Outcome == Won {
				if !ok || m.Route != reason.Route {
					t.Errorf("Match returns %+v, Explain %+v", m.Route, reason)
				}
				return
			}
		}
		if ok {
			t.Errorf("Match returns %+v, Explain nothing", m.Route)
		}
	})
}

func TestRouterIsSafeForConcurrentUse(t *testing.T) {
	r := mustNew(t,
		Route{ID: "regex", Paths: []string{`~/a/(?<id>[^/]+)$`}, Headers: map[string][]string{"x-a": {"~*^v"}}},
		Route{ID: "literal", Hosts: []string{"*.org"}, Paths: []string{"/a"}},
	)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				m, ok := r.Match(&Request{Host: "a.ORG", Path: "/a/b%20c", Header: header{{"x-a", "v1"}}})
				if id := m.Captures()["id"]; !ok || m.Route.ID != "regex" || id != "b c" {
					t.Errorf("got %+v with id %q", m.Route, id)
				}
				r.Explain(&Request{Host: "a.ORG", Path: "/a"})
			}
		})
	}
	group.Wait()
}

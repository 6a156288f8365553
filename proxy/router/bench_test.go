package router

import (
	"fmt"
	"testing"
)

// sizes are the numbers of routes to compare. A match among 5,000 is meant to
// cost less than 20 % more than one among 10. It does in BenchmarkMatchOne; where
// the traffic goes round 2,500 hosts evenly, memory out of the caches adds 40 %.
var sizes = []int{10, 1000, 5000}

// pathRoutes are what most installations have: one path and no host.
func pathRoutes(n int) ([]Route, []Request) {
	routes, requests := make([]Route, n), make([]Request, n)
	for i := range n {
		path := fmt.Sprintf("/api/v1/service-%04d", i)
		routes[i] = Route{ID: fmt.Sprintf("r%04d", i), Paths: []string{path}}
		requests[i] = Request{Method: "GET", Host: "api.example.com", Path: path + "/items/42"}
	}
	return routes, requests
}

// hostRoutes use most fields, and a catch-all stands behind each.
func hostRoutes(n int) ([]Route, []Request) {
	routes, requests := make([]Route, n), make([]Request, n)
	for i := range n {
		host := fmt.Sprintf("tenant-%04d.example.com", i/2)
		routes[i] = Route{ID: fmt.Sprintf("r%04d", i), Hosts: []string{host}, Paths: []string{"/"}}
		if i%2 == 1 {
			routes[i].Paths = []string{"/students", "/teachers"}
			routes[i].Methods = []string{"GET", "POST"}
		}
		requests[i] = Request{Method: "POST", Host: host + ":8000", Path: "/students/42"}
	}
	return routes, requests
}

func benchmarkMatch(b *testing.B, routes []Route, requests []Request) {
	r := mustNew(b, routes...)
	for i := range requests {
		if _, ok := r.Match(&requests[i]); !ok {
			b.Fatalf("%+v does not match", requests[i])
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Match(&requests[i])
		if i++; i == len(requests) {
			i = 0
		}
	}
}

// In BenchmarkMatch every request is for another route, in BenchmarkMatchOne
// all are for the same, so that the difference is the processor's caches.
func BenchmarkMatch(b *testing.B)    { benchmarkSizes(b, 1<<30) }
func BenchmarkMatchOne(b *testing.B) { benchmarkSizes(b, 1) }

func benchmarkSizes(b *testing.B, maxRequests int) {
	kinds := []struct {
		name string
		make func(int) ([]Route, []Request)
	}{{"paths", pathRoutes}, {"hosts", hostRoutes}}
	for _, kind := range kinds {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				routes, requests := kind.make(n)
				benchmarkMatch(b, routes, requests[len(requests)-min(maxRequests, len(requests)):])
			})
		}
	}
}

// BenchmarkMatchWorst has 5,000 routes among which the index cannot tell.
func BenchmarkMatchWorst(b *testing.B) {
	const n = 5000
	kinds := []struct {
		name string
		make func(i int) (Route, Request)
	}{
		{"headers", func(i int) (Route, Request) {
			version := fmt.Sprintf("v%04d", i)
			return Route{Paths: []string{"/same"}, Headers: map[string][]string{"x-version": {version}}},
				Request{Path: "/same", Header: header{{"accept", "*/*"}, {"X-Version", version}}}
		}},
		{"snis", func(i int) (Route, Request) {
			name := fmt.Sprintf("tenant-%04d.example.com", i)
			return Route{SNIs: []string{name}}, Request{Path: "/", TLS: true, SNI: name}
		}},
		{"regex", func(i int) (Route, Request) {
			return Route{Paths: []string{fmt.Sprintf(`~/(?<tenant>[a-z]+)/service-%04d/\d+$`, i)}},
				Request{Path: fmt.Sprintf("/tenant/service-%04d/42", i)}
		}},
		{"regex-literal-start", func(i int) (Route, Request) {
			return Route{Paths: []string{fmt.Sprintf(`~/service-%04d/(?<id>\d+)$`, i)}},
				Request{Path: fmt.Sprintf("/service-%04d/42", i)}
		}},
		{"wildcard-hosts", func(i int) (Route, Request) {
			return Route{Hosts: []string{fmt.Sprintf("*.tenant-%04d.example.com", i)}},
				Request{Path: "/", Host: fmt.Sprintf("a.b.c.d.tenant-%04d.example.com", i)}
		}},
	}
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			routes, requests := make([]Route, n), make([]Request, n)
			for i := range n {
				routes[i], requests[i] = kind.make(i)
				routes[i].ID = fmt.Sprintf("r%04d", i)
			}
			benchmarkMatch(b, routes, requests)
		})
	}
}

// BenchmarkNew is the price of a configuration change.
func BenchmarkNew(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("literal/%d", n), func(b *testing.B) {
			routes, _ := hostRoutes(n)
			b.ReportAllocs()
			for b.Loop() {
				New(routes)
			}
		})
		b.Run(fmt.Sprintf("regex/%d", n), func(b *testing.B) {
			routes := make([]Route, n)
			for i := range n {
				routes[i] = Route{Paths: []string{fmt.Sprintf(`~/service-%04d/(?<id>\d+)$`, i)}}
			}
			b.ReportAllocs()
			for b.Loop() {
				New(routes)
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	for _, path := range []string{"/api/v1/students/42/courses", "/api/v1/../v1//%73tudents/42"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Normalize(path)
			}
		})
	}
}

func BenchmarkUpstreamPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		UpstreamPath("/base", "/students/42", "/students", true, "v0")
	}
}

func TestMatchDoesNotAllocateForLiteralRoutes(t *testing.T) {
	r := mustNew(t,
		Route{ID: "path", Paths: []string{"/a", "/a/b", "~/never/[0-9]"}},
		Route{ID: "host", Hosts: []string{"A.org", "*.a.org:80", "a.*"}, Paths: []string{"/h"}, Methods: []string{"GET"}},
		Route{ID: "header", Headers: map[string][]string{"x-a": {"no", "~*^y.s"}}, Paths: []string{"/h"}},
		Route{ID: "sni", SNIs: []string{"*.s.org"}},
	)
	tests := []struct {
		req  Request
		want string
	}{
		{Request{Method: "GET", Host: "a.org", Path: "/a/b/c"}, "path"},
		{Request{Method: "GET", Host: "A.ORG", Path: "/h"}, "host"},
		{Request{Method: "GET", Host: "B.A.ORG:80", Path: "/h"}, "host"},
		{Request{Method: "GET", Host: "a.net", Path: "/h"}, "host"},
		{Request{Method: "PUT", Host: "b.net", Path: "/h", Header: header{{"X-A", "maybe"}, {"x-a", "Yes"}}}, "header"},
		{Request{Method: "PUT", Host: "b.net", Path: "/", TLS: true, SNI: "X.S.org"}, "sni"},
		{Request{Method: "PUT", Host: "b.net", Path: "/", TLS: true}, ""},
	}
	for _, tt := range tests {
		if got := matchID(r, &tt.req); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.req, got, tt.want)
		}
		if n := testing.AllocsPerRun(100, func() { r.Match(&tt.req) }); n != 0 {
			t.Errorf("%+v: got %v allocations, want 0", tt.req, n)
		}
	}
}

// BenchmarkBuilder is the price of a change of one route among many.
func BenchmarkBuilder(b *testing.B) {
	kinds := []struct {
		name string
		make func(int) ([]Route, []Request)
	}{{"paths", pathRoutes}, {"hosts", hostRoutes}}
	for _, kind := range kinds {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				routes, _ := kind.make(n)
				builder := NewBuilder()
				for _, route := range routes {
					if err := builder.Set(route); err != nil {
						b.Fatal(err)
					}
				}
				builder.Build()
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					route := routes[i/2%n]
					if i++; i%2 == 1 {
						route.Paths = []string{"/changed"}
					}
					if err := builder.Set(route); err != nil {
						b.Fatal(err)
					}
					builder.Build()
				}
			})
		}
	}
}

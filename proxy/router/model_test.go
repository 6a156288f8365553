package router

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The model is the router's specification as plainly as possible: every route
// is expanded, sorted by a list of numbers and tried in turn. It shares no code
// with the package.

// modelRoute is a route with paths of one group.
type modelRoute struct {
	Route
	order []int64 // lexicographic; smaller goes first
}

func newModel(routes []Route) []modelRoute {
	var model []modelRoute
	for _, route := range routes {
		groups := map[int][]string{}
		for _, path := range route.Paths {
			size := len(path)
			if path[0] == '~' {
				size = 0
			}
			groups[size] = append(groups[size], path)
		}
		if len(groups) == 0 {
			groups[-1] = nil
		}
		for _, paths := range groups {
			m := modelRoute{Route: route}
			m.Paths = paths
			m.order = m.newOrder()
			model = append(model, m)
		}
	}
	slices.SortFunc(model, func(a, b modelRoute) int {
		if c := slices.Compare(a.order, b.order); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return model
}

func (m *modelRoute) newOrder() []int64 {
	number := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	fields := number(m.Methods != nil) + number(m.Hosts != nil) + number(m.Headers != nil) +
		number(m.Paths != nil) + number(m.SNIs != nil)
	plain := m.Hosts != nil && !strings.Contains(strings.Join(m.Hosts, " "), "*")
	ports := m.Hosts != nil && !slices.ContainsFunc(m.Hosts, func(host string) bool {
		_, _, err := net.SplitHostPort(host)
		return err != nil
	})
	regex := len(m.Paths) > 0 && m.Paths[0][0] == '~'
	var regexPriority, length int64
	if regex {
		regexPriority = m.RegexPriority
	} else if len(m.Paths) > 0 {
		length = int64(len(m.Paths[0]))
	}
	return []int64{
		-fields, -number(plain), -int64(len(m.Headers)), -number(regex), -regexPriority,
		-length, -number(ports), m.CreatedAt,
	}
}

// match returns the prefix, too.
func (m *modelRoute) match(req *Request) (prefix string, ok bool) {
	if m.Methods != nil && !slices.Contains(m.Methods, req.Method) ||
		m.Hosts != nil && !m.matchHost(req) ||
		m.SNIs != nil && req.TLS && !slices.ContainsFunc(m.SNIs, func(sni string) bool { return matchGlob(sni, req.SNI) }) {
		return "", false
	}
	for name, values := range m.Headers {
		found := false
		for _, line := range req.Header.(header) {
			for _, value := range values {
				pattern := "^" + regexp.QuoteMeta(value) + "$"
				if strings.HasPrefix(value, "~*") {
					pattern = value[2:]
				}
				found = found || strings.EqualFold(line.name, name) &&
					regexp.MustCompile("(?i)"+pattern).MatchString(line.value)
			}
		}
		if !found {
			return "", false
		}
	}
	if m.Paths == nil {
		return "", true
	}
	return m.matchPath(req.Path)
}

var (
	modelDecode = strings.NewReplacer("%20", " ", "%C3%A9", "é")
	modelEncode = strings.NewReplacer(" ", "%20", "é", "%C3%A9")
)

func (m *modelRoute) matchPath(path string) (string, bool) {
	path = modelDecode.Replace(path)
	for _, p := range m.Paths {
		pattern := regexp.QuoteMeta(p)
		if p[0] == '~' {
			pattern = p[1:]
		}
		if at := regexp.MustCompile("^(" + pattern + ")").FindString(path); at != "" {
			return modelEncode.Replace(at), true
		}
	}
	return "", false
}

func (m *modelRoute) matchHost(req *Request) bool {
	host, port, err := net.SplitHostPort(req.Host)
	if err != nil {
		host, port = strings.Trim(req.Host, "[]"), "80"
		if req.TLS {
			port = "443"
		}
		if req.Port != 0 {
			port = strconv.Itoa(req.Port)
		}
	}
	return slices.ContainsFunc(m.Hosts, func(pattern string) bool {
		name, onlyPort, err := net.SplitHostPort(pattern)
		if err != nil {
			name, onlyPort = strings.Trim(pattern, "[]"), port
		}
		return onlyPort == port && matchGlob(name, host)
	})
}

func matchGlob(glob, name string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, ".*")
	return regexp.MustCompile("(?i)^" + pattern + "$").MatchString(name)
}

// Few values that have much in common, so that routes collide.
var (
	someMethods = []string{"GET", "POST", "PURGE"}
	someHosts   = []string{
		"a.com", "A.com", "b.a.com", "*.a.com", "*.com", "a.*", "b.*", "a.com:80", "a.com:443", "a.com:8000",
		"*.a.com:8000", "a.*:443", "[::1]", "[::1]:80",
	}
	somePaths = []string{
		"/", "/a", "/ab", "/a/", "/a/b", "/a/c", "/a/b/c", "/a é", "/é", "/a%2Fb",
		"~/", "~/a", "~/ab?", "~/a/(?<id>[^/]+)", "~/(a|b)", "~/a/b$", "~/a|/b", "~/[a-z é]+", "~/(?i)A/B", "~/a/(b|b/c)/?",
	}
	someSNIs    = []string{"a.com", "*.com", "a.*", "B.com"}
	someHeaders = []string{"v1", "v2", "V1", "~*^v", "~*2$"}

	requestHosts = []string{
		"", "a.com", "a.COM", "b.a.com", "c.b.a.com", "a.org", "b.org", "a.com:80", "a.com:8000", "b.a.com:8000",
		"x.com", "com", "[::1]", "[::1]:80", "[::1]:8000",
	}
	requestPaths = []string{
		"/", "/a", "/ab", "/abc", "/a/", "/a/b", "/A/B", "/a/b/", "/a/b/c", "/a/c", "/b", "/b/a", "/c",
		"/a%20%C3%A9/x", "/%C3%A9", "/a%2Fb", "/a%20b",
	}
	requestSNIs = []string{"", "a.com", "A.com", "x.com", "a.org", "b.com"}
)

// some draws up to n of the values, or nil.
func some(t *rapid.T, label string, values []string, n int) []string {
	drawn := rapid.SliceOfNDistinct(rapid.SampledFrom(values), 0, n, rapid.ID).Draw(t, label)
	if len(drawn) == 0 {
		return nil
	}
	return drawn
}

func drawRoute(t *rapid.T, id string) Route {
	route := Route{
		ID:            id,
		CreatedAt:     rapid.Int64Range(0, 2).Draw(t, "created_at"),
		Methods:       some(t, "methods", someMethods, 1),
		Hosts:         some(t, "hosts", someHosts, 3),
		Paths:         some(t, "paths", somePaths, 4),
		SNIs:          some(t, "snis", someSNIs, 1),
		RegexPriority: rapid.Int64Range(-1, 2).Draw(t, "regex_priority"),
	}
	for _, name := range some(t, "headers", []string{"x-a", "X-B"}, 2) {
		if route.Headers == nil {
			route.Headers = map[string][]string{}
		}
		route.Headers[name] = rapid.SliceOfN(rapid.SampledFrom(someHeaders), 1, 2).Draw(t, name)
	}
	if route.Methods == nil && route.Hosts == nil && route.Paths == nil && route.SNIs == nil && route.Headers == nil {
		route.Paths = []string{"/"}
	}
	return route
}

func drawRequest(t *rapid.T) *Request {
	req := &Request{
		Method: rapid.SampledFrom(someMethods).Draw(t, "method"),
		Host:   rapid.SampledFrom(requestHosts).Draw(t, "host"),
		Path:   rapid.SampledFrom(requestPaths).Draw(t, "path"),
		SNI:    rapid.SampledFrom(requestSNIs).Draw(t, "sni"),
		TLS:    rapid.Bool().Draw(t, "tls"),
		Port:   rapid.SampledFrom([]int{0, 80, 8000}).Draw(t, "port"),
	}
	lines := header{}
	for range rapid.IntRange(0, 3).Draw(t, "lines") {
		lines = append(lines, struct{ name, value string }{
			rapid.SampledFrom([]string{"X-A", "x-b"}).Draw(t, "name"),
			rapid.SampledFrom([]string{"v1", "V2", "x"}).Draw(t, "value"),
		})
	}
	req.Header = lines
	return req
}

func TestMatchAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var routes []Route
		for i, id := range rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}).Draw(t, "ids") {
			if i < 3 || rapid.Bool().Draw(t, "more") {
				routes = append(routes, drawRoute(t, fmt.Sprintf("%02d", id)))
			}
		}
		r, problems := New(routes)
		if len(problems) > 0 {
			t.Fatalf("problems: %v", problems)
		}
		model := newModel(routes)
		for range 20 {
			checkAgainstModel(t, r, model, drawRequest(t))
		}
	})
}

func checkAgainstModel(t *rapid.T, r *Router, model []modelRoute, req *Request) {
	var wantID, wantPrefix string
	for i := range model {
		if prefix, ok := model[i].match(req); ok {
			wantID, wantPrefix = model[i].ID, prefix
			break
		}
	}
	m, ok := r.Match(req)
	var gotID string
	if ok {
		gotID = m.Route.ID
	}
	if gotID != wantID || m.Prefix != wantPrefix {
		t.Fatalf("%+v: got %q with prefix %q, want %q with %q", req, gotID, m.Prefix, wantID, wantPrefix)
	}
	var explained string
	for i, reason := range r.Explain(req) {
		_, matches := model[i].match(req)
		if reason.Route.ID != model[i].ID || (reason.Outcome != NoMatch) != matches {
			t.Fatalf("%+v: reason %d is %+v, want route %s, matching %v", req, i, reason, model[i].ID, matches)
		}
		if reason.Outcome == Won {
			explained += reason.Route.ID
		}
	}
	if explained != wantID {
		t.Fatalf("%+v: Explain lets %q win, want %q", req, explained, wantID)
	}
}

package router

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Outcome is what became of a route in [Router.Explain].
type Outcome string

// The outcomes.
const (
	Won       Outcome = "won"
	Outranked Outcome = "outranked" // matches, but another goes first
	NoMatch   Outcome = "no match"
)

// Reason tells why a route won or lost. A route that counts as several has one
// Reason for each.
type Reason struct {
	Route   *Route
	Paths   []string // the route's paths this is about; nil if it has none
	Outcome Outcome
	// Field is the first field that does not match, by Kong's name; empty
	// unless Outcome is NoMatch.
	Field string
	// Detail is a sentence fragment for people.
	Detail string
}

// Explain returns a Reason for every route in order of priority. The first
// that matches is the one Match returns. It looks at all routes one by one and
// is meant for people, not for traffic. Header values of the request do not
// appear in the result, since they may be secret.
func (r *Router) Explain(req *Request) []Reason {
	entries := r.entries()
	reasons := make([]Reason, 0, len(entries))
	var winner *entry
	for _, e := range entries {
		reason := Reason{Route: e.route, Paths: sources(e.paths)}
		reason.Field, reason.Detail = e.mismatch(req)
		switch {
		case reason.Field != "":
			reason.Outcome = NoMatch
		case winner == nil:
			winner = e
			reason.Outcome = Won
			reason.Detail = "first in order of priority that matches"
		default:
			reason.Outcome = Outranked
			reason.Detail = fmt.Sprintf("route %s goes first: it %s",
				winner.route.ID, winner.priority.advantage(&e.priority))
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

// entries collects what the tries hold, in order of priority.
func (r *Router) entries() []*entry {
	found := make(map[*entry]bool)
	collect := func(c *candidate) bool {
		found[c.entry] = true
		return true
	}
	r.anyHost.all(collect)
	for _, hosts := range []*table{&r.exact, &r.suffix, &r.prefix} {
		for root := range hosts.all {
			root.all(collect)
		}
	}
	return slices.SortedFunc(maps.Keys(found), (*entry).compare)
}

// mismatch returns the first field of e that does not match, or "".
func (e *entry) mismatch(req *Request) (field, detail string) {
	switch {
	case len(e.methods) > 0 && !slices.Contains(e.methods, req.Method):
		return "methods", fmt.Sprintf("method %q is not among %q", req.Method, e.methods)
	case len(e.hosts) > 0 && !e.acceptsHost(req):
		host, port := req.hostPort()
		return "hosts", fmt.Sprintf("host %q with port %d is not among %q", host, port, e.route.Hosts)
	case len(e.paths) > 0 && !e.acceptsPath(req.Path):
		return "paths", fmt.Sprintf("path %q begins with none of %q", req.Path, sources(e.paths))
	case len(e.snis) > 0 && !req.acceptsSNI(e.snis):
		return "snis", fmt.Sprintf("server name %q is not among %q", req.SNI, e.route.SNIs)
	}
	for i := range e.headers {
		if h := &e.headers[i]; !req.acceptsHeader(h) {
			return "headers", fmt.Sprintf("header %q is missing or has none of the values %q", h.name, e.route.Headers[h.name])
		}
	}
	return "", ""
}

func (e *entry) acceptsHost(req *Request) bool {
	host, port := req.hostPort()
	return slices.ContainsFunc(e.hosts, func(p namePattern) bool {
		return p.matches(host) && (p.port == 0 || p.port == port)
	})
}

func (e *entry) acceptsPath(path string) bool {
	return slices.ContainsFunc(e.paths, func(p pathPattern) bool {
		if p.regex != nil {
			return p.regex.MatchString(decodeOther(path))
		}
		return strings.HasPrefix(path, p.literal)
	})
}

func sources(paths []pathPattern) []string {
	var all []string
	for i := range paths {
		all = append(all, paths[i].source)
	}
	return all
}

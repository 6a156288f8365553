// Package router finds the route of a request, with the semantics of Kong's
// traditional_compatible router flavour.
//
// A Router never changes: any number of goroutines may call [Router.Match]
// without a lock. A configuration change gives a new Router, and the caller
// swaps the pointer. [New] compiles all routes; a [Builder] keeps them between
// changes, and its Routers share all that did not change.
//
// # What matches
//
// Between the fields of a route every field that is set has to match (AND);
// within a field one value is enough (OR).
//
//   - methods: exact, case-sensitive (RFC 9110, section 9.1).
//   - hosts: case-insensitive; exact, or one wildcard as the whole leftmost
//     ("*.example.com") or rightmost ("example.*") label. The wildcard stands
//     for any number of labels. A host with a port matches that port only, a
//     host without one matches every port.
//   - paths: a byte-wise prefix, so "/foo" also matches "/foobar"; or, after a
//     "~", a regular expression in RE2 syntax, anchored at the start only.
//   - headers: every named header has to be there with one of the listed
//     values, ignoring case; "~*" introduces an unanchored regular expression.
//   - snis: like hosts without ports, but considered for TLS requests only. A
//     request over plain TCP passes them.
//
// The protocols of a route take no part: the caller answers 426 or redirects
// after the match.
//
// # Which match wins
//
// A route whose paths have several lengths counts as several, one for each
// length and one for all its regular expressions. Of all that match, the first
// in this order wins:
//
//  1. more fields used, of methods, hosts, headers, paths and snis;
//  2. hosts without any wildcard;
//  3. more headers, counting up to 255;
//  4. a regular expression as path;
//  5. higher regex_priority, between regular expressions;
//  6. longer path prefix;
//  7. every host names a port;
//  8. older created_at;
//  9. smaller id.
//
// Kong ends after the sixth and leaves the rest to the chance of its UUIDs. The
// seventh keeps "example.com:8443" reachable next to "example.com".
//
// # What it costs
//
// Hosts are looked up in hash tables, one look-up for the host itself and two
// for each of its dots where routes with wildcards exist. Every host has its own
// trie over path prefixes, in which a regular expression is filed under the
// literal text it begins with. The nodes on a request's way hold the candidates,
// sorted by priority, of which methods, snis, headers and regular expressions
// are then checked until one matches. Literal routes cost no allocation.
//
// Tries and hash tables are persistent: a change copies the nodes on its own
// prefix's way, and of a hash table one segment of at most some 64.
//
// So the cost grows with the candidates, not with the routes: about 60 ns with
// 10 routes and with 5,000 that differ in path. It is linear among routes that
// have host and path in common. BenchmarkMatchWorst measured, per candidate
// tried, 10 ns where they differ in snis, 30 ns in headers, and 220 ns in
// regular expressions that begin with no literal text: with 5,000 of those, up
// to 1.1 ms a request. Regular expressions with different literal starts
// ("~/users/\d+") cost about 0.5 us whatever their number.
//
// The memory of a route grows with its hosts times its paths. New takes about
// 3 us for a literal route and 16 us for a regular expression.
//
// # Where it differs from Kong
//
// An alternation at the top of a path expression is anchored as a whole
// ("~/a|/b" never matches "/x/b"), a negative regex_priority ranks below zero,
// an upper-case class in a header expression ("\D") keeps its meaning, and
// bracketed IPv6 hosts may name a port.
package router

import (
	"errors"
	"slices"
)

// Reasons why a route cannot be compiled, found in [Problem.Err] with
// [errors.Is].
var (
	ErrNoField = errors.New("route sets none of methods, hosts, headers, paths and snis")
	ErrHost    = errors.New("invalid host")
	ErrSNI     = errors.New("invalid sni")
	ErrPath    = errors.New("invalid path")
	ErrHeader  = errors.New("invalid header")
	ErrRegex   = errors.New("invalid regular expression")
)

// Route is the part of a Kong route that decides about matching. Field names
// and formats are Kong's. Routes for protocols without HTTP do not belong here.
type Route struct {
	ID            string
	CreatedAt     int64 // any unit; the smaller wins a tie
	Methods       []string
	Hosts         []string
	Paths         []string // literal prefix, or "~" and a regular expression
	SNIs          []string
	Headers       map[string][]string
	RegexPriority int64 // between regular expressions, the higher goes first; default 0
	Value         any   // for the caller, untouched
}

// Request is what the router looks at.
type Request struct {
	Method string
	Host   string // as the client sent it, with or without a port
	Path   string // without query, normalised by [Normalize]
	SNI    string // server name of the TLS handshake, or empty
	TLS    bool

	// Port is the local port on which the request arrived. It counts where Host
	// names no port; 0 stands for 443 with TLS and 80 without.
	Port int

	// Header may be nil if no route asks for headers, see [Router.NeedsHeader].
	Header HeaderSource
}

// HeaderSource reads a request's header without allocating.
type HeaderSource interface {
	// Next returns the first value of the named field, matched without regard
	// to case, at or after the position from, and the position to go on from.
	// Zero is the first position; what the others mean is the implementation's
	// own business. ok is false after the last value.
	Next(name string, from int) (value string, next int, ok bool)
}

// Problem is a route that was left out because it cannot be compiled.
type Problem struct {
	RouteID string
	Err     error
}

// Router is an immutable set of compiled routes, safe for concurrent use.
type Router struct {
	anyHost     *node // nil without routes for any host
	exact       table // by host
	suffix      table // "*.example.com" under ".example.com"
	prefix      table // "example.*" under "example."
	needsHeader bool
}

// New compiles routes. A route that cannot be compiled is left out and reported
// as a Problem, with all its paths, and the rest works. The returned Router is
// never nil. It keeps a copy of the slice, but shares what the routes refer to,
// which must not be changed afterwards.
//
// Who changes routes again and again uses a [Builder].
func New(routes []Route) (*Router, []Problem) {
	routes = slices.Clone(routes)
	b := NewBuilder()
	var problems []Problem
	for i := range routes {
		if _, err := b.add(&routes[i]); err != nil {
			problems = append(problems, Problem{RouteID: routes[i].ID, Err: err})
		}
	}
	return b.Build(), problems
}

// NeedsHeader reports whether any route matches on headers.
func (r *Router) NeedsHeader() bool { return r.needsHeader }

// Match returns the route that wins the request, and false if none matches. It
// does not allocate for literal routes; a path expression that wins costs one
// small allocation, and one more if the request path has percent-escapes of
// octets other than URI characters.
func (r *Router) Match(req *Request) (Match, bool) {
	s := search{req: req}
	s.run(r)
	if s.winner == nil {
		return Match{}, false
	}
	return s.match(), true
}

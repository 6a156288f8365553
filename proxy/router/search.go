package router

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Match is the answer to a request.
type Match struct {
	Route *Route
	// Prefix is what strip_path removes from the request path: the literal
	// prefix, or the part that the regular expression matched. It is empty if
	// the route has no paths.
	Prefix string
	// Path is the path of the route that matched, as configured; empty if the
	// route has none.
	Path string

	regex   *regexp.Regexp
	subject string // what regex was matched against
}

// Captures returns the groups of the regular expression by number, with "0" for
// the whole match, and by name (Kong's uri_captures). It is nil without groups;
// groups that took no part are missing. Octets that are not URI characters
// appear decoded: the group for "/a%20b" is "a b". Each call computes it anew.
func (m *Match) Captures() map[string]string {
	if m.regex == nil || m.regex.NumSubexp() == 0 {
		return nil
	}
	at := m.regex.FindStringSubmatchIndex(m.subject)
	return captures(m.regex, m.subject, at)
}

// search is the state of one Match call. It lives on the stack.
type search struct {
	req    *Request
	host   string // without port
	port   int
	winner *candidate

	subject string // req.Path as regular expressions see it, once needed
}

// run looks at every index that can hold the request's route. It does not
// matter which comes first: the highest priority wins.
func (s *search) run(r *Router) {
	if r.exact.count+r.suffix.count+r.prefix.count > 0 {
		s.host, s.port = s.req.hostPort()
		s.tryHosts(r)
	}
	s.try(r.anyHost)
}

// hostPort splits Host and adds the port that goes without saying.
func (q *Request) hostPort() (string, int) {
	host, port := splitHostPort(q.Host)
	switch {
	case port != 0:
	case q.Port != 0:
		port = q.Port
	case q.TLS:
		port = 443
	default:
		port = 80
	}
	return host, port
}

func (s *search) tryHosts(r *Router) {
	var stack [128]byte // longer hosts, of which few exist, are copied to the heap
	host := appendLower(stack[:0], s.host)
	s.try(r.exact.getBytes(host))
	if r.suffix.count+r.prefix.count == 0 {
		return
	}
	for i, c := range host {
		if c == '.' {
			s.try(r.suffix.getBytes(host[i:]))
			s.try(r.prefix.getBytes(host[:i+1]))
		}
	}
}

// try looks for a better winner in the trie with the given root, which may be
// nil.
func (s *search) try(root *node) {
	if root != nil {
		s.descend(root, s.req.Path)
	}
}

// descend tries the nodes on the way of path, the farthest first: there the
// longer prefixes are, which mostly win and spare a look at the others.
func (s *search) descend(n *node, path string) {
	if child := n.next(path); child != nil {
		s.descend(child, path[len(child.text):])
	}
	for i := range n.candidates {
		c := &n.candidates[i]
		if s.winner != nil && !c.before(s.winner) {
			return
		}
		if s.accepts(c) {
			s.winner = c
			return
		}
	}
}

// accepts checks what the indexes leave open, the cheap things first.
func (s *search) accepts(c *candidate) bool {
	if c.port != 0 && c.port != s.port {
		return false
	}
	if c.plain {
		return true
	}
	e := c.entry
	return (len(e.methods) == 0 || slices.Contains(e.methods, s.req.Method)) &&
		(len(e.snis) == 0 || s.req.acceptsSNI(e.snis)) &&
		(len(e.headers) == 0 || s.req.acceptsHeaders(e.headers)) &&
		(c.path == nil || c.path.regex == nil || s.acceptsRegex(c.path.regex))
}

func (s *search) acceptsRegex(regex *regexp.Regexp) bool {
	if s.subject == "" {
		s.subject = decodeOther(s.req.Path)
	}
	return regex.MatchString(s.subject)
}

// acceptsSNI lets every request without TLS pass, as Kong does: its protocol is
// found wrong after the match.
func (q *Request) acceptsSNI(snis []namePattern) bool {
	if !q.TLS {
		return true
	}
	for i := range snis {
		if snis[i].matches(q.SNI) {
			return true
		}
	}
	return false
}

func (q *Request) acceptsHeaders(headers []headerPattern) bool {
	for i := range headers {
		if !q.acceptsHeader(&headers[i]) {
			return false
		}
	}
	return true
}

func (q *Request) acceptsHeader(h *headerPattern) bool {
	if q.Header == nil {
		return false
	}
	for value, at, ok := q.Header.Next(h.name, 0); ok; value, at, ok = q.Header.Next(h.name, at) {
		if h.accepts(value) {
			return true
		}
	}
	return false
}

func (h *headerPattern) accepts(value string) bool {
	for i := range h.values {
		v := &h.values[i]
		if v.regex != nil && v.regex.MatchString(value) || v.regex == nil && equalFold(value, v.text) {
			return true
		}
	}
	return false
}

// match turns the winner into the answer.
func (s *search) match() Match {
	m := Match{Route: s.winner.entry.route}
	path := s.winner.path
	if path == nil {
		return m
	}
	if path.regex == nil {
		m.Path = path.source
		m.Prefix = s.req.Path[:len(path.literal)]
		return m
	}
	// Another expression of the same route may have matched as well. The first
	// in the configured order counts.
	for i := range s.winner.entry.paths {
		p := &s.winner.entry.paths[i]
		if !strings.HasPrefix(s.req.Path, p.literal) {
			continue
		}
		if at := p.regex.FindStringIndex(s.subject); at != nil {
			m.Path = p.source
			m.Prefix = s.req.Path[:encodedLength(s.req.Path, at[1])]
			m.regex, m.subject = p.regex, s.subject
			break
		}
	}
	return m
}

func captures(regex *regexp.Regexp, subject string, at []int) map[string]string {
	values := make(map[string]string, len(at))
	for i, name := range regex.SubexpNames() {
		if at[2*i] < 0 {
			continue
		}
		value := subject[at[2*i]:at[2*i+1]]
		values[strconv.Itoa(i)] = value
		if name != "" {
			values[name] = value
		}
	}
	return values
}

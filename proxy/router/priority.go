package router

import (
	"cmp"
	"strings"
)

// maxHeaderCount is where more headers stop raising the priority: Kong has
// eight bits for them.
const maxHeaderCount = 255

// priority is a route's place among those that match, the fields in order of
// weight. Kong packs the first six into 64 bits; compared one by one, large and
// negative values cannot spill over into a neighbour.
type priority struct {
	fields        int
	plainHosts    bool
	headers       int
	regex         bool
	regexPriority int64
	pathLength    int
	portHosts     bool
	createdAt     int64
}

// weight is the first four fields of a priority, which are small, in one
// number: the larger goes first.
type weight uint32

func (p *priority) weight() weight {
	w := weight(p.fields)<<10 | weight(p.headers)<<1
	if p.plainHosts {
		w |= 1 << 9
	}
	if p.regex {
		w |= 1
	}
	return w
}

// newPriority is for the part of a route that has the given paths, which are
// all of one length or all regular expressions.
func newPriority(route *Route, paths []string) priority {
	p := priority{
		headers:   min(len(route.Headers), maxHeaderCount),
		createdAt: route.CreatedAt,
	}
	for _, n := range []int{len(route.Methods), len(route.Hosts), len(route.Headers), len(paths), len(route.SNIs)} {
		if n > 0 {
			p.fields++
		}
	}
	if len(route.Hosts) > 0 {
		p.plainHosts, p.portHosts = true, true
		for _, host := range route.Hosts {
			_, port := splitHostPort(host)
			p.plainHosts = p.plainHosts && !strings.Contains(host, "*")
			p.portHosts = p.portHosts && port != 0
		}
	}
	if len(paths) > 0 {
		if isRegex(paths[0]) {
			p.regex, p.regexPriority = true, route.RegexPriority
		} else {
			p.pathLength = len(paths[0])
		}
	}
	return p
}

// compare is negative if p goes before q.
func (p *priority) compare(q *priority) int {
	switch {
	case p.weight() != q.weight():
		return cmp.Compare(q.weight(), p.weight())
	case p.regexPriority != q.regexPriority:
		return cmp.Compare(q.regexPriority, p.regexPriority)
	case p.pathLength != q.pathLength:
		return cmp.Compare(q.pathLength, p.pathLength)
	case p.portHosts != q.portHosts:
		return compareBool(q.portHosts, p.portHosts)
	default:
		return cmp.Compare(p.createdAt, q.createdAt)
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// advantage names the first step at which p, which goes before q, is ahead.
func (p *priority) advantage(q *priority) string {
	switch {
	case p.fields != q.fields:
		return "uses more match fields"
	case p.plainHosts != q.plainHosts:
		return "has no wildcard host"
	case p.headers != q.headers:
		return "names more headers"
	case p.regex != q.regex:
		return "has a regular expression as path"
	case p.regexPriority != q.regexPriority:
		return "has a higher regex_priority"
	case p.pathLength != q.pathLength:
		return "has a longer path"
	case p.portHosts != q.portHosts:
		return "names a port with its hosts"
	case p.createdAt != q.createdAt:
		return "is older"
	default:
		return "has a smaller id"
	}
}

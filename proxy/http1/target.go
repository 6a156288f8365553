package http1

import (
	"net/netip"
	"strings"
)

// targetForm is one of the forms of RFC 9112, section 3.2.
type targetForm uint8

const (
	originForm targetForm = iota
	absoluteForm
	authorityForm
	asteriskForm
)

// parseTarget checks Target and finds its parts. With a target that names an
// authority, that is the host.
func (r *Request) parseTarget() (targetForm, fault) {
	t := r.Target
	all := classes(t)
	if t == "" || all&notTarget != 0 {
		return 0, faultTarget
	}
	r.rest = -1
	form := originForm
	switch {
	case r.Method == "CONNECT":
		form = authorityForm
		_, port, ok := splitHost(t)
		if !ok || port == "" {
			return 0, faultTargetForm
		}
		r.host = t
		return form, sound
	case t == "*":
		if r.Method != "OPTIONS" {
			return 0, faultTargetForm
		}
		return asteriskForm, sound
	case t[0] == '/':
		r.rest = 0
	default:
		form = absoluteForm
		begin := len(scheme(t))
		if begin == 0 {
			return 0, faultTargetForm
		}
		r.rest = len(t)
		if i := strings.IndexAny(t[begin:], "/?"); i >= 0 {
			r.rest = begin + i
		}
		r.host = t[begin:r.rest]
		if _, _, ok := splitHost(r.host); !ok {
			return 0, faultTarget
		}
	}
	if all&percent != 0 && !soundEscapes(t[r.rest:]) {
		return 0, faultTarget
	}
	return form, sound
}

// CheckParts refuses what [Request.Parse] would refuse of a method, a target and a
// host that did not come in one head, as in HTTP/2. An error is an [*Error].
func CheckParts(method, target, host string) error {
	r := Request{Method: method, Target: target}
	if !isToken(method) {
		return requestErrors[faultMethod]
	}
	if _, bad := r.parseTarget(); bad != sound {
		return requestErrors[bad]
	}
	if _, _, ok := splitHost(host); !ok {
		return requestErrors[faultHost]
	}
	return nil
}

// scheme gives the beginning of an absolute-form up to its authority, or "".
func scheme(t string) string {
	for _, s := range [...]string{"http://", "https://"} {
		if len(t) >= len(s) && equalFold(t[:len(s)], s) {
			return t[:len(s)]
		}
	}
	return ""
}

// soundEscapes says whether each percent sign before the query is followed by
// two hexadecimal digits. Readers of a path disagree about any other.
func soundEscapes(t string) bool {
	path, _, _ := strings.Cut(t, "?")
	for {
		i := strings.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 || (class[path[i+1]]|class[path[i+2]])&notHex != 0 {
			return false
		}
		path = path[i+3:]
	}
}

// splitHost checks a host with an optional port (RFC 3986, section 3.2.2). Port
// is without its colon. Percent-encoding and IPvFuture are refused: no name in
// use has them, and what a reader makes of them is its own idea.
func splitHost(s string) (host, port string, ok bool) {
	i := 0
	if s != "" && s[0] == '[' {
		if i = strings.IndexByte(s, ']') + 1; i == 0 || !isIPv6(s[1:i-1]) {
			return "", "", false
		}
	} else {
		for i < len(s) && class[s[i]]&notHost == 0 {
			i++
		}
		if i == 0 {
			return "", "", false
		}
	}
	host = s[:i]
	if i == len(s) {
		return host, "", true
	}
	port = s[i+1:]
	if s[i] != ':' || len(port) > len("65535") || port != "" && uint64(parseLength(port)) > 65535 {
		return "", "", false
	}
	return host, port, true
}

func isIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// settleHost finds and checks the host. A target with an authority takes
// precedence (RFC 9112, section 3.2.2), but a Host that says something else is
// refused: whoever reads only that field would send the request elsewhere.
func (r *Request) settleHost(form targetForm) fault {
	value, next, ok := r.Fields.next(hostField, 0)
	if !ok {
		if r.Minor > 0 {
			return faultHostMissing
		}
		return sound
	}
	if _, _, more := r.Fields.next(hostField, next); more {
		return faultHostTwice
	}
	if value == "" && (r.Minor == 0 || form == asteriskForm) {
		return sound // says that there is no authority
	}
	host, port, ok := splitHost(value)
	if !ok {
		return faultHost
	}
	if r.host == "" {
		r.host = value
		return sound
	}
	if r.host == value {
		return sound
	}
	usual := ""
	switch len(scheme(r.Target)) {
	case len("http://"):
		usual = "80"
	case len("https://"):
		usual = "443"
	}
	ownHost, ownPort, _ := splitHost(r.host)
	if !equalFold(host, ownHost) || orPort(port, usual) != orPort(ownPort, usual) {
		return faultHostConflict
	}
	return sound
}

func orPort(port, usual string) string {
	if port == "" {
		return usual
	}
	return port
}

// Host is the host for which the request is, with its port if it was named:
// the authority of the target if it has one, else the Host field. It is empty
// only for HTTP/1.0, and OPTIONS * with an empty Host.
func (r *Request) Host() string { return r.host }

// PathQuery gives the path and the query of the target, as sent. hasQuery tells
// "/a?" from "/a". The path of OPTIONS * is "*", also in absolute-form without
// a path (RFC 9112, section 3.2.4); that of CONNECT is empty; any other begins
// with "/". There is no fragment: Parse refuses one.
func (r *Request) PathQuery() (path, query string, hasQuery bool) {
	if r.rest < 0 {
		if r.Target == "*" {
			return "*", "", false
		}
		return "", "", false
	}
	path, query, hasQuery = strings.Cut(r.Target[r.rest:], "?")
	switch {
	case path != "":
	case r.Method == "OPTIONS" && !hasQuery:
		path = "*"
	default:
		path = "/"
	}
	return path, query, hasQuery
}

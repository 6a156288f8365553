package cors

import (
	"fmt"
	"regexp"
	"strings"
)

// origins are those that may ask.
type origins struct {
	everyone bool
	// only is the one that is named whoever asks, "" if there are several.
	only string
	// whole and hosts are origins and their hosts, in lower case; patterns are
	// looked at in order, after those.
	whole, hosts map[string]struct{}
	patterns     []pattern
}

type pattern struct {
	*regexp.Regexp
	// ofHost says that it is about the host only.
	ofHost bool
}

// maxOrigin is longer than any origin that a browser could send, in bytes: the
// name of a host has 253 at most.
const maxOrigin = 512

// compile reads the config's list. The error is about a regular expression.
func compile(list []string) (origins, error) {
	o := origins{whole: map[string]struct{}{}, hosts: map[string]struct{}{}}
	if len(list) == 1 && isLiteral(list[0]) {
		o.only = list[0]
		return o, nil
	}
	o.everyone = len(list) == 0
	for _, entry := range list {
		switch {
		case entry == "*":
			o.everyone = true
		case !isLiteral(entry):
			re, err := anchored(entry)
			if err != nil {
				return o, err
			}
			o.patterns = append(o.patterns, pattern{re, !strings.Contains(entry, ":")})
		case strings.Contains(entry, ":"):
			whole, _ := normal(entry)
			o.whole[whole] = struct{}{}
		default:
			o.hosts[strings.ToLower(entry)] = struct{}{}
		}
	}
	return o, nil
}

// isLiteral says whether an entry is an origin or a host, and no expression.
func isLiteral(entry string) bool {
	return !strings.ContainsFunc(entry, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune(".:/-", r)
	})
}

// anchored compiles an expression that has to match from end to end. It is
// compiled alone first, so that no unbalanced one gets rid of the anchors.
func anchored(entry string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(entry); err != nil {
		return nil, fmt.Errorf("'%s' is not a valid regex", entry)
	}
	re, err := regexp.Compile("^(?:" + entry + ")$")
	if err != nil {
		return nil, fmt.Errorf("'%s' is not a valid regex", entry)
	}
	return re, nil
}

// varies says whether the answer depends on who asks.
func (o *origins) varies() bool { return !o.everyone }

// name gives the origin that an answer names, and whether the one that asks may
// read it.
func (o *origins) name(from string) (named string, permitted bool) {
	switch {
	case o.everyone:
		return "*", true
	case o.only != "":
		return o.only, true
	}
	return from, from != "" && len(from) <= maxOrigin && o.has(from)
}

func (o *origins) has(from string) bool {
	if _, ok := o.whole[from]; ok { // as browsers spell them
		return true
	}
	whole, host := normal(from)
	if _, ok := o.whole[whole]; ok {
		return true
	}
	if _, ok := o.hosts[host]; ok {
		return true
	}
	for _, p := range o.patterns {
		subject := whole
		if p.ofHost {
			subject = host
		}
		if p.MatchString(subject) {
			return true
		}
	}
	return false
}

// normal gives an origin in lower case, without a default port and without what
// may follow, and its host. What is no URL ("null") is its own host. It allocates
// only for upper case.
func normal(s string) (whole, host string) {
	s = strings.ToLower(s)
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || rest == "" {
		return s, s
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	s = s[:len(scheme)+len("://")+len(rest)]
	host = rest
	if at := strings.LastIndexByte(rest, ':'); at > strings.LastIndexByte(rest, ']') {
		host = rest[:at]
		if port := rest[at+1:]; port == "80" && scheme == "http" || port == "443" && scheme == "https" {
			s = s[:len(s)-len(port)-1]
		}
	}
	return s, host
}

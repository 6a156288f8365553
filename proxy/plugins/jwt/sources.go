package jwt

import (
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// sources collects the distinct tokens of a request. More than two need not be
// told apart: two are too many already.
type sources struct {
	first string
	many  bool
	// bare says that a parameter was there without a value ("?jwt"), which Kong
	// counts as a token that is no string.
	bare bool
}

func (s *sources) add(token string) {
	switch {
	case token == "" || token == s.first:
	case s.first == "":
		s.first = token
	default:
		s.many = true
	}
}

// token gives the one token that a request carries.
func (p *Plugin) token(ex *plugin.Exchange) (string, *refusal) {
	var s sources
	s.addParams(ex.Request.Query, p.URIParamNames)
	for _, cookie := range p.CookieNames {
		s.add(cookieValue(ex.Request.Header, cookie))
	}
	for _, header := range p.HeaderNames {
		s.add(bearer(ex.Request.Header.Get(header)))
	}
	switch {
	case s.many || s.bare && s.first != "":
		return "", p.refuse("Multiple tokens provided")
	case s.bare:
		return "", p.refuse("Unrecognizable token")
	case s.first == "":
		return "", &refusal{body: message("Unauthorized"), challenge: &p.challenge}
	}
	return s.first, nil
}

func (s *sources) addParams(query string, names []string) {
	if query == "" {
		return
	}
	for param := range plugin.Params(query) {
		for _, n := range names {
			if param.Name == n {
				s.bare = s.bare || param.Bare
				s.add(param.Value)
			}
		}
	}
}

// bearer gives what follows the first "Bearer" and space in a field value. The
// word may be in any case (RFC 9110, section 11.1) and, as in Kong, need not
// come first.
func bearer(value string) string {
	const word = "bearer"
	for i := 0; i+len(word) < len(value); i++ {
		if !strings.EqualFold(value[i:i+len(word)], word) {
			continue
		}
		rest := value[i+len(word):]
		if token := strings.TrimLeft(rest, " \t"); len(token) < len(rest) {
			return token
		}
	}
	return ""
}

// cookieValue gives the first cookie of a name. Names are compared without
// regard to case, as nginx does.
func cookieValue(h plugin.Header, name string) string {
	found := ""
	h.Each("Cookie", func(line string) bool {
		for pair := range strings.SplitSeq(line, ";") {
			n, val, ok := strings.Cut(strings.TrimSpace(pair), "=")
			if ok && strings.EqualFold(n, name) {
				found = val
				return false
			}
		}
		return true
	})
	return found
}

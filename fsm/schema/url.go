package schema

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	urlScheme    = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9+.-]*):`)
	urlAuthority = regexp.MustCompile(`^//([^/?#]*)`)
)

// urlParts are the parts of a URL; the empty string stands for a part that is not there.
type urlParts struct {
	scheme, host, port, path string
	hasPort                  bool
}

// splitURL splits a URL without judging it, as Kong's library does (RFC 2396, with userinfo, parameters,
// query and fragment dropped). net/url refuses what Kong accepts here and explains field by field.
func splitURL(url string) urlParts {
	var parts urlParts
	if m := urlScheme.FindStringSubmatch(url); m != nil {
		parts.scheme = m[1]
		url = url[len(m[0]):]
	}
	authority := ""
	if m := urlAuthority.FindStringSubmatch(url); m != nil {
		authority = m[1]
		url = url[len(m[0]):]
	}
	if i := strings.IndexAny(url, "#?;"); i >= 0 {
		url = url[:i]
	}
	parts.path = url
	if _, host, ok := strings.Cut(authority, "@"); ok {
		authority = host
	}
	if i := strings.LastIndexAny(authority, ":]"); i >= 0 && authority[i] == ':' {
		parts.port, parts.hasPort = authority[i+1:], true
		authority = authority[:i]
	}
	parts.host = authority
	if inner, ok := strings.CutPrefix(authority, "["); ok && strings.HasSuffix(inner, "]") && len(inner) > 1 {
		parts.host = inner[:len(inner)-1]
	}
	return parts
}

// ParseURL expands the shorthand "url" of a service into protocol, host, port and path. The value is a
// string, or nil for null; the fields are not checked, so that a URL without a host is reported for its
// missing host. The protocol is the scheme, else https for port 443, else http; the port is the one given,
// else 443 for https and 80 for all others.
func ParseURL(value any) map[string]any {
	if value == nil {
		// Kong parses Lua's name of the null value, which has a scheme and a path. Clients see three
		// problems where there is one; the values below break the same three fields.
		return map[string]any{"protocol": "", "host": nil, "port": int64(80), "path": "null"}
	}
	parts := splitURL(text(value))
	protocol := parts.scheme
	if protocol == "" {
		protocol = "http"
		if parts.port == "443" {
			protocol = "https"
		}
	}
	var port any = int64(80)
	if protocol == "https" {
		port = int64(443)
	}
	if parts.hasPort {
		port = parts.port // not a number: left for validation to reject
		if n, err := strconv.ParseInt(parts.port, 10, 64); err == nil {
			port = n
		}
	}
	return map[string]any{"protocol": protocol, "host": orNull(parts.host), "port": port, "path": orNull(parts.path)}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
